/*
 * execution: what a fill does to a position (contract §3.2, the average-cost method).
 *
 * Two steps, both pure: fill_from_execution() turns a decoded execution (incremental or cumulative) into the quantity
 * and the exact notional that are new, given what its order has contributed so far; position_apply_fill() books it.
 * Thread: any.
 */
#ifndef PM_EXECUTION_H
#define PM_EXECUTION_H

#include "position.h"
#include "wide.h"

/* An execution as the message said it. */
struct execution {
    struct decimal quantity; /* > 0; cumulative: the order's filled total so far (0 is possible: nothing filled yet) */
    struct decimal price;    /* > 0; cumulative: the order's average price so far, rounded to 8 digits on input */
    struct decimal fees;     /* any sign, none: zero; cumulative: the order's total, none: not said, so no new ones */
    int64_t executed_at_us;  /* never TIME_NONE: absent is the time of arrival */
    bool cumulative;
    uint8_t mode; /* enum position_mode */
    uint8_t side; /* enum side: BUY or SELL */
    uint8_t leg;  /* enum leg: hedge leg named by the message; LEG_NONE: by side and reduce_only */
    bool reduce_only;
};

/* What one order has contributed so far, by events of either shape. Sums: they may be beyond a decimal's range. */
struct order_total {
    struct wide notional; /* sum of quantity x price, exact, 10^-16 */
    struct decimal filled;
    struct decimal fees;
};
#define ORDER_TOTAL_ZERO ((struct order_total){.notional = WIDE_ZERO, .filled = {0}, .fees = {0}})

/* What is new. */
struct fill {
    struct wide notional;    /* quantity x price, exact, 10^-16; rounded averages may make it zero or negative */
    struct decimal quantity; /* > 0 */
    struct decimal fees;
    int64_t executed_at_us;
    uint8_t mode, side, leg;
    bool reduce_only;
};

/*
 * What an execution adds to what its order had contributed; *after is the order's total then.
 * An incremental execution adds itself. A cumulative one adds the increase, at the price that makes the totals come
 * out. before and after may be the same object; on failure neither out nor after is touched. Fails: STATUS_REPEAT (a
 * cumulative total that did not increase), STATUS_NOT_POSITIVE (no quantity or no price), STATUS_OUT_OF_RANGE (a
 * cumulative one only: the fees that are new do not fit; or the stored notional is one that no order can have).
 */
enum status fill_from_execution(const struct execution *execution, const struct order_total *before, struct fill *out,
                                struct order_total *after) PM_MUST_USE;

/* What a fill adds to its order's total. */
struct order_total order_total_of(const struct fill *fill);
void order_total_add(struct order_total *total, const struct order_total *addend);

/* notional / quantity, rounded to 8 digits: the price of a fill for people and journals. May be none if out of range.
 */
struct decimal fill_price(const struct fill *fill);

/*
 * Books a fill. *after is *before with the fill applied, unrealized PnL revalued, opened_at/closed_at kept, version one
 * more, last_updated = now_us, last_execution_at = the newest executed_at. `before` may be a position of version 0.
 * A part that is reduced while its average was never said counts at the fill's price: it gains nothing, its fee enters.
 * The fill's mode must be the position's. before and after may be the same object; on failure *after is untouched.
 * Fails: STATUS_NOT_POSITIVE (an average would end at or below zero), STATUS_LEG_BELOW_ZERO (hedge: reduces more than
 * the leg holds), STATUS_OUT_OF_RANGE; *field names what did not fit ("realized_pnl").
 */
enum status position_apply_fill(const struct position *before, const struct fill *fill, int64_t now_us,
                                struct position *after, const char **field) PM_MUST_USE;

#endif
