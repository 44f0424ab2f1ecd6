#include "position.h"

#include <signal.h>

#include "support.h"

Test(position, a_new_one_is_flat_and_knows_nothing)
{
    static const struct {
        enum position_mode mode;
        const char *leg;
    } rows[] = {{POSITION_MODE_ONE_WAY, NULL}, {POSITION_MODE_HEDGE, "0"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct uuid id = {{1, 2, 3}};
        struct position position;
        position_init(&position, "ABCDEFGHIJKLMNOPUSDT", rows[i].mode, id, 77);
        position_check(&position);
        const char *row = position_mode_word(rows[i].mode);
        cr_expect(strcmp(position.asset, "ABCDEFGHIJKLMNOPUSDT") == 0 && uuid_is_equal(&position.id, &id));
        cr_expect(position.mode == rows[i].mode && position.version == 0);
        expect_decimal(position.size, "0", row, "size");
        expect_decimal(position.long_size, rows[i].leg, row, "long size");
        expect_decimal(position.short_size, rows[i].leg, row, "short size");
        expect_decimal(position.average_entry_price, NULL, row, "average");
        expect_decimal(position.current_price, NULL, row, "price");
        expect_decimal(position.realized_pnl, "0", row, "realized PnL");
        cr_expect(position.created_at_us == 77);
        cr_expect(position.opened_at_us == TIME_NONE && position.closed_at_us == TIME_NONE);
        cr_expect(position.last_execution_at_us == TIME_NONE && position.market_event_at_us == TIME_NONE);
        cr_expect(position.price_updated_at_us == TIME_NONE && position.last_snapshot_at_us == TIME_NONE);
        cr_expect(!position_is_open(&position) && !position_is_long(&position) && !position_is_short(&position));
    }
}

Test(position, an_asset_that_does_not_fit_is_a_programmers_mistake, .signal = SIGABRT)
{
    struct position position;
    position_init(&position, "ABCDEFGHIJKLMNOPQUSDT", POSITION_MODE_HEDGE, (struct uuid){{0}}, 0);
}

Test(position, modes_are_read_in_any_case_and_nothing_else)
{
    static const struct {
        const char *text;
        enum status status;
        enum position_mode mode;
    } rows[] = {
        {"one-way", STATUS_OK, POSITION_MODE_ONE_WAY},
        {"One-Way", STATUS_OK, POSITION_MODE_ONE_WAY},
        {"hedge", STATUS_OK, POSITION_MODE_HEDGE},
        {"HEDGE", STATUS_OK, POSITION_MODE_HEDGE},
        {"", STATUS_BAD_MODE, 0},
        {"hedg", STATUS_BAD_MODE, 0},
        {"hedge ", STATUS_BAD_MODE, 0},
        {"one_way", STATUS_BAD_MODE, 0},
        {"netting", STATUS_BAD_MODE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum position_mode mode = POSITION_MODE_ONE_WAY;
        expect_status(position_mode_parse(rows[i].text, strlen(rows[i].text), &mode), rows[i].status, rows[i].text);
        cr_expect(rows[i].status != STATUS_OK || mode == rows[i].mode, "%s", rows[i].text);
    }
    cr_expect(strcmp(position_mode_word(POSITION_MODE_ONE_WAY), "one-way") == 0);
    cr_expect(strcmp(position_mode_word(POSITION_MODE_HEDGE), "hedge") == 0);
}

static struct position one_way(const char *size, const char *average, const char *price, const char *unrealized)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    position.size = dec(size);
    position.average_entry_price = dec(average);
    position.current_price = dec(price);
    position.unrealized_pnl = dec(unrealized);
    return position;
}

Test(position, unrealized_pnl_is_size_times_distance_to_the_price)
{
    static const struct {
        const char *name, *size, *average, *price, *unrealized;
        enum status status;
        const char *wanted;
    } rows[] = {
        {"long gains", "1.5", "48666.66666667", "50000", "0", STATUS_OK, "2000"},
        {"long loses", "1.5", "48666.66666667", "48000", "0", STATUS_OK, "-1000.00000001"},
        {"short gains", "-2", "100", "90", "0", STATUS_OK, "20"},
        {"short loses", "-2", "100", "110.5", "0", STATUS_OK, "-21"},
        {"six digits by eight", "1000000", "3.00000001", "9.12345678", "0", STATUS_OK, "6123456.77"},
        {"tie up", "0.00000001", "1", "1.5", "0", STATUS_OK, "0.00000001"},
        {"tie down", "0.00000001", "1.5", "1", "0", STATUS_OK, "-0.00000001"},
        {"below a tie", "0.00000001", "1", "1.49999999", "0", STATUS_OK, "0"},
        {"no price", "1", "100", NULL, "7", STATUS_OK, "7"},
        {"no average", "1", NULL, "100", "7", STATUS_OK, "7"},
        {"flat", "0", NULL, "100", "7", STATUS_OK, "0"},
        {"flat without a price", "0", NULL, NULL, "7", STATUS_OK, "0"},
        {"largest", "999999999999.99999999", "1", "2", "0", STATUS_OK, "999999999999.99999999"},
        {"too large", "999999999999.99999999", "1", "2.00000001", "7", STATUS_OUT_OF_RANGE, "7"},
        {"far too large", "-999999999999.99999999", "0.00000001", "999999999999.99999999", "7", STATUS_OUT_OF_RANGE,
         "7"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = one_way(rows[i].size, rows[i].average, rows[i].price, rows[i].unrealized);
        expect_status(position_revalue(&position), rows[i].status, rows[i].name);
        expect_decimal(position.unrealized_pnl, rows[i].wanted, rows[i].name, "unrealized PnL");
    }
}

static struct position hedge(const char *long_size, const char *long_average, const char *short_size,
                             const char *short_average, const char *price)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    position.long_size = dec(long_size);
    position.long_avg_price = dec(long_average);
    position.short_size = dec(short_size);
    position.short_avg_price = dec(short_average);
    position.size = decimal_from_units(position.long_size.units - position.short_size.units);
    position.current_price = dec(price);
    position.unrealized_pnl = dec("7");
    return position;
}

Test(position, the_legs_of_a_hedge_are_valued_together)
{
    static const struct {
        const char *name, *long_size, *long_average, *short_size, *short_average, *price, *wanted;
    } rows[] = {
        {"both", "2", "90", "1", "95", "100", "15"},
        {"long only", "2", "90", "0", NULL, "100", "20"},
        {"short only", "0", NULL, "1", "95", "100", "-5"},
        {"long average missing", "2", NULL, "1", "95", "100", "7"},
        {"short average missing", "2", "90", "1", NULL, "100", "7"},
        {"flat", "0", NULL, "0", NULL, "100", "0"},
        {"no price", "2", "90", "1", "95", NULL, "7"},
        {"two ties are one whole", "0.00000001", "1", "0.00000001", "2", "1.5", "0.00000001"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position =
            hedge(rows[i].long_size, rows[i].long_average, rows[i].short_size, rows[i].short_average, rows[i].price);
        expect_status(position_revalue(&position), STATUS_OK, rows[i].name);
        expect_decimal(position.unrealized_pnl, rows[i].wanted, rows[i].name, "unrealized PnL");
    }
}

Test(position, a_hedge_counts_by_its_legs)
{
    static const struct {
        const char *long_size, *short_size, *gross;
        bool open, is_long, is_short;
    } rows[] = {
        {"0", "0", "0", false, false, false}, {"2", "0", "2", true, true, false}, {"0", "3", "3", true, false, true},
        {"2", "2", "4", true, true, true},    {"1", "3", "4", true, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = hedge(rows[i].long_size, NULL, rows[i].short_size, NULL, NULL);
        cr_expect(position_is_open(&position) == rows[i].open, "row %zu", i);
        cr_expect(position_is_long(&position) == rows[i].is_long, "row %zu", i);
        cr_expect(position_is_short(&position) == rows[i].is_short, "row %zu", i);
        expect_decimal(decimal_from_units(position_gross_units(&position)), rows[i].gross, "hedge", "gross size");
    }
    struct position largest = hedge("999999999999.99999999", NULL, "999999999999.99999999", NULL, NULL);
    cr_expect(position_gross_units(&largest) == 2 * DECIMAL_UNITS_MAX);
    struct position seller = one_way("-1.5", NULL, NULL, "0");
    cr_expect(position_is_open(&seller) && position_is_short(&seller) && !position_is_long(&seller));
    expect_decimal(decimal_from_units(position_gross_units(&seller)), "1.5", "one-way", "gross size");
}

Test(position, the_percentage_is_of_what_was_paid)
{
    static const struct {
        const char *name, *size, *average, *unrealized, *wanted;
    } rows[] = {
        {"gain", "2", "100", "10", "5"},
        {"short", "-2", "100", "10", "5"},
        {"loss", "3", "48666.66666667", "-1234.56789012", "-0.84559445"},
        {"tie up", "1", "200", "0.00000001", "0.00000001"}, /* 0.000000005 % */
        {"tie down", "1", "200", "-0.00000001", "-0.00000001"},
        {"below a tie", "1", "200.00000001", "0.00000001", "0"},
        {"flat", "0", NULL, "5", NULL},
        {"no average", "1", NULL, "5", NULL},
        {"nothing gained", "1", "5", "0", "0"},
        {"beyond the column", "0.00000001", "0.00000001", "1", NULL},
        {"the largest cost", "999999999999.99999999", "999999999999.99999999", "999999999999.99999999", "0"},
        {"a cost beyond 127 bits at a share of half a unit", "200000000000", "100000000000", "999999999999.99999999",
         "0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = one_way(rows[i].size, rows[i].average, NULL, rows[i].unrealized);
        expect_decimal(position_unrealized_pnl_pct(&position), rows[i].wanted, rows[i].name, "percentage");
    }
}

Test(position, the_percentage_of_a_hedge_follows_its_only_leg)
{
    struct position both = hedge("2", "90", "1", "95", "100");
    expect_decimal(position_unrealized_pnl_pct(&both), NULL, "both legs", "percentage");
    struct position shorter = hedge("0", NULL, "2", "100", "90");
    shorter.average_entry_price = dec("100");
    shorter.unrealized_pnl = dec("20");
    expect_decimal(position_unrealized_pnl_pct(&shorter), "10", "short leg", "percentage");
}

Test(position, time_held_is_whole_minutes_since_opening)
{
    static const struct {
        const char *name, *size;
        int64_t opened, closed, now, wanted;
    } rows[] = {
        {"never opened", "0", TIME_NONE, TIME_NONE, 5, -1},
        {"just opened", "1", 0, TIME_NONE, 59999999, 0},
        {"a minute", "1", 0, TIME_NONE, 60000000, 1},
        {"closed", "0", 0, 120000000, 999999999, 2},
        {"opened in the future", "1", 60000001, TIME_NONE, 0, 0},
        {"open, with an old closing time left behind by another service", "1", 0, 60000000, 120000000, 2},
        {"closed before it was opened (a late execution)", "0", 500, 100, 999999999, 0},
        {"flat, closing time unknown", "0", 0, TIME_NONE, 60000000, 1},
        {"from one end of time to the other", "1", INT64_MIN + 1, TIME_NONE, INT64_MAX, 307445734561},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position = one_way(rows[i].size, NULL, NULL, "0");
        position.opened_at_us = rows[i].opened;
        position.closed_at_us = rows[i].closed;
        int64_t got = position_time_held_minutes(&position, rows[i].now);
        cr_expect(got == rows[i].wanted, "%s: %" PRId64, rows[i].name, got);
    }
}

Test(position, every_figure_counts_as_one_and_times_do_not)
{
    struct position base = new_position(POSITION_MODE_HEDGE);
    struct decimal *const figures[] = {
        &base.size,      &base.average_entry_price, &base.current_price, &base.unrealized_pnl, &base.realized_pnl,
        &base.fees_paid, &base.long_size,           &base.short_size,    &base.long_avg_price, &base.short_avg_price,
    };
    const struct position kept = base;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        struct decimal old = *figures[i];
        cr_expect(position_is_same_figures(&base, &kept));
        *figures[i] = dec("4711");
        cr_expect(!position_is_same_figures(&base, &kept), "figure %zu", i);
        *figures[i] = old;
    }
    base.version = 9;
    base.opened_at_us = base.closed_at_us = base.last_updated_us = base.price_updated_at_us = 5;
    base.market_digests[0] = 1;
    cr_expect(position_is_same_figures(&base, &kept));
}

/* What position_check must find, one at a time: each row spoils a position that is in order. */
static struct position spoiled(int row)
{
    struct position one = one_way("1", "100", "110", "10");
    struct position two = hedge("2", "90", "0", NULL, "100");
    two.average_entry_price = dec("90");
    switch (row) {
    case 0:
        one.average_entry_price = dec("0");
        break;
    case 1:
        one.average_entry_price = dec("-1");
        break;
    case 2:
        one.size = DECIMAL_ZERO;
        break;
    case 3:
        one.size = DECIMAL_NONE;
        break;
    case 4:
        one.realized_pnl = decimal_from_units(DECIMAL_UNITS_MAX + 1);
        break;
    case 5:
        one.unrealized_pnl = DECIMAL_NONE;
        break;
    case 6:
        one.fees_paid = DECIMAL_NONE;
        break;
    case 7:
        one.current_price = dec("0");
        break;
    case 8:
        one.long_size = DECIMAL_ZERO;
        break;
    case 9:
        one.closed_at_us = 5;
        break;
    case 10:
        one.version = -1;
        break;
    case 11:
        one.market_digest_count = MARKET_DIGESTS_MAX + 1;
        break;
    case 12:
        one.short_avg_price = dec("1");
        break;
    case 13:
        two.long_size = DECIMAL_NONE;
        return two;
    case 14:
        two.short_size = dec("-1");
        return two;
    case 15:
        two.size = dec("1");
        return two;
    case 16:
        two.average_entry_price = DECIMAL_NONE;
        return two;
    case 17:
        two.short_avg_price = dec("1");
        return two;
    default:
        one.mode = 2;
        break;
    }
    return one;
}

Test(position, what_is_in_order_passes_the_check)
{
    struct position one = one_way("-1", "100", "110", "10");
    position_check(&one);
    struct position two = hedge("2", "90", "1", "95", "100");
    position_check(&two);
}

#define SPOILED_TEST(row)                                                                                              \
    Test(position, check_finds_what_is_out_of_order_##row, .signal = SIGABRT)                                          \
    {                                                                                                                  \
        struct position position = spoiled(row);                                                                       \
        position_check(&position);                                                                                     \
    }
SPOILED_TEST(0)
SPOILED_TEST(1)
SPOILED_TEST(2)
SPOILED_TEST(3)
SPOILED_TEST(4)
SPOILED_TEST(5)
SPOILED_TEST(6)
SPOILED_TEST(7)
SPOILED_TEST(8)
SPOILED_TEST(9)
SPOILED_TEST(10)
SPOILED_TEST(11)
SPOILED_TEST(12)
SPOILED_TEST(13)
SPOILED_TEST(14)
SPOILED_TEST(15)
SPOILED_TEST(16)
SPOILED_TEST(17)
SPOILED_TEST(18)

Test(position, averages_differ_by_more_than_the_threshold_to_the_last_unit)
{
    static const struct {
        const char *average, *stored, *threshold;
        bool differs;
    } rows[] = {
        {"100.1", "100", "0.001", false},
        {"100.10000001", "100", "0.001", true},
        {"99.9", "100", "0.001", false},
        {"99.89999999", "100", "0.001", true},
        {"100", "100", "0", false},
        {"100.00000001", "100", "0", true},
        {"0.00000002", "0.00000001", "1", false},
        {"0.00000003", "0.00000001", "1", true},
        {"999999999999.99999999", "0.00000001", "1000000", true},
        {"0.00000001", "999999999999.99999999", "1", false},
        {"999999999999.99999999", "999999999999.99999999", "0", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(position_average_differs(dec(rows[i].average), dec(rows[i].stored), dec(rows[i].threshold)),
                     rows[i].differs, "%s against %s by %s", rows[i].average, rows[i].stored, rows[i].threshold);
}
