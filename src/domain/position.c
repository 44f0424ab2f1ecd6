#include "position.h"

#include "check.h"
#include "wide.h"

#include <string.h>
#include <strings.h>

static const char *const mode_words[] = {
    [POSITION_MODE_ONE_WAY] = "one-way",
    [POSITION_MODE_HEDGE] = "hedge",
};
enum { MODES = sizeof mode_words / sizeof mode_words[0] };

void position_init(struct position *position, const char *asset, enum position_mode mode, struct uuid id,
                   int64_t now_us)
{
    size_t asset_len = strlen(asset);
    pm_assert(asset_len > 0 && asset_len <= ASSET_LEN_MAX);
    struct decimal leg = mode == POSITION_MODE_HEDGE ? DECIMAL_ZERO : DECIMAL_NONE;
    *position = (struct position){
        .average_entry_price = DECIMAL_NONE,
        .current_price = DECIMAL_NONE,
        .long_size = leg,
        .short_size = leg,
        .long_avg_price = DECIMAL_NONE,
        .short_avg_price = DECIMAL_NONE,
        .price_updated_at_us = TIME_NONE,
        .last_updated_us = TIME_NONE,
        .last_snapshot_at_us = TIME_NONE,
        .created_at_us = now_us,
        .opened_at_us = TIME_NONE,
        .closed_at_us = TIME_NONE,
        .last_execution_at_us = TIME_NONE,
        .market_event_at_us = TIME_NONE,
        .id = id,
        .mode = (uint8_t)mode,
    };
    memcpy(position->asset, asset, asset_len + 1);
}

const char *position_mode_word(enum position_mode mode)
{
    pm_assert((unsigned)mode < MODES);
    return mode_words[mode];
}

enum status position_mode_parse(const char *text, size_t len, enum position_mode *out)
{
    for (size_t i = 0; i < MODES; i++) {
        if (len == strlen(mode_words[i]) && strncasecmp(text, mode_words[i], len) == 0) {
            *out = (enum position_mode)i;
            return STATUS_OK;
        }
    }
    return STATUS_BAD_MODE;
}

bool position_is_long(const struct position *position)
{
    return decimal_sign(position->mode == POSITION_MODE_HEDGE ? position->long_size : position->size) > 0;
}

bool position_is_short(const struct position *position)
{
    if (position->mode == POSITION_MODE_HEDGE)
        return decimal_sign(position->short_size) > 0;
    return decimal_sign(position->size) < 0;
}

bool position_is_open(const struct position *position)
{
    return position_is_long(position) || position_is_short(position);
}

int128 position_gross_units(const struct position *position)
{
    if (position->mode == POSITION_MODE_HEDGE)
        return position->long_size.units + position->short_size.units;
    return decimal_absolute(position->size).units;
}

/* size x (price - average), exact (10^-16); the signed size of one side. False where an open side has no average. */
static bool add_gain(struct decimal size, struct decimal average, struct decimal price, struct wide *sum)
{
    if (decimal_sign(size) == 0)
        return true;
    if (decimal_is_none(average))
        return false;
    *sum = wide_add(*sum, wide_multiply(size.units, price.units - average.units));
    return true;
}

enum status position_revalue(struct position *position)
{
    /* A flat position has nothing that could gain (contract §3.2, "reaching zero"). */
    if (!position_is_open(position)) {
        position->unrealized_pnl = DECIMAL_ZERO;
        return STATUS_OK;
    }
    struct decimal price = position->current_price;
    if (decimal_is_none(price))
        return STATUS_OK;
    struct wide gain = WIDE_ZERO;
    bool known;
    if (position->mode == POSITION_MODE_HEDGE)
        known = add_gain(position->long_size, position->long_avg_price, price, &gain) &&
                add_gain(decimal_negate(position->short_size), position->short_avg_price, price, &gain);
    else
        known = add_gain(position->size, position->average_entry_price, price, &gain);
    /* Without the average of an open side it stays as last said (contract §3.2). */
    return known ? wide_divide_to_decimal(gain, DECIMAL_ONE, &position->unrealized_pnl) : STATUS_OK;
}

struct decimal position_unrealized_pnl_pct(const struct position *position)
{
    struct decimal average = position->average_entry_price;
    if (decimal_sign(position->size) == 0 || decimal_is_none(average))
        return DECIMAL_NONE;
    /* unrealized 10^-8 over cost 10^-16, times 100, in units of 10^-8: times 10^8, 10^2 and 10^8. */
    const int128 scale = (int128)100 * DECIMAL_ONE * DECIMAL_ONE;
    struct wide cost = wide_multiply(decimal_absolute(position->size).units, average.units);
    int128 units;
    if (wide_divide_by_wide(wide_multiply(position->unrealized_pnl.units, scale), cost, &units) != STATUS_OK ||
        !decimal_is_in_range(units))
        return DECIMAL_NONE;
    return decimal_from_units(units);
}

bool position_average_differs(struct decimal average, struct decimal stored, struct decimal threshold)
{
    struct decimal difference = decimal_absolute(decimal_from_units(average.units - stored.units));
    return wide_compare(wide_multiply(difference.units, DECIMAL_ONE), wide_multiply(threshold.units, stored.units)) > 0;
}

int64_t position_time_held_minutes(const struct position *position, int64_t now_us)
{
    if (position->opened_at_us == TIME_NONE)
        return -1;
    bool closed = !position_is_open(position) && position->closed_at_us != TIME_NONE;
    int64_t end_us = closed ? position->closed_at_us : now_us;
    /* Executions arrive late and clocks differ: an end before the beginning is no time, not a negative one. */
    if (end_us <= position->opened_at_us)
        return 0;
    const int128 minute_us = 60 * 1000000;
    return (int64_t)(((int128)end_us - position->opened_at_us) / minute_us);
}

bool position_is_same_figures(const struct position *a, const struct position *b)
{
    return decimal_is_equal(a->size, b->size) && decimal_is_equal(a->average_entry_price, b->average_entry_price) &&
           decimal_is_equal(a->current_price, b->current_price) &&
           decimal_is_equal(a->unrealized_pnl, b->unrealized_pnl) &&
           decimal_is_equal(a->realized_pnl, b->realized_pnl) && decimal_is_equal(a->fees_paid, b->fees_paid) &&
           decimal_is_equal(a->long_size, b->long_size) && decimal_is_equal(a->short_size, b->short_size) &&
           decimal_is_equal(a->long_avg_price, b->long_avg_price) &&
           decimal_is_equal(a->short_avg_price, b->short_avg_price);
}

/* An average stands only with something held, and is a price. */
static void check_average(struct decimal size, struct decimal average)
{
    pm_assert(decimal_is_none(average) || (average.units > 0 && decimal_is_in_range(average.units)));
    pm_assert(decimal_is_none(average) || size.units != 0);
}

static void check_hedge(const struct position *position)
{
    pm_assert(decimal_is_in_range(position->long_size.units) && position->long_size.units >= 0);
    pm_assert(decimal_is_in_range(position->short_size.units) && position->short_size.units >= 0);
    pm_assert(position->size.units == position->long_size.units - position->short_size.units);
    check_average(position->long_size, position->long_avg_price);
    check_average(position->short_size, position->short_avg_price);
    struct decimal only_leg = DECIMAL_NONE;
    if (position_is_long(position) != position_is_short(position))
        only_leg = position_is_long(position) ? position->long_avg_price : position->short_avg_price;
    pm_assert(decimal_is_equal(position->average_entry_price, only_leg));
}

void position_check(const struct position *position)
{
    pm_assert(position->mode < MODES);
    pm_assert(position->version >= 0);
    pm_assert(position->market_digest_count <= MARKET_DIGESTS_MAX);
    pm_assert(decimal_is_in_range(position->size.units));
    pm_assert(decimal_is_in_range(position->unrealized_pnl.units));
    pm_assert(decimal_is_in_range(position->realized_pnl.units));
    pm_assert(decimal_is_in_range(position->fees_paid.units));
    pm_assert(decimal_is_none(position->current_price) ||
              (position->current_price.units > 0 && decimal_is_in_range(position->current_price.units)));
    pm_assert(!position_is_open(position) || position->closed_at_us == TIME_NONE);
    if (position->mode == POSITION_MODE_HEDGE) {
        check_hedge(position);
        return;
    }
    check_average(position->size, position->average_entry_price);
    pm_assert(decimal_is_none(position->long_size) && decimal_is_none(position->short_size));
    pm_assert(decimal_is_none(position->long_avg_price) && decimal_is_none(position->short_avg_price));
}
