#include "correction.h"

#include "support.h"

enum { NOW_US = 9000 };

static struct position long_position(void)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    position.size = dec("1");
    position.average_entry_price = dec("100");
    position.current_price = dec("110");
    position.unrealized_pnl = dec("10");
    position.realized_pnl = dec("5");
    position.fees_paid = dec("1");
    position.opened_at_us = 500;
    position.version = 3;
    return position;
}

/* Found by comparing this very position. */
static struct correction correction_of(const struct position *compared, struct decimal size, struct decimal average)
{
    return (struct correction){.size = size,
                               .average_price = average,
                               .compared_size = compared->size,
                               .compared_average_price = compared->average_entry_price,
                               .mode = compared->mode};
}

Test(correction, size_and_average_are_replaced_and_what_follows_from_them)
{
    static const struct {
        const char *name, *size, *average;
        enum status status;
        const char *wanted_size, *wanted_average, *wanted_unrealized;
        int64_t opened_at_us, closed_at_us;
    } rows[] = {
        {"both", "2", "105", STATUS_OK, "2", "105", "10", 500, TIME_NONE},
        {"size alone", "2", NULL, STATUS_OK, "2", "100", "20", 500, TIME_NONE},
        {"average alone", NULL, "90", STATUS_OK, "1", "90", "20", 500, TIME_NONE},
        {"through zero", "-1", "120", STATUS_OK, "-1", "120", "10", NOW_US, TIME_NONE},
        {"flat", "0", NULL, STATUS_OK, "0", NULL, "0", 500, NOW_US},
        {"nothing differs", "1", "100", STATUS_UNCHANGED, "1", "100", "10", 500, TIME_NONE},
        {"does not fit", "999999999999", "1", STATUS_OUT_OF_RANGE, "1", "100", "10", 500, TIME_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = long_position();
        struct correction correction = correction_of(&position, dec(rows[i].size), dec(rows[i].average));
        const char *field = "";
        expect_status(position_apply_correction(&position, &correction, NOW_US, &position, &field), rows[i].status,
                      rows[i].name);
        position_check(&position);
        expect_decimal(position.size, rows[i].wanted_size, rows[i].name, "size");
        expect_decimal(position.average_entry_price, rows[i].wanted_average, rows[i].name, "average");
        expect_decimal(position.unrealized_pnl, rows[i].wanted_unrealized, rows[i].name, "unrealized PnL");
        expect_decimal(position.realized_pnl, "5", rows[i].name, "realized PnL");
        expect_decimal(position.fees_paid, "1", rows[i].name, "fees");
        cr_expect(position.opened_at_us == rows[i].opened_at_us, "%s: opened_at", rows[i].name);
        cr_expect(position.closed_at_us == rows[i].closed_at_us, "%s: closed_at", rows[i].name);
        cr_expect(position.version == (rows[i].status == STATUS_OK ? 4 : 3), "%s: version", rows[i].name);
        cr_expect(rows[i].status != STATUS_OUT_OF_RANGE || strcmp(field, "unrealized_pnl") == 0, "%s", field);
    }
}

Test(correction, an_execution_that_came_since_the_comparison_is_not_taken_back)
{
    static const struct {
        const char *name, *size, *average;
        enum status status;
    } rows[] = {
        {"grown", "3", "100", STATUS_STALE},
        {"at another average", "1", "101", STATUS_STALE},
        {"without an average", "1", NULL, STATUS_STALE},
        {"as the orders say by now", "2", "105", STATUS_UNCHANGED},
        {"as it was compared", "1", "100", STATUS_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = long_position();
        const struct correction correction = correction_of(&position, dec("2"), dec("105"));
        position.size = dec(rows[i].size);
        position.average_entry_price = dec(rows[i].average);
        const struct position before = position;
        const char *field = "";
        expect_status(position_apply_correction(&position, &correction, NOW_US, &position, &field), rows[i].status,
                      rows[i].name);
        cr_expect_eq(position_is_same_figures(&position, &before), rows[i].status != STATUS_OK, "%s", rows[i].name);
    }
}

Test(correction, a_hedge_position_cannot_be_corrected)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    struct correction correction = {.size = dec("1"), .average_price = dec("1"), .mode = POSITION_MODE_HEDGE};
    const char *field = "";
    expect_status(position_apply_correction(&position, &correction, NOW_US, &position, &field), STATUS_INVALID,
                  "hedge");
}

Test(correction, the_last_version_is_never_wrapped)
{
    struct position position = long_position();
    position.version = INT32_MAX;
    struct correction correction = correction_of(&position, dec("2"), DECIMAL_NONE);
    const char *field = "";
    expect_status(position_apply_correction(&position, &correction, NOW_US, &position, &field), STATUS_OUT_OF_RANGE,
                  "version");
    cr_expect(strcmp(field, "version") == 0);
}

Test(correction, a_flat_position_is_opened_anew_and_takes_no_average_while_flat)
{
    struct position flat = long_position();
    flat.size = DECIMAL_ZERO;
    flat.average_entry_price = DECIMAL_NONE;
    flat.unrealized_pnl = DECIMAL_ZERO;
    flat.closed_at_us = 700;
    const char *field = "";
    struct correction opening = correction_of(&flat, dec("-2"), dec("120"));
    struct position opened = flat;
    expect_status(position_apply_correction(&flat, &opening, NOW_US, &opened, &field), STATUS_OK, "opened");
    position_check(&opened);
    cr_expect_eq(opened.opened_at_us, NOW_US);
    cr_expect_eq(opened.closed_at_us, TIME_NONE);
    expect_decimal(opened.unrealized_pnl, "20", "opened", "unrealized PnL");
    expect_decimal(opened.realized_pnl, "5", "opened", "realized PnL");
    cr_expect(uuid_is_equal(&opened.id, &flat.id));
    struct correction average = correction_of(&flat, DECIMAL_NONE, dec("120"));
    struct position same = flat;
    expect_status(position_apply_correction(&flat, &average, NOW_US, &same, &field), STATUS_UNCHANGED, "flat");
    cr_expect(decimal_is_none(same.average_entry_price));
    cr_expect_eq(same.closed_at_us, 700);
}

Test(correction, without_a_price_the_unrealized_pnl_stays_as_it_was_said)
{
    struct position position = long_position();
    position.current_price = DECIMAL_NONE;
    struct correction correction = correction_of(&position, dec("3"), DECIMAL_NONE);
    const char *field = "";
    struct position after = position;
    expect_status(position_apply_correction(&position, &correction, NOW_US, &after, &field), STATUS_OK, "unpriced");
    expect_decimal(after.size, "3", "unpriced", "size");
    expect_decimal(after.unrealized_pnl, "10", "unpriced", "unrealized PnL");
    cr_expect_eq(after.last_updated_us, NOW_US);
}
