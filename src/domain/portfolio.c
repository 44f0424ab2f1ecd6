#include "portfolio.h"

#include "check.h"

/* Contract §2.4: positions without a price count in PnL sums and counts but not in exposure. */
void portfolio_contribution(const struct position *position, struct portfolio_totals *out)
{
    bool priced = !decimal_is_none(position->current_price);
    bool open = position_is_open(position);
    int128 price = priced ? position->current_price.units : 0;
    *out = (struct portfolio_totals){
        .exposure = wide_multiply(position_gross_units(position), price),
        .net_exposure = wide_multiply(position->size.units, price),
        .unrealized_pnl = position->unrealized_pnl.units,
        .realized_pnl = position->realized_pnl.units,
        .positions = 1,
        .open = open ? 1 : 0,
        .longs = position_is_long(position) ? 1 : 0,
        .shorts = position_is_short(position) ? 1 : 0,
        .unpriced = open && !priced ? 1 : 0,
    };
}

void portfolio_add(struct portfolio_totals *totals, const struct portfolio_totals *addend)
{
    totals->exposure = wide_add(totals->exposure, addend->exposure);
    totals->net_exposure = wide_add(totals->net_exposure, addend->net_exposure);
    totals->unrealized_pnl += addend->unrealized_pnl;
    totals->realized_pnl += addend->realized_pnl;
    totals->positions += addend->positions;
    totals->open += addend->open;
    totals->longs += addend->longs;
    totals->shorts += addend->shorts;
    totals->unpriced += addend->unpriced;
}

void portfolio_subtract(struct portfolio_totals *totals, const struct portfolio_totals *subtrahend)
{
    totals->exposure = wide_subtract(totals->exposure, subtrahend->exposure);
    totals->net_exposure = wide_subtract(totals->net_exposure, subtrahend->net_exposure);
    totals->unrealized_pnl -= subtrahend->unrealized_pnl;
    totals->realized_pnl -= subtrahend->realized_pnl;
    totals->positions -= subtrahend->positions;
    totals->open -= subtrahend->open;
    totals->longs -= subtrahend->longs;
    totals->shorts -= subtrahend->shorts;
    totals->unpriced -= subtrahend->unpriced;
}

int128 portfolio_round(struct wide sum)
{
    int128 units = 0;
    enum status status = wide_divide_round(sum, DECIMAL_ONE, &units);
    pm_assert(status == STATUS_OK);
    return units;
}

struct decimal position_size_norm(const struct position *position, struct wide total_exposure)
{
    if (decimal_is_none(position->current_price))
        return DECIMAL_NONE;
    if (wide_sign(total_exposure) <= 0)
        return DECIMAL_ZERO;
    struct wide exposure = wide_multiply(position_gross_units(position), position->current_price.units);
    int128 units;
    if (wide_divide_by_wide(wide_scale(exposure, DECIMAL_ONE), total_exposure, &units) != STATUS_OK ||
        !decimal_is_in_range(units))
        return DECIMAL_NONE;
    return decimal_from_units(units);
}
