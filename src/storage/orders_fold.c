/*
 * Orders to a position, and the comparison.
 */
#include "orders_fold.h"

#include <string.h>

#include "execution.h"

void orders_fold_begin(struct orders_fold *fold)
{
    *fold = (struct orders_fold){0};
    position_init(&fold->position, "ORDERS", POSITION_MODE_ONE_WAY, (struct uuid){0}, 0);
}

/* Exchanges and older services write 0 where there is no price. */
static bool read_price(const char *text, struct decimal *out)
{
    return text != NULL && decimal_parse(text, strlen(text), DECIMAL_EXCESS_ROUND, out) == STATUS_OK &&
           decimal_sign(*out) > 0;
}

/* Where a price is missing any other serves: a reduction leaves the average alone, an addition makes it unknown. */
static struct decimal stand_in_price(struct orders_fold *fold, struct decimal quantity, bool is_buy)
{
    const struct position *position = &fold->position;
    const bool reduces = decimal_sign(position->size) == (is_buy ? -1 : 1);
    if (!reduces || decimal_absolute(position->size).units < quantity.units)
        fold->is_average_unknown = true;
    return decimal_is_none(position->average_entry_price) ? decimal_from_units(DECIMAL_ONE)
                                                          : position->average_entry_price;
}

void orders_fold_add(struct orders_fold *fold, bool is_buy, const char *quantity_text, const char *price_text)
{
    struct decimal quantity, price;
    fold->order_count++;
    if (fold->is_broken)
        return;
    if (decimal_parse(quantity_text, strlen(quantity_text), DECIMAL_EXCESS_ROUND, &quantity) != STATUS_OK ||
        decimal_sign(quantity) < 0) {
        fold->is_broken = true;
        return;
    }
    if (decimal_sign(quantity) == 0)
        return;
    const struct position *position = &fold->position;
    const bool was_short = decimal_sign(position->size) < 0;
    const bool was_long = decimal_sign(position->size) > 0;
    const bool has_price = read_price(price_text, &price);
    if (!has_price)
        price = stand_in_price(fold, quantity, is_buy);
    const struct fill fill = {.quantity = quantity,
                              .notional = wide_multiply(quantity.units, price.units),
                              .fees = DECIMAL_ZERO,
                              .mode = POSITION_MODE_ONE_WAY,
                              .side = is_buy ? SIDE_BUY : SIDE_SELL};
    const char *field;
    if (position_apply_fill(position, &fill, 0, &fold->position, &field) != STATUS_OK) {
        fold->is_broken = true;
        return;
    }
    /* Gains are not compared, and must not get out of range over a long history; nor must the version. */
    fold->position.realized_pnl = DECIMAL_ZERO;
    fold->position.version = 0;
    const int sign = decimal_sign(position->size);
    const bool crossed = (was_long && sign < 0) || (was_short && sign > 0);
    if (sign == 0 || (crossed && has_price))
        fold->is_average_unknown = false;
}

static bool size_differs(struct decimal stored, struct decimal computed, struct decimal threshold)
{
    return decimal_absolute(decimal_from_units(stored.units - computed.units)).units > threshold.units;
}

static bool average_differs(struct decimal stored, struct decimal computed, struct decimal threshold)
{
    if (decimal_is_none(stored) || decimal_is_none(computed))
        return decimal_is_none(stored) != decimal_is_none(computed);
    return position_average_differs(computed, stored, threshold);
}

static const char *message_of(const struct validation_result *result)
{
    if (result->size.differs && result->average_entry_price.differs)
        return "size and average_entry_price differ from what the orders say";
    if (result->size.differs)
        return "size differs from what the orders say";
    return result->average_entry_price.differs ? "average_entry_price differs from what the orders say" : NULL;
}

void orders_fold_compare(const struct orders_fold *fold, const struct position *stored,
                         const struct orders_tolerance *tolerance, struct validation_result *out)
{
    *out = (struct validation_result){.is_valid = true};
    if (fold->order_count == 0) {
        out->error_message = "nothing to compare: there are no filled orders of this asset";
        return;
    }
    if (fold->is_broken) {
        out->error_message = "nothing to compare: the orders of this asset do not add up to a number that fits";
        return;
    }
    const struct position *computed = &fold->position;
    out->size = (struct validation_finding){size_differs(stored->size, computed->size, tolerance->size), stored->size,
                                            computed->size};
    /* A flat position has no average; where only one of the two is flat, the size tells. */
    if (stored->mode == POSITION_MODE_ONE_WAY && !fold->is_average_unknown && computed->size.units != 0 &&
        (stored->size.units != 0 || out->size.differs))
        out->average_entry_price = (struct validation_finding){
            average_differs(stored->average_entry_price, computed->average_entry_price, tolerance->average),
            stored->average_entry_price, computed->average_entry_price};
    out->is_valid = !out->size.differs && !out->average_entry_price.differs;
    out->error_message = message_of(out);
}
