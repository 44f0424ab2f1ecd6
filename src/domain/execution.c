/*
 * What a fill does, in the order of the contract's §3.2: how much of it is new, then grow, reduce, through zero, by
 * mode.
 *
 * Three scales meet here: sizes, prices, fees and PnL count 10^-8; a notional (quantity x price) counts 10^-16; a
 * quantity times a notional counts 10^-24. The exact price of a fill is notional / quantity, and is never rounded
 * before it is used: each figure is put over one common denominator and rounded once (contract §1).
 */
#include "execution.h"

#include "check.h"
#include "position_change.h"

/* One side of a position that a fill grows or reduces: the whole of a one-way position, or a leg of a hedge position.
 */
struct holding {
    struct decimal size;    /* unsigned */
    struct decimal average; /* none: flat, or never said */
    int sign;               /* 1 long, -1 short */
    const char *size_field;
    const char *average_field;
};

/* No quantity and no price of NUMERIC(20,8) makes a notional beyond this; what is, is no order's total. */
static bool is_notional_in_range(struct wide notional)
{
    struct wide limit = wide_multiply(DECIMAL_UNITS_MAX, DECIMAL_UNITS_MAX);
    return wide_compare(notional, limit) <= 0 && wide_compare(notional, wide_negate(limit)) >= 0;
}

struct order_total order_total_of(const struct fill *fill)
{
    return (struct order_total){.notional = fill->notional, .filled = fill->quantity, .fees = fill->fees};
}

void order_total_add(struct order_total *total, const struct order_total *addend)
{
    total->notional = wide_add(total->notional, addend->notional);
    total->filled.units += addend->filled.units;
    total->fees.units += addend->fees.units;
}

/*
 * A flat event's own quantity, price and fees add to the order's total (contract §3.2, "Flat, incremental"). It stands
 * for itself: a total that has grown beyond what one figure may be is no reason to refuse it.
 */
static enum status take_increment(const struct execution *execution, const struct order_total *before,
                                  struct fill *fill, struct order_total *after)
{
    if (decimal_sign(execution->quantity) <= 0 || decimal_sign(execution->price) <= 0)
        return STATUS_NOT_POSITIVE;
    fill->quantity = execution->quantity;
    fill->notional = wide_multiply(execution->quantity.units, execution->price.units);
    fill->fees = decimal_or_zero(execution->fees);
    const struct order_total addend = order_total_of(fill);
    *after = *before;
    order_total_add(after, &addend);
    return STATUS_OK;
}

/*
 * A nested event's totals stand for the order so far: new is the increase, at the price that makes the totals come out
 * (contract §3.2, "Nested, cumulative"). Fees that are not said at all are no total and take nothing back.
 */
static enum status take_totals(const struct execution *execution, const struct order_total *before, struct fill *fill,
                               struct order_total *after)
{
    if (execution->quantity.units <= before->filled.units)
        return STATUS_REPEAT;
    if (decimal_sign(execution->price) <= 0)
        return STATUS_NOT_POSITIVE;
    after->filled = execution->quantity;
    after->notional = wide_multiply(execution->quantity.units, execution->price.units);
    after->fees = decimal_is_none(execution->fees) ? before->fees : execution->fees;
    fill->notional = wide_subtract(after->notional, before->notional);
    fill->quantity = decimal_from_units(after->filled.units - before->filled.units);
    fill->fees = decimal_from_units(after->fees.units - before->fees.units);
    return decimal_is_in_range(fill->fees.units) ? STATUS_OK : STATUS_OUT_OF_RANGE;
}

enum status fill_from_execution(const struct execution *execution, const struct order_total *before, struct fill *out,
                                struct order_total *after)
{
    struct fill fill = {
        .executed_at_us = execution->executed_at_us,
        .mode = execution->mode,
        .side = execution->side,
        .leg = execution->leg,
        .reduce_only = execution->reduce_only,
    };
    struct order_total total;
    enum status status = execution->cumulative ? take_totals(execution, before, &fill, &total)
                                               : take_increment(execution, before, &fill, &total);
    if (status != STATUS_OK)
        return status;
    if (!is_notional_in_range(fill.notional))
        return STATUS_OUT_OF_RANGE;
    *out = fill;
    *after = total;
    return STATUS_OK;
}

struct decimal fill_price(const struct fill *fill)
{
    struct decimal price;
    if (wide_divide_to_decimal(fill->notional, fill->quantity.units, &price) != STATUS_OK)
        return DECIMAL_NONE;
    return price;
}

/*
 * cost / quantity as an average entry price. One at or below zero is none that could be (contract §3.2): also one that
 * is too small for eight digits.
 */
static enum status set_average(struct holding *holding, struct wide cost, int128 quantity_units, const char **field)
{
    struct decimal average;
    *field = holding->average_field;
    if (wide_divide_to_decimal(cost, quantity_units, &average) != STATUS_OK)
        return wide_sign(cost) < 0 ? STATUS_NOT_POSITIVE : STATUS_OUT_OF_RANGE;
    if (decimal_sign(average) <= 0)
        return STATUS_NOT_POSITIVE;
    holding->average = average;
    return STATUS_OK;
}

/*
 * Opening or adding (contract §3.2): average = (|size| x avg + |q| x p) / (|size| + |q|); realized PnL is unchanged. An
 * old part whose average was never said counts at p, which makes p the average of the whole.
 */
static enum status holding_grow(struct holding *holding, const struct fill *fill, const char **field)
{
    struct wide cost = fill->notional;
    int128 quantity_units = fill->quantity.units;
    if (!decimal_is_none(holding->average)) {
        cost = wide_add(cost, wide_multiply(holding->size.units, holding->average.units));
        quantity_units += holding->size.units;
    }
    *field = holding->size_field;
    struct decimal size;
    if (decimal_add(holding->size, fill->quantity, &size) != STATUS_OK)
        return STATUS_OUT_OF_RANGE;
    holding->size = size;
    return set_average(holding, cost, quantity_units, field);
}

/*
 * Reducing (contract §3.2): realized PnL += closed x (p - avg) x sign(size) - f, the average is unchanged. With p =
 * notional / quantity, all of it over quantity x 10^8:
 *
 *     (realized - f) x quantity x 10^8  +  sign x (closed x notional  -  closed x avg x quantity)
 *
 * so that the whole sum, old realized PnL included, is rounded once. A closed part whose average was never said counts
 * at p: it gains nothing, and only the fee enters.
 */
static enum status holding_reduce(struct holding *holding, const struct fill *fill, struct decimal closed,
                                  struct decimal *realized, const char **field)
{
    int128 denominator = fill->quantity.units * DECIMAL_ONE;
    struct wide sum = wide_multiply(realized->units - fill->fees.units, denominator);
    if (!decimal_is_none(holding->average)) {
        struct wide at_price = wide_scale(fill->notional, closed.units);
        struct wide at_average = wide_scale(wide_multiply(closed.units, holding->average.units), fill->quantity.units);
        struct wide gain = wide_subtract(at_price, at_average);
        sum = wide_add(sum, holding->sign > 0 ? gain : wide_negate(gain));
    }
    *field = "realized_pnl";
    if (wide_divide_to_decimal(sum, denominator, realized) != STATUS_OK)
        return STATUS_OUT_OF_RANGE;
    holding->size = decimal_from_units(holding->size.units - closed.units);
    return STATUS_OK;
}

/* Through zero (contract §3.2): the old side is realized completely, with the whole fee once; the rest opens at p. */
static enum status holding_flip(struct holding *holding, const struct fill *fill, struct decimal *realized,
                                const char **field)
{
    struct decimal rest = decimal_from_units(fill->quantity.units - holding->size.units);
    enum status status = holding_reduce(holding, fill, holding->size, realized, field);
    if (status != STATUS_OK)
        return status;
    holding->size = rest;
    holding->sign = -holding->sign;
    return set_average(holding, fill->notional, fill->quantity.units, field);
}

/* One-way mode: one signed size; a fill of its sign grows it, one of the other reduces it, through zero if it is
 * larger. */
static enum status fill_one_way(struct position *position, const struct fill *fill, const char **field)
{
    int direction = fill->side == SIDE_BUY ? 1 : -1;
    int sign = decimal_sign(position->size);
    struct holding holding = {
        .size = decimal_absolute(position->size),
        .average = position->average_entry_price,
        .sign = sign == 0 ? direction : sign,
        .size_field = "size",
        .average_field = "average_entry_price",
    };
    enum status status;
    if (holding.sign == direction)
        status = holding_grow(&holding, fill, field);
    else if (fill->quantity.units <= holding.size.units)
        status = holding_reduce(&holding, fill, fill->quantity, &position->realized_pnl, field);
    else
        status = holding_flip(&holding, fill, &position->realized_pnl, field);
    if (status != STATUS_OK)
        return status;
    position->size = holding.sign > 0 ? holding.size : decimal_negate(holding.size);
    position->average_entry_price = holding.average;
    return STATUS_OK;
}

/*
 * Hedge mode (contract §3.2): the leg that the message names; where it names none, Buy speaks of the long leg and Sell
 * of the short one, and reduce_only turns that around. A leg that is named wins over reduce_only.
 */
static enum leg leg_of_fill(const struct fill *fill)
{
    if (fill->leg != LEG_NONE)
        return (enum leg)fill->leg;
    bool buys = fill->side == SIDE_BUY;
    return buys != fill->reduce_only ? LEG_LONG : LEG_SHORT;
}

/* Buy grows the long leg and reduces the short one; Sell the other way round. A leg cannot go below zero. */
static enum status fill_leg(struct position *position, const struct fill *fill, const char **field)
{
    bool is_long = leg_of_fill(fill) == LEG_LONG;
    struct decimal *size = is_long ? &position->long_size : &position->short_size;
    struct decimal *average = is_long ? &position->long_avg_price : &position->short_avg_price;
    struct holding holding = {
        .size = *size,
        .average = *average,
        .sign = is_long ? 1 : -1,
        .size_field = is_long ? "long_size" : "short_size",
        .average_field = is_long ? "long_avg_price" : "short_avg_price",
    };
    enum status status;
    if (is_long == (fill->side == SIDE_BUY)) {
        status = holding_grow(&holding, fill, field);
    } else if (fill->quantity.units > holding.size.units) {
        *field = holding.size_field;
        status = STATUS_LEG_BELOW_ZERO;
    } else {
        status = holding_reduce(&holding, fill, fill->quantity, &position->realized_pnl, field);
    }
    if (status != STATUS_OK)
        return status;
    *size = holding.size;
    *average = holding.average;
    return STATUS_OK;
}

/* Every fee, opening or closing, is paid; rebates are negative (contract §3.2). */
static enum status add_fees(struct position *position, const struct fill *fill, const char **field)
{
    *field = "fees_paid";
    return decimal_add(position->fees_paid, fill->fees, &position->fees_paid);
}

/* At the current price where one is known, else as last said; zero when flat (contract §3.2). */
static enum status revalue(struct position *position, const char **field)
{
    *field = "unrealized_pnl";
    return position_revalue(position);
}

enum status position_apply_fill(const struct position *before, const struct fill *fill, int64_t now_us,
                                struct position *after, const char **field)
{
    pm_assert(fill->mode == before->mode);
    pm_assert(fill->side == SIDE_BUY || fill->side == SIDE_SELL);
    pm_assert(decimal_sign(fill->quantity) > 0);
    struct position next = *before;
    enum status status =
        next.mode == POSITION_MODE_HEDGE ? fill_leg(&next, fill, field) : fill_one_way(&next, fill, field);
    if (status != STATUS_OK)
        return status;
    position_settle_sides(&next);
    if ((status = add_fees(&next, fill, field)) != STATUS_OK || (status = revalue(&next, field)) != STATUS_OK)
        return status;
    position_note_opening(&next, before, fill->executed_at_us);
    /* Executions come late: the newest counts, and none is TIME_NONE, the least of all times. */
    if (fill->executed_at_us > next.last_execution_at_us)
        next.last_execution_at_us = fill->executed_at_us;
    if ((status = position_raise_version(&next, now_us, field)) != STATUS_OK)
        return status;
    *after = next;
    return STATUS_OK;
}
