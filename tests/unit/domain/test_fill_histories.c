/*
 * Random histories of fills against a second, slow statement of the contract's §3.2, in school arithmetic, and against
 * what must hold whatever happens: cash in and out equals what was realized, fees add up, the record stays in order.
 */
#include <stdlib.h>

#include "execution.h"
#include "portfolio.h"
#include "reference.h"

enum { HISTORIES = 400, FILLS = 60 };

static struct big units(int128 value)
{
    return big_from(value);
}

/* One side as the contract says it, in units of 10^-8. */
struct side_by_hand {
    struct big size;    /* signed */
    struct big average; /* zero: none */
};

static struct big absolute(struct big a)
{
    a.negative = false;
    return a;
}

/* size x (price - average), 10^-16 */
static struct big gain_by_hand(const struct side_by_hand *side, struct big price)
{
    return big_multiply(side->size, big_subtract(price, side->average));
}

/* Applies a signed quantity at a price of eight digits; realized PnL and fee in units of 10^-8. */
static void fill_by_hand(struct side_by_hand *side, struct big *realized, struct big quantity, struct big price,
                         struct big fee)
{
    const struct big zero = big_from(0);
    const struct big one = big_from(DECIMAL_ONE);
    struct big size_after = big_add(side->size, quantity);
    if (side->size.len == 0 || side->size.negative == quantity.negative) {
        struct big cost =
            big_add(big_multiply(absolute(side->size), side->average), big_multiply(absolute(quantity), price));
        side->average = big_divide_round(cost, absolute(size_after));
        side->size = size_after;
        return;
    }
    bool through_zero = big_compare_size(&quantity, &side->size) > 0;
    struct side_by_hand closed = {through_zero ? side->size : big_negate(quantity), side->average};
    struct big sum = big_multiply(big_subtract(*realized, fee), one);
    *realized = big_divide_round(big_add(sum, gain_by_hand(&closed, price)), one);
    if (through_zero)
        side->average = price;
    if (size_after.len == 0)
        side->average = zero;
    side->size = size_after;
}

struct history {
    uint64_t seed;
    struct position position;
    struct order_total total;     /* of one order that all fills belong to: it must come out as the sum */
    struct side_by_hand sides[2]; /* one-way: the first; hedge: long, short */
    struct big realized;
    struct big fees;
};

static struct execution random_execution(struct history *history)
{
    static const unsigned digits_of_quantity[] = {1, 3, 8, 10};
    uint64_t *seed = &history->seed;
    struct execution execution = {
        .quantity = decimal_from_units(1 + random_digits(seed, digits_of_quantity[random_below(seed, 4)])),
        .price = decimal_from_units(1 + random_digits(seed, 4 + (unsigned)random_below(seed, 9))),
        .fees = decimal_from_units(random_digits(seed, 9) - 200000000),
        .executed_at_us = (int64_t)random_below(seed, 1000000),
        .mode = history->position.mode,
        .side = random_below(seed, 2) ? SIDE_BUY : SIDE_SELL,
        .reduce_only = random_below(seed, 2) == 0,
    };
    if (history->position.mode == POSITION_MODE_HEDGE)
        execution.leg = (uint8_t)random_below(seed, 3);
    /* Exactly what is held, now and then: that is how positions reach zero. */
    int128 gross = position_gross_units(&history->position);
    if (gross > 0 && random_below(seed, 4) == 0)
        execution.quantity = decimal_from_units(gross);
    return execution;
}

/* The side and the signed quantity that an execution speaks of, said another way than the code does. */
static struct side_by_hand *side_of(struct history *history, const struct execution *execution)
{
    if (history->position.mode == POSITION_MODE_ONE_WAY)
        return &history->sides[0];
    if (execution->leg != LEG_NONE)
        return &history->sides[execution->leg == LEG_LONG ? 0 : 1];
    if (execution->side == SIDE_BUY)
        return &history->sides[execution->reduce_only ? 1 : 0];
    return &history->sides[execution->reduce_only ? 0 : 1];
}

static bool is_figure(struct decimal ours, struct big wanted, bool zero_is_none)
{
    if (zero_is_none && wanted.len == 0)
        return decimal_is_none(ours);
    return big_is_units(wanted, ours.units);
}

static void expect_by_hand(const struct history *history, int step)
{
    const struct position *position = &history->position;
    const struct side_by_hand *sides = history->sides;
    bool hedge = position->mode == POSITION_MODE_HEDGE;
    cr_assert(is_figure(position->size, hedge ? big_add(sides[0].size, sides[1].size) : sides[0].size, false),
              "step %d: size", step);
    cr_assert(is_figure(position->realized_pnl, history->realized, false), "step %d: realized PnL", step);
    cr_assert(is_figure(position->fees_paid, history->fees, false), "step %d: fees", step);
    struct big gain = big_from(0);
    if (position_is_open(position))
        gain = big_add(gain_by_hand(&sides[0], units(position->current_price.units)),
                       gain_by_hand(&sides[1], units(position->current_price.units)));
    cr_assert(is_figure(position->unrealized_pnl, big_divide_round(gain, big_from(DECIMAL_ONE)), false),
              "step %d: unrealized PnL", step);
    if (!hedge) {
        cr_assert(is_figure(position->average_entry_price, sides[0].average, true), "step %d: average", step);
        return;
    }
    cr_assert(is_figure(position->long_size, sides[0].size, false), "step %d: long leg", step);
    cr_assert(is_figure(position->short_size, big_negate(sides[1].size), false), "step %d: short leg", step);
    cr_assert(is_figure(position->long_avg_price, sides[0].average, true), "step %d: long average", step);
    cr_assert(is_figure(position->short_avg_price, sides[1].average, true), "step %d: short average", step);
}

static void step_history(struct history *history, int step)
{
    struct execution execution = random_execution(history);
    struct side_by_hand *side = side_of(history, &execution);
    struct big quantity = units(execution.quantity.units);
    quantity.negative = execution.side == SIDE_SELL;
    struct big size_after = big_add(side->size, quantity);
    bool hedge = history->position.mode == POSITION_MODE_HEDGE;
    bool below_zero = hedge && size_after.len > 0 && size_after.negative != (side == &history->sides[1]);
    struct fill fill;
    struct order_total total;
    const char *field = "";
    cr_assert(fill_from_execution(&execution, &history->total, &fill, &total) == STATUS_OK, "step %d", step);
    struct position before = history->position;
    enum status status = position_apply_fill(&before, &fill, 5, &history->position, &field);
    if (below_zero) {
        cr_assert(status == STATUS_LEG_BELOW_ZERO, "step %d: %s", step, status_word(status));
        return;
    }
    cr_assert(status == STATUS_OK, "step %d: %s %s", step, status_word(status), field);
    history->total = total;
    history->fees = big_add(history->fees, units(execution.fees.units));
    fill_by_hand(side, &history->realized, quantity, units(execution.price.units), units(execution.fees.units));
    position_check(&history->position);
    cr_assert(history->position.version == before.version + 1, "step %d: version", step);
    cr_assert(history->position.last_execution_at_us >= before.last_execution_at_us, "step %d: time", step);
    expect_by_hand(history, step);
}

Test(fill_histories, every_figure_after_every_fill_is_that_worked_out_by_hand)
{
    const uint64_t first = TEST_SEED_FIRST;
    (void)fprintf(stderr, "seeds from %" PRIu64 "\n", first);
    for (uint64_t i = 0; i < HISTORIES; i++) {
        struct history history = {.seed = first + i, .total = ORDER_TOTAL_ZERO};
        history.position = new_position(i % 2 ? POSITION_MODE_HEDGE : POSITION_MODE_ONE_WAY);
        history.position.current_price = decimal_from_units(1 + random_digits(&history.seed, 11));
        for (int step = 0; step < FILLS; step++)
            step_history(&history, step);
    }
}

/* ---- cash ---- */

/* What a position brought in: sold less bought, less the fees of what closed. */
struct cash {
    struct wide received; /* 10^-16 */
    int128 closing_fees;
    int128 fees;
    int128 size_max;
};

static void note_cash(struct cash *cash, const struct position *before, const struct fill *fill)
{
    bool buys = fill->side == SIDE_BUY;
    cash->received = buys ? wide_subtract(cash->received, fill->notional) : wide_add(cash->received, fill->notional);
    cash->fees += fill->fees.units;
    if (decimal_sign(before->size) == (buys ? -1 : 1))
        cash->closing_fees += fill->fees.units;
    int128 size = decimal_absolute(before->size).units + fill->quantity.units;
    cash->size_max = size > cash->size_max ? size : cash->size_max;
}

Test(fill_histories, what_is_realized_when_flat_is_the_cash_that_came_in)
{
    const uint64_t first = TEST_SEED_FIRST + 1000;
    (void)fprintf(stderr, "seeds from %" PRIu64 "\n", first);
    for (uint64_t i = 0; i < HISTORIES; i++) {
        struct history history = {.seed = first + i, .total = ORDER_TOTAL_ZERO};
        history.position = new_position(POSITION_MODE_ONE_WAY);
        struct cash cash = {.received = WIDE_ZERO};
        int fills = 0;
        while (fills < FILLS || decimal_sign(history.position.size) != 0) {
            struct execution execution = random_execution(&history);
            if (fills >= FILLS) {
                execution.side = decimal_sign(history.position.size) > 0 ? SIDE_SELL : SIDE_BUY;
                execution.quantity = decimal_absolute(history.position.size);
            }
            struct fill fill;
            const char *field = "";
            cr_assert(fill_from_execution(&execution, &history.total, &fill, &history.total) == STATUS_OK);
            note_cash(&cash, &history.position, &fill);
            cr_assert(position_apply_fill(&history.position, &fill, 5, &history.position, &field) == STATUS_OK);
            fills++;
        }
        const struct position *flat = &history.position;
        cr_assert(flat->unrealized_pnl.units == 0 && decimal_is_none(flat->average_entry_price));
        cr_assert(flat->closed_at_us != TIME_NONE && flat->fees_paid.units == cash.fees && flat->version == fills);
        cr_assert(decimal_is_equal(history.total.fees, flat->fees_paid), "the order's fees");
        /* Each step rounds realized PnL by half a unit at most, and an average by half a unit times what is held. */
        struct wide realized = wide_multiply(flat->realized_pnl.units + cash.closing_fees, DECIMAL_ONE);
        struct wide error = wide_subtract(realized, cash.received);
        error = wide_sign(error) < 0 ? wide_negate(error) : error;
        struct wide bound = wide_multiply((DECIMAL_ONE + cash.size_max) / 2 + 1, fills);
        cr_assert(wide_compare(error, bound) <= 0, "seed %" PRIu64 ": realized PnL and cash differ", first + i);
    }
}

/* ---- totals of orders ---- */

Test(fill_histories, cumulative_totals_come_out_whatever_their_steps)
{
    const uint64_t first = TEST_SEED_FIRST + 2000;
    (void)fprintf(stderr, "seeds from %" PRIu64 "\n", first);
    for (uint64_t i = 0; i < HISTORIES; i++) {
        uint64_t seed = first + i;
        struct order_total total = ORDER_TOTAL_ZERO;
        struct wide notional = WIDE_ZERO;
        int128 filled = 0;
        struct execution execution = {.cumulative = true, .side = SIDE_BUY, .fees = DECIMAL_ZERO};
        for (int step = 0; step < FILLS; step++) {
            execution.quantity = decimal_from_units(1 + random_digits(&seed, 20));
            execution.price = decimal_from_units(1 + random_digits(&seed, 20 - (unsigned)random_below(&seed, 15)));
            execution.fees = decimal_from_units(random_digits(&seed, 5));
            if (!decimal_is_in_range(execution.quantity.units) || !decimal_is_in_range(execution.price.units))
                continue;
            struct fill fill;
            enum status status = fill_from_execution(&execution, &total, &fill, &total);
            cr_assert(status == (execution.quantity.units > filled ? STATUS_OK : STATUS_REPEAT));
            if (status == STATUS_REPEAT)
                continue;
            filled += fill.quantity.units;
            notional = wide_add(notional, fill.notional);
            cr_assert(filled == execution.quantity.units && decimal_is_equal(total.filled, execution.quantity));
            cr_assert(wide_compare(notional, wide_multiply(execution.quantity.units, execution.price.units)) == 0);
            cr_assert(wide_compare(total.notional, notional) == 0 && decimal_is_equal(total.fees, execution.fees));
        }
    }
}
