#include "execution.h"

#include <signal.h>

#include "support.h"

/* What is held before a fill. NULL: zero for sizes and sums, "not said" for averages and prices. */
struct held {
    const char *size, *average, *price, *realized, *unrealized, *fees;
};

static struct position position_of(const struct held *held)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    position.size = decimal_or_zero(dec(held->size));
    position.average_entry_price = dec(held->average);
    position.current_price = dec(held->price);
    position.realized_pnl = decimal_or_zero(dec(held->realized));
    position.unrealized_pnl = decimal_or_zero(dec(held->unrealized));
    position.fees_paid = decimal_or_zero(dec(held->fees));
    position.version = 5;
    position.opened_at_us = held->size ? 500 : TIME_NONE;
    return position;
}

static struct fill fill_of(enum side side, const char *quantity, const char *price, const char *fees)
{
    return (struct fill){
        .quantity = dec(quantity),
        .notional = wide_multiply(dec(quantity).units, dec(price).units),
        .fees = decimal_or_zero(dec(fees)),
        .executed_at_us = 2000,
        .mode = POSITION_MODE_ONE_WAY,
        .side = (uint8_t)side,
    };
}

/* ---- one-way mode ---- */

struct one_way_row {
    const char *name;
    struct held held;
    enum side side;
    const char *quantity, *price, *fees;
    const char *size, *average, *realized, *unrealized, *fees_paid;
};

static const struct one_way_row one_way_rows[] = {
    /* opening and adding: realized PnL is untouched, the fee is paid */
    {"open long", {0}, SIDE_BUY, "1", "50000", "2.5", "1", "50000", "0", "0", "2.5"},
    {"open short", {0}, SIDE_SELL, "0.5", "50000", NULL, "-0.5", "50000", "0", "0", "0"},
    {"open with a rebate", {0}, SIDE_BUY, "1", "50000", "-1", "1", "50000", "0", "0", "-1"},
    {"the contract's average",
     {"1", "50000", .realized = "7"},
     SIDE_BUY,
     "0.5",
     "46000",
     "1",
     "1.5",
     "48666.66666667",
     "7",
     "0",
     "1"},
    {"add to a short", {"-1", "50000"}, SIDE_SELL, "2", "47000", "0.1", "-3", "48000", "0", "0", "0.1"},
    {"average tie rounds up", {"1", "0.00000001"}, SIDE_BUY, "1", "0.00000002", NULL, "2", "0.00000002", "0", "0", "0"},
    {"average just below a tie",
     {"1", "0.00000001"},
     SIDE_BUY,
     "0.99999999",
     "0.00000002",
     NULL,
     "1.99999999",
     "0.00000001",
     "0",
     "0",
     "0"},
    {"add where the old average was never said: counts at p",
     {"3", NULL},
     SIDE_BUY,
     "1",
     "120",
     NULL,
     "4",
     "120",
     "0",
     "0",
     "0"},
    {"quantity and price of eleven digits",
     {"1", "1"},
     SIDE_BUY,
     "99999999999",
     "99999999999",
     NULL,
     "100000000000",
     "99999999998",
     "0",
     "0",
     "0"},
    {"the whole range, right to the last digit",
     {"500000000000", "999999999999.99999999"},
     SIDE_BUY,
     "499999999999.99999999",
     "999999999999.99999998",
     NULL,
     "999999999999.99999999",
     "999999999999.99999999",
     "0",
     "0",
     "0"},
    /* reducing: closed x (p - avg) x sign - f, average unchanged */
    {"reduce a long at a gain",
     {"2", "100", .realized = "5", .fees = "1"},
     SIDE_SELL,
     "0.5",
     "110",
     "0.25",
     "1.5",
     "100",
     "9.75",
     "0",
     "1.25"},
    {"reduce a long at a loss", {"2", "100"}, SIDE_SELL, "1", "90", "0.1", "1", "100", "-10.1", "0", "0.1"},
    {"reduce a short at a gain", {"-2", "100"}, SIDE_BUY, "1", "90", NULL, "-1", "100", "10", "0", "0"},
    {"reduce a short at a loss", {"-2", "100"}, SIDE_BUY, "1", "110", "1", "-1", "100", "-11", "0", "1"},
    {"a closing rebate enters realized PnL",
     {"2", "100"},
     SIDE_SELL,
     "1",
     "100",
     "-0.5",
     "1",
     "100",
     "0.5",
     "0",
     "-0.5"},
    {"reduce where the average was never said: gains nothing, the fee enters",
     {"2", NULL, .unrealized = "3"},
     SIDE_SELL,
     "1",
     "110",
     "0.5",
     "1",
     NULL,
     "-0.5",
     "3",
     "0.5"},
    {"close", {"2", "100", "105", .unrealized = "10"}, SIDE_SELL, "2", "110", "1", "0", NULL, "19", "0", "1"},
    {"close a short", {"-2", "100"}, SIDE_BUY, "2", "90", NULL, "0", NULL, "20", "0", "0"},
    {"close where the average was never said",
     {"2", NULL, .unrealized = "3"},
     SIDE_SELL,
     "2",
     "110",
     "1",
     "0",
     NULL,
     "-1",
     "0",
     "1"},
    /* the whole sum is rounded once: the sign of the total decides a tie */
    {"gain tie", {"0.00000001", "1"}, SIDE_SELL, "0.00000001", "1.5", NULL, "0", NULL, "0.00000001", "0", "0"},
    {"loss tie", {"0.00000001", "1"}, SIDE_SELL, "0.00000001", "0.5", NULL, "0", NULL, "-0.00000001", "0", "0"},
    {"loss tie on a gain",
     {"0.00000001", "1", .realized = "0.00000001"},
     SIDE_SELL,
     "0.00000001",
     "0.5",
     NULL,
     "0",
     NULL,
     "0.00000001",
     "0",
     "0"},
    {"gain tie on a loss",
     {"0.00000001", "1", .realized = "-0.00000001"},
     SIDE_SELL,
     "0.00000001",
     "1.5",
     NULL,
     "0",
     NULL,
     "-0.00000001",
     "0",
     "0"},
    {"gain tie less a fee",
     {"0.00000001", "1"},
     SIDE_SELL,
     "0.00000001",
     "1.5",
     "0.00000001",
     "0",
     NULL,
     "-0.00000001",
     "0",
     "0.00000001"},
    /* through zero */
    {"long to short", {"2", "100"}, SIDE_SELL, "5", "110", "1", "-3", "110", "19", "0", "1"},
    {"short to long",
     {"-2", "100", .realized = "1", .fees = "1"},
     SIDE_BUY,
     "3",
     "110",
     "0.5",
     "1",
     "110",
     "-19.5",
     "0",
     "1.5"},
    {"through zero, valued at the current price",
     {"2", "100", "108", .unrealized = "16"},
     SIDE_SELL,
     "5",
     "110",
     NULL,
     "-3",
     "110",
     "20",
     "6",
     "0"},
    {"through zero where the average was never said",
     {"2", NULL},
     SIDE_SELL,
     "3",
     "110",
     "1",
     "-1",
     "110",
     "-1",
     "0",
     "1"},
    {"through zero at a tie",
     {"0.00000001", "1"},
     SIDE_SELL,
     "0.00000003",
     "0.5",
     NULL,
     "-0.00000002",
     "0.5",
     "-0.00000001",
     "0",
     "0"},
    /* unrealized PnL */
    {"valued at the current price", {"1", "100", "130"}, SIDE_BUY, "1", "120", NULL, "2", "110", "0", "40", "0"},
    {"a short valued at the current price",
     {"-1", "100", "130"},
     SIDE_SELL,
     "1",
     "120",
     NULL,
     "-2",
     "110",
     "0",
     "-40",
     "0"},
    {"no price: unrealized stays as last said",
     {"1", "100", .unrealized = "12"},
     SIDE_BUY,
     "1",
     "120",
     NULL,
     "2",
     "110",
     "0",
     "12",
     "0"},
    {"unrealized tie, gain",
     {.price = "1.5"},
     SIDE_BUY,
     "0.00000001",
     "1",
     NULL,
     "0.00000001",
     "1",
     "0",
     "0.00000001",
     "0"},
    {"unrealized tie, loss",
     {.price = "0.5"},
     SIDE_BUY,
     "0.00000001",
     "1",
     NULL,
     "0.00000001",
     "1",
     "0",
     "-0.00000001",
     "0"},
    /* reopening keeps what was realized */
    {"reopen", {NULL, NULL, .realized = "20"}, SIDE_SELL, "1", "70", NULL, "-1", "70", "20", "0", "0"},
    /* ranges: the last digit that fits */
    {"largest size",
     {"999999999999.99999998", "1"},
     SIDE_BUY,
     "0.00000001",
     "1",
     NULL,
     "999999999999.99999999",
     "1",
     "0",
     "0",
     "0"},
    {"largest realized PnL, rounded down to fit",
     {"0.00000001", "1", .realized = "999999999999.99999999"},
     SIDE_SELL,
     "0.00000001",
     "1.4",
     NULL,
     "0",
     NULL,
     "999999999999.99999999",
     "0",
     "0"},
    {"a gain far beyond a double",
     {"99999999999.99999999", "0.00000001"},
     SIDE_SELL,
     "99999999999.99999999",
     "9.99999999",
     NULL,
     "0",
     NULL,
     "999999997999.9999999",
     "0",
     "0"},
};

Test(execution, fills_move_a_one_way_position_as_the_average_cost_method_says)
{
    for (size_t i = 0; i < sizeof one_way_rows / sizeof one_way_rows[0]; i++) {
        const struct one_way_row *row = &one_way_rows[i];
        struct position before = position_of(&row->held);
        position_check(&before);
        struct fill fill = fill_of(row->side, row->quantity, row->price, row->fees);
        struct position after;
        const char *field = "";
        expect_status(position_apply_fill(&before, &fill, 3000, &after, &field), STATUS_OK, row->name);
        position_check(&after);
        expect_decimal(after.size, row->size, row->name, "size");
        expect_decimal(after.average_entry_price, row->average, row->name, "average");
        expect_decimal(after.realized_pnl, row->realized, row->name, "realized PnL");
        expect_decimal(after.unrealized_pnl, row->unrealized, row->name, "unrealized PnL");
        expect_decimal(after.fees_paid, row->fees_paid, row->name, "fees");
        cr_expect(after.version == 6, "%s: version", row->name);
        cr_expect(after.last_updated_us == 3000, "%s: last_updated", row->name);
        cr_expect(after.last_execution_at_us == 2000, "%s: last execution", row->name);
    }
}

Test(execution, the_sign_of_a_one_way_fill_ignores_leg_and_reduce_only)
{
    struct position before = position_of(&(struct held){"1", "100"});
    struct fill fill = fill_of(SIDE_SELL, "2", "100", NULL);
    fill.leg = LEG_LONG;
    fill.reduce_only = true;
    struct position after;
    const char *field;
    cr_assert(position_apply_fill(&before, &fill, 3000, &after, &field) == STATUS_OK);
    expect_decimal(after.size, "-1", "named leg", "size");
}

/* ---- refusals ---- */

struct refusal_row {
    const char *name;
    struct held held;
    enum side side;
    const char *quantity, *price, *fees;
    enum status status;
    const char *field;
};

static const struct refusal_row refusal_rows[] = {
    {"size", {"999999999999.99999999", "1"}, SIDE_BUY, "0.00000001", "1", NULL, STATUS_OUT_OF_RANGE, "size"},
    {"size of a short", {"-999999999999.99999999", "1"}, SIDE_SELL, "1", "1", NULL, STATUS_OUT_OF_RANGE, "size"},
    {"realized by a product of eleven digits",
     {"99999999999", "1"},
     SIDE_SELL,
     "99999999999",
     "99999999999",
     NULL,
     STATUS_OUT_OF_RANGE,
     "realized_pnl"},
    {"realized by one unit",
     {"0.00000001", "1", .realized = "999999999999.99999999"},
     SIDE_SELL,
     "0.00000001",
     "2",
     NULL,
     STATUS_OUT_OF_RANGE,
     "realized_pnl"},
    {"realized by rounding alone",
     {"0.00000001", "1", .realized = "999999999999.99999999"},
     SIDE_SELL,
     "0.00000001",
     "1.5",
     NULL,
     STATUS_OUT_OF_RANGE,
     "realized_pnl"},
    {"realized below",
     {"0.00000001", "1", .realized = "-999999999999.99999999"},
     SIDE_SELL,
     "0.00000001",
     "0.5",
     NULL,
     STATUS_OUT_OF_RANGE,
     "realized_pnl"},
    {"realized when through zero",
     {"99999999999", "1"},
     SIDE_SELL,
     "100000000000",
     "99999999999",
     NULL,
     STATUS_OUT_OF_RANGE,
     "realized_pnl"},
    {"fees", {.fees = "999999999999.99999999"}, SIDE_BUY, "1", "1", "0.00000001", STATUS_OUT_OF_RANGE, "fees_paid"},
    {"unrealized", {.price = "2000000"}, SIDE_BUY, "1000000", "1000000", NULL, STATUS_OUT_OF_RANGE, "unrealized_pnl"},
    {"unrealized below",
     {.price = "2000000"},
     SIDE_SELL,
     "1000000",
     "1000000",
     NULL,
     STATUS_OUT_OF_RANGE,
     "unrealized_pnl"},
};

Test(execution, what_does_not_fit_is_refused_by_name_and_changes_nothing)
{
    for (size_t i = 0; i < sizeof refusal_rows / sizeof refusal_rows[0]; i++) {
        const struct refusal_row *row = &refusal_rows[i];
        struct position position = position_of(&row->held);
        struct position kept = position;
        struct fill fill = fill_of(row->side, row->quantity, row->price, row->fees);
        const char *field = "";
        expect_status(position_apply_fill(&position, &fill, 3000, &position, &field), row->status, row->name);
        cr_expect(strcmp(field, row->field) == 0, "%s: field %s", row->name, field);
        cr_expect(memcmp(&position, &kept, sizeof position) == 0, "%s: the position changed", row->name);
    }
}

Test(execution, the_last_version_is_never_wrapped)
{
    struct position position = position_of(&(struct held){"1", "100"});
    position.version = INT32_MAX;
    struct fill fill = fill_of(SIDE_BUY, "1", "100", NULL);
    const char *field = "";
    expect_status(position_apply_fill(&position, &fill, 3000, &position, &field), STATUS_OUT_OF_RANGE, "version");
    cr_expect(strcmp(field, "version") == 0);
    position.version = INT32_MAX - 1;
    expect_status(position_apply_fill(&position, &fill, 3000, &position, &field), STATUS_OK, "version");
    cr_expect(position.version == INT32_MAX);
}

Test(execution, a_fill_of_another_mode_is_a_programmers_mistake, .signal = SIGABRT)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    struct fill fill = fill_of(SIDE_BUY, "1", "100", NULL);
    const char *field;
    (void)!position_apply_fill(&position, &fill, 3000, &position, &field);
}

/* ---- prices that are fractions: cumulative executions ---- */

static struct fill fill_with_notional(enum side side, const char *quantity, const char *notional)
{
    struct fill fill = fill_of(side, quantity, "1", NULL);
    cr_assert(wide_parse_16(notional, strlen(notional), &fill.notional) == STATUS_OK, "%s", notional);
    return fill;
}

Test(execution, the_exact_price_of_a_fill_is_never_rounded_before_it_is_used)
{
    static const struct {
        const char *name;
        struct held held;
        enum side side;
        const char *quantity, *notional;
        enum status status;
        const char *size, *average, *realized;
    } rows[] = {
        /* 200.99999999 / 2 = 100.499999995; the rounded price would realize 101 */
        {"reduce", {"2", "50"}, SIDE_SELL, "2", "200.99999999", STATUS_OK, "0", NULL, "100.99999999"},
        {"open at a third", {0}, SIDE_BUY, "3", "100", STATUS_OK, "3", "33.33333333", "0"},
        {"add thirds", {"3", "33.33333333"}, SIDE_BUY, "3", "100", STATUS_OK, "6", "33.33333333", "0"},
        {"add at an exact tie", {"1", "10"}, SIDE_BUY, "3", "30.00000002", STATUS_OK, "4", "10.00000001", "0"},
        {"through zero", {"1", "30"}, SIDE_SELL, "3", "100", STATUS_OK, "-2", "33.33333333", "3.33333333"},
        {"through zero, short", {"-1", "30"}, SIDE_BUY, "3", "100", STATUS_OK, "2", "33.33333333", "-3.33333333"},
        /* 7 of 9 at 2/3: a partial close counts its share */
        {"two thirds", {"7", "0.5"}, SIDE_SELL, "9", "6", STATUS_OK, "-2", "0.66666667", "1.16666667"},
        /* odd prices: rounded averages make the increase cost nothing, or less */
        {"reduce at zero", {"2", "50"}, SIDE_SELL, "1", "0", STATUS_OK, "1", "50", "-50"},
        {"reduce below zero", {"2", "50"}, SIDE_SELL, "1", "-0.00000001", STATUS_OK, "1", "50", "-50.00000001"},
        {"close below zero", {"1", "50"}, SIDE_SELL, "1", "-1", STATUS_OK, "0", NULL, "-51"},
        {"add below zero", {"2", "50"}, SIDE_BUY, "1", "-10", STATUS_OK, "3", "30", "0"},
        {"add until nothing is left", {"2", "50"}, SIDE_BUY, "1", "-100", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"add below nothing", {"2", "50"}, SIDE_BUY, "1", "-100.5", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"add far below nothing",
         {"2", "50"},
         SIDE_BUY,
         "0.00000001",
         "-100000000000",
         STATUS_NOT_POSITIVE,
         NULL,
         NULL,
         NULL},
        {"open at zero", {0}, SIDE_BUY, "1", "0", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"open below a unit", {0}, SIDE_BUY, "3", "0.00000001", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"open below zero", {0}, SIDE_SELL, "0.00000001", "-100000000000", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"never said, below zero", {"2", NULL}, SIDE_BUY, "1", "-1", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"through zero below zero", {"2", "50"}, SIDE_SELL, "3", "-1", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
        {"too dear", {0}, SIDE_BUY, "0.00000001", "10000", STATUS_OUT_OF_RANGE, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position before = position_of(&rows[i].held);
        struct fill fill = fill_with_notional(rows[i].side, rows[i].quantity, rows[i].notional);
        struct position after;
        const char *field = "";
        expect_status(position_apply_fill(&before, &fill, 3000, &after, &field), rows[i].status, rows[i].name);
        if (rows[i].status != STATUS_OK) {
            cr_expect(strcmp(field, "average_entry_price") == 0, "%s: field %s", rows[i].name, field);
            continue;
        }
        expect_decimal(after.size, rows[i].size, rows[i].name, "size");
        expect_decimal(after.average_entry_price, rows[i].average, rows[i].name, "average");
        expect_decimal(after.realized_pnl, rows[i].realized, rows[i].name, "realized PnL");
    }
}

Test(execution, the_price_of_a_fill_is_rounded_for_people)
{
    struct fill third = fill_with_notional(SIDE_BUY, "3", "100");
    expect_decimal(fill_price(&third), "33.33333333", "third", "price");
    struct fill tie = fill_with_notional(SIDE_BUY, "2", "200.99999999");
    expect_decimal(fill_price(&tie), "100.5", "tie", "price");
    struct fill odd = fill_with_notional(SIDE_BUY, "2", "-0.00000001");
    expect_decimal(fill_price(&odd), "-0.00000001", "odd", "price");
    struct fill dear = fill_with_notional(SIDE_BUY, "0.00000001", "10000");
    expect_decimal(fill_price(&dear), NULL, "dear", "price");
}

/* ---- how much of an execution is new ---- */

struct step {
    bool cumulative;
    const char *quantity, *price, *fees;
    enum status status;
    const char *new_quantity, *new_notional, *new_fees;
};

static void follow_order(const char *name, const struct step *steps, size_t count)
{
    struct order_total total = ORDER_TOTAL_ZERO;
    for (size_t i = 0; i < count && steps[i].quantity != NULL; i++) {
        char row[96];
        (void)snprintf(row, sizeof row, "%s, step %zu", name, i + 1);
        struct execution execution = {
            .quantity = dec(steps[i].quantity),
            .price = dec(steps[i].price),
            .fees = dec(steps[i].fees),
            .executed_at_us = 77,
            .cumulative = steps[i].cumulative,
            .mode = POSITION_MODE_HEDGE,
            .side = SIDE_SELL,
            .leg = LEG_SHORT,
            .reduce_only = true,
        };
        struct fill fill = {.executed_at_us = 4711};
        struct order_total kept = total;
        expect_status(fill_from_execution(&execution, &total, &fill, &total), steps[i].status, row);
        if (steps[i].status != STATUS_OK) {
            cr_expect(memcmp(&kept, &total, sizeof total) == 0, "%s: the total changed", row);
            cr_expect(fill.executed_at_us == 4711, "%s: the fill changed", row);
            continue;
        }
        char notional[WIDE_TEXT_LEN_MAX];
        (void)wide_text(fill.notional, notional);
        expect_decimal(fill.quantity, steps[i].new_quantity, row, "quantity");
        expect_decimal(fill.fees, steps[i].new_fees, row, "fees");
        cr_expect(strcmp(notional, steps[i].new_notional) == 0, "%s: notional %s", row, notional);
        cr_expect(fill.executed_at_us == 77 && fill.mode == POSITION_MODE_HEDGE && fill.side == SIDE_SELL &&
                      fill.leg == LEG_SHORT && fill.reduce_only,
                  "%s: what was said of it", row);
    }
}

Test(execution, what_is_new_is_the_increase_over_what_the_order_contributed)
{
    static const struct {
        const char *name;
        struct step steps[5];
    } rows[] = {
        {"totals",
         {{true, "1", "100", "0.1", STATUS_OK, "1", "100.0000000000000000", "0.1"},
          {true, "3", "100.33333333", "0.3", STATUS_OK, "2", "200.9999999900000000", "0.2"},
          {true, "3", "100.33333333", "0.3", STATUS_REPEAT, NULL, NULL, NULL},
          {true, "1", "100", "0.1", STATUS_REPEAT, NULL, NULL, NULL},
          {true, "4", "100", "0.25", STATUS_OK, "1", "99.0000000100000000", "-0.05"}}},
        {"nothing filled yet", {{true, "0", "100", "0", STATUS_REPEAT, NULL, NULL, NULL}}},
        {"flat events count towards the total",
         {{false, "1", "100", "0.1", STATUS_OK, "1", "100.0000000000000000", "0.1"},
          {false, "1", "102", "0.1", STATUS_OK, "1", "102.0000000000000000", "0.1"},
          {true, "2", "101", "0.2", STATUS_REPEAT, NULL, NULL, NULL},
          {true, "3", "102", "0.3", STATUS_OK, "1", "104.0000000000000000", "0.1"}}},
        {"flat events after a total",
         {{true, "2", "101", "0.2", STATUS_OK, "2", "202.0000000000000000", "0.2"},
          {false, "1", "104", "0.1", STATUS_OK, "1", "104.0000000000000000", "0.1"},
          {true, "3", "102", "0.3", STATUS_REPEAT, NULL, NULL, NULL}}},
        {"a rounded average makes the increase cost less than nothing",
         {{true, "2", "100", "0", STATUS_OK, "2", "200.0000000000000000", "0"},
          {true, "2.00000001", "99.99999949", "0", STATUS_OK, "0.00000001", "-0.0000000200000051", "0"}}},
        {"fees that are not said take nothing back",
         {{false, "1", "100", "0.1", STATUS_OK, "1", "100.0000000000000000", "0.1"},
          {true, "2", "100", NULL, STATUS_OK, "1", "100.0000000000000000", "0"},
          {true, "3", "100", "0.4", STATUS_OK, "1", "100.0000000000000000", "0.3"}}},
        {"largest totals",
         {{true, "999999999999.99999999", "999999999999.99999999", "999999999999.99999999", STATUS_OK,
           "999999999999.99999999", "999999999999999999980000.0000000000000001", "999999999999.99999999"},
          {false, "0.00000001", "1", "0", STATUS_OK, "0.00000001", "0.0000000100000000", "0"},
          {true, "999999999999.99999999", "1", "0", STATUS_REPEAT, NULL, NULL, NULL}}},
        {"fees whose sum is beyond a figure",
         {{false, "1", "1", "999999999999", STATUS_OK, "1", "1.0000000000000000", "999999999999"},
          {false, "1", "1", "1", STATUS_OK, "1", "1.0000000000000000", "1"},
          {true, "3", "1", "-1", STATUS_OUT_OF_RANGE, NULL, NULL, NULL},
          {true, "3", "1", "1", STATUS_OK, "1", "1.0000000000000000", "-999999999999"}}},
        {"no quantity, no price",
         {{false, "0", "1", "0", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
          {false, "1", "0", "0", STATUS_NOT_POSITIVE, NULL, NULL, NULL},
          {true, "1", "0", "0", STATUS_NOT_POSITIVE, NULL, NULL, NULL}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        follow_order(rows[i].name, rows[i].steps, sizeof rows[i].steps / sizeof rows[i].steps[0]);
}

Test(execution, a_stored_total_that_no_order_can_have_is_refused)
{
    struct order_total before = ORDER_TOTAL_ZERO;
    cr_assert(wide_parse_16("99999999999999999999999999999999999999999999", 44, &before.notional) == STATUS_OK);
    struct execution execution = {.quantity = dec("1"), .price = dec("1"), .fees = DECIMAL_ZERO, .cumulative = true};
    struct fill fill;
    struct order_total after;
    expect_status(fill_from_execution(&execution, &before, &fill, &after), STATUS_OUT_OF_RANGE, "too much");
    before.notional = wide_negate(before.notional);
    expect_status(fill_from_execution(&execution, &before, &fill, &after), STATUS_OUT_OF_RANGE, "too little");
}

/* ---- hedge mode ---- */

struct hedge_row {
    const char *name;
    const char *long_size, *long_average, *short_size, *short_average, *price;
    enum side side;
    enum leg leg;
    bool reduce_only;
    const char *quantity, *fill_price, *fees;
    enum status status;
    const char *wanted_long, *wanted_long_average, *wanted_short, *wanted_short_average;
    const char *size, *average, *realized, *unrealized;
};

static const struct hedge_row hedge_rows[] = {
    /* no leg named: by side, turned around by reduce_only */
    {"Buy grows the long leg",
     "0",
     NULL,
     "0",
     NULL,
     NULL,
     SIDE_BUY,
     LEG_NONE,
     false,
     "1",
     "100",
     "1",
     STATUS_OK,
     "1",
     "100",
     "0",
     NULL,
     "1",
     "100",
     "0",
     "0"},
    {"Sell grows the short leg",
     "0",
     NULL,
     "0",
     NULL,
     NULL,
     SIDE_SELL,
     LEG_NONE,
     false,
     "1",
     "100",
     "1",
     STATUS_OK,
     "0",
     NULL,
     "1",
     "100",
     "-1",
     "100",
     "0",
     "0"},
    {"Sell beside a long leg opens the short one",
     "2",
     "90",
     "0",
     NULL,
     NULL,
     SIDE_SELL,
     LEG_NONE,
     false,
     "1",
     "100",
     NULL,
     STATUS_OK,
     "2",
     "90",
     "1",
     "100",
     "1",
     NULL,
     "0",
     "0"},
    {"reduce-only Sell reduces the long leg",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_SELL,
     LEG_NONE,
     true,
     "1",
     "100",
     "1",
     STATUS_OK,
     "1",
     "90",
     "1",
     "95",
     "0",
     NULL,
     "9",
     "0"},
    {"reduce-only Buy reduces the short leg",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_BUY,
     LEG_NONE,
     true,
     "0.5",
     "100",
     "1",
     STATUS_OK,
     "2",
     "90",
     "0.5",
     "95",
     "1.5",
     NULL,
     "-3.5",
     "0"},
    /* a leg is named */
    {"Sell on the long leg reduces",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_SELL,
     LEG_LONG,
     false,
     "1",
     "100",
     "1",
     STATUS_OK,
     "1",
     "90",
     "1",
     "95",
     "0",
     NULL,
     "9",
     "0"},
    {"Buy on the short leg reduces",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_BUY,
     LEG_SHORT,
     false,
     "1",
     "100",
     "1",
     STATUS_OK,
     "2",
     "90",
     "0",
     NULL,
     "2",
     "90",
     "-6",
     "0"},
    {"Buy on the long leg grows, whatever reduce_only says",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_BUY,
     LEG_LONG,
     true,
     "2",
     "100",
     "1",
     STATUS_OK,
     "4",
     "95",
     "1",
     "95",
     "3",
     NULL,
     "0",
     "0"},
    {"Sell on the short leg grows, whatever reduce_only says",
     "0",
     NULL,
     "1",
     "95",
     NULL,
     SIDE_SELL,
     LEG_SHORT,
     true,
     "1",
     "96",
     "1",
     STATUS_OK,
     "0",
     NULL,
     "2",
     "95.5",
     "-2",
     "95.5",
     "0",
     "0"},
    {"reduce-only Sell on the long leg reduces it",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_SELL,
     LEG_LONG,
     true,
     "2",
     "100",
     NULL,
     STATUS_OK,
     "0",
     NULL,
     "1",
     "95",
     "-1",
     "95",
     "20",
     "0"},
    {"reduce-only Buy on the short leg reduces it",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_BUY,
     LEG_SHORT,
     true,
     "1",
     "90",
     NULL,
     STATUS_OK,
     "2",
     "90",
     "0",
     NULL,
     "2",
     "90",
     "5",
     "0"},
    /* a leg cannot go below zero */
    {"more than the long leg holds",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_SELL,
     LEG_LONG,
     false,
     "2.00000001",
     "100",
     NULL,
     STATUS_LEG_BELOW_ZERO,
     "long_size",
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL},
    {"more than the short leg holds",
     "2",
     "90",
     "1",
     "95",
     NULL,
     SIDE_BUY,
     LEG_NONE,
     true,
     "1.5",
     "100",
     NULL,
     STATUS_LEG_BELOW_ZERO,
     "short_size",
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL},
    {"a leg that is flat",  "2",          "90", "0",  NULL, NULL, SIDE_BUY, LEG_SHORT, false, "0.00000001", "100", NULL,
     STATUS_LEG_BELOW_ZERO, "short_size", NULL, NULL, NULL, NULL, NULL,     NULL,      NULL},
    /* a leg's own range */
    {"long leg out of range", "999999999999", "1",  "0",  NULL, NULL, SIDE_BUY, LEG_NONE, false, "1", "1", NULL,
     STATUS_OUT_OF_RANGE,     "long_size",    NULL, NULL, NULL, NULL, NULL,     NULL,     NULL},
    {"short leg out of range",
     "0",
     NULL,
     "999999999999",
     "1",
     NULL,
     SIDE_SELL,
     LEG_NONE,
     false,
     "1",
     "1",
     NULL,
     STATUS_OUT_OF_RANGE,
     "short_size",
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     NULL},
    {"legs near the limit",
     "999999999999.99999999",
     "1",
     "999999999999.99999998",
     "1",
     NULL,
     SIDE_SELL,
     LEG_NONE,
     false,
     "0.00000001",
     "1",
     NULL,
     STATUS_OK,
     "999999999999.99999999",
     "1",
     "999999999999.99999999",
     "1",
     "0",
     NULL,
     "0",
     "0"},
    /* unrealized PnL of both legs, rounded once */
    {"both legs are valued",
     "2",
     "90",
     "1",
     "95",
     "100",
     SIDE_BUY,
     LEG_LONG,
     false,
     "2",
     "110",
     NULL,
     STATUS_OK,
     "4",
     "100",
     "1",
     "95",
     "3",
     NULL,
     "0",
     "-5"},
    {"two ties make one whole",
     "0.00000001",
     "1",
     "0",
     NULL,
     "1.5",
     SIDE_SELL,
     LEG_NONE,
     false,
     "0.00000001",
     "2",
     NULL,
     STATUS_OK,
     "0.00000001",
     "1",
     "0.00000001",
     "2",
     "0",
     NULL,
     "0",
     "0.00000001"},
    {"two ties that cancel",
     "0.00000001",
     "1",
     "0",
     NULL,
     "1.5",
     SIDE_SELL,
     LEG_NONE,
     false,
     "0.00000001",
     "1",
     NULL,
     STATUS_OK,
     "0.00000001",
     "1",
     "0.00000001",
     "1",
     "0",
     NULL,
     "0",
     "0"},
    {"a leg without an average is not valued",
     "2",
     NULL,
     "0",
     NULL,
     "100",
     SIDE_SELL,
     LEG_NONE,
     false,
     "1",
     "90",
     NULL,
     STATUS_OK,
     "2",
     NULL,
     "1",
     "90",
     "1",
     NULL,
     "0",
     "0"},
    {"closing the last leg",
     "2",
     "90",
     "0",
     NULL,
     "100",
     SIDE_SELL,
     LEG_LONG,
     false,
     "2",
     "100",
     "3",
     STATUS_OK,
     "0",
     NULL,
     "0",
     NULL,
     "0",
     NULL,
     "17",
     "0"},
};

Test(execution, fills_move_the_leg_they_speak_of)
{
    for (size_t i = 0; i < sizeof hedge_rows / sizeof hedge_rows[0]; i++) {
        const struct hedge_row *row = &hedge_rows[i];
        struct position before = new_position(POSITION_MODE_HEDGE);
        before.long_size = dec(row->long_size);
        before.short_size = dec(row->short_size);
        before.long_avg_price = dec(row->long_average);
        before.short_avg_price = dec(row->short_average);
        before.current_price = dec(row->price);
        struct fill fill = fill_of(row->side, row->quantity, row->fill_price, row->fees);
        fill.mode = POSITION_MODE_HEDGE;
        fill.leg = (uint8_t)row->leg;
        fill.reduce_only = row->reduce_only;
        struct position after;
        const char *field = "";
        expect_status(position_apply_fill(&before, &fill, 3000, &after, &field), row->status, row->name);
        if (row->status != STATUS_OK) {
            cr_expect(strcmp(field, row->wanted_long) == 0, "%s: field %s", row->name, field);
            continue;
        }
        position_check(&after);
        expect_decimal(after.long_size, row->wanted_long, row->name, "long size");
        expect_decimal(after.long_avg_price, row->wanted_long_average, row->name, "long average");
        expect_decimal(after.short_size, row->wanted_short, row->name, "short size");
        expect_decimal(after.short_avg_price, row->wanted_short_average, row->name, "short average");
        expect_decimal(after.size, row->size, row->name, "size");
        expect_decimal(after.average_entry_price, row->average, row->name, "average");
        expect_decimal(after.realized_pnl, row->realized, row->name, "realized PnL");
        expect_decimal(after.unrealized_pnl, row->unrealized, row->name, "unrealized PnL");
        expect_decimal(after.fees_paid, row->fees ? row->fees : "0", row->name, "fees");
    }
}

/* ---- times ---- */

static void apply(struct position *position, enum side side, enum leg leg, const char *quantity, int64_t executed_at_us)
{
    struct fill fill = fill_of(side, quantity, "100", NULL);
    fill.mode = position->mode;
    fill.leg = (uint8_t)leg;
    fill.executed_at_us = executed_at_us;
    const char *field = "";
    cr_assert(position_apply_fill(position, &fill, executed_at_us + 5, position, &field) == STATUS_OK, "%s", field);
    position_check(position);
}

Test(execution, opening_and_closing_are_dated_by_the_executions)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    struct uuid id = position.id;
    apply(&position, SIDE_BUY, LEG_NONE, "1", 100);
    cr_expect(position.version == 1 && position.opened_at_us == 100 && position.closed_at_us == TIME_NONE);
    apply(&position, SIDE_BUY, LEG_NONE, "1", 200);
    cr_expect(position.opened_at_us == 100, "adding opens nothing");
    apply(&position, SIDE_SELL, LEG_NONE, "2", 300);
    cr_expect(position.opened_at_us == 100 && position.closed_at_us == 300);
    apply(&position, SIDE_SELL, LEG_NONE, "1", 400);
    cr_expect(position.opened_at_us == 400 && position.closed_at_us == TIME_NONE, "opened again");
    apply(&position, SIDE_BUY, LEG_NONE, "3", 500);
    cr_expect(position.opened_at_us == 500 && position.closed_at_us == TIME_NONE, "through zero is opened anew");
    cr_expect(position.version == 5 && position.created_at_us == 1000 && uuid_is_equal(&position.id, &id));
    cr_expect(position.last_updated_us == 505);
}

Test(execution, a_hedge_position_is_open_while_a_leg_is)
{
    struct position position = new_position(POSITION_MODE_HEDGE);
    apply(&position, SIDE_BUY, LEG_LONG, "1", 100);
    apply(&position, SIDE_SELL, LEG_SHORT, "1", 200);
    cr_expect(position.opened_at_us == 100 && decimal_sign(position.size) == 0, "net zero is not closed");
    apply(&position, SIDE_SELL, LEG_LONG, "1", 300);
    cr_expect(position.opened_at_us == 100 && position.closed_at_us == TIME_NONE);
    apply(&position, SIDE_BUY, LEG_SHORT, "1", 400);
    cr_expect(position.opened_at_us == 100 && position.closed_at_us == 400);
    apply(&position, SIDE_SELL, LEG_SHORT, "1", 500);
    cr_expect(position.opened_at_us == 500 && position.closed_at_us == TIME_NONE);
}

Test(execution, late_executions_are_applied_and_leave_the_newest_time)
{
    struct position position = new_position(POSITION_MODE_ONE_WAY);
    apply(&position, SIDE_BUY, LEG_NONE, "1", 900);
    apply(&position, SIDE_BUY, LEG_NONE, "1", 100);
    expect_decimal(position.size, "2", "late", "size");
    cr_expect(position.last_execution_at_us == 900);
    apply(&position, SIDE_BUY, LEG_NONE, "1", -50);
    cr_expect(position.last_execution_at_us == 900 && position.version == 3);
}
