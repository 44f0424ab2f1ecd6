#include "position_change.h"

static struct decimal average_if_held(struct decimal size, struct decimal average)
{
    return decimal_sign(size) == 0 ? DECIMAL_NONE : average;
}

void position_settle_sides(struct position *position)
{
    if (position->mode != POSITION_MODE_HEDGE) {
        position->average_entry_price = average_if_held(position->size, position->average_entry_price);
        return;
    }
    position->long_avg_price = average_if_held(position->long_size, position->long_avg_price);
    position->short_avg_price = average_if_held(position->short_size, position->short_avg_price);
    /* Both legs are unsigned and in range, so their difference is. */
    position->size = decimal_from_units(position->long_size.units - position->short_size.units);
    position->average_entry_price = DECIMAL_NONE;
    if (position_is_long(position) && !position_is_short(position))
        position->average_entry_price = position->long_avg_price;
    if (position_is_short(position) && !position_is_long(position))
        position->average_entry_price = position->short_avg_price;
}

/* Another holding than before: from flat, or in one-way mode through zero. A hedge position only ever grows a leg. */
static bool is_opened_anew(const struct position *position, const struct position *before)
{
    if (!position_is_open(before))
        return true;
    return position->mode == POSITION_MODE_ONE_WAY && decimal_sign(position->size) != decimal_sign(before->size);
}

void position_note_opening(struct position *position, const struct position *before, int64_t at_us)
{
    if (!position_is_open(position)) {
        if (position_is_open(before))
            position->closed_at_us = at_us;
        return;
    }
    if (is_opened_anew(position, before))
        position->opened_at_us = at_us;
    position->closed_at_us = TIME_NONE;
}

enum status position_raise_version(struct position *position, int64_t now_us, const char **field)
{
    if (position->version == INT32_MAX) {
        *field = "version";
        return STATUS_OUT_OF_RANGE;
    }
    position->version++;
    position->last_updated_us = now_us;
    return STATUS_OK;
}
