#include "correction.h"

enum status position_apply_correction(const struct position *before, const struct correction *correction, int64_t now_us,
                                      struct position *after, const char **field)
{
    if (before->mode == POSITION_MODE_HEDGE)
        return STATUS_INVALID;
    struct position next = *before;
    if (!decimal_is_none(correction->size))
        next.size = correction->size;
    if (!decimal_is_none(correction->average_price))
        next.average_entry_price = correction->average_price;
    bool was_open = position_is_open(before);
    bool is_open = position_is_open(&next);
    if (is_open && (!was_open || decimal_sign(before->size) != decimal_sign(next.size))) {
        next.opened_at_us = now_us;
        next.closed_at_us = TIME_NONE;
    }
    if (!is_open) {
        next.average_entry_price = DECIMAL_NONE;
        if (was_open)
            next.closed_at_us = now_us;
    }
    enum status status = position_revalue(&next);
    if (status != STATUS_OK) {
        *field = "unrealized_pnl";
        return status;
    }
    if (position_is_same_figures(before, &next))
        return STATUS_UNCHANGED;
    if (before->version == INT32_MAX) {
        *field = "version";
        return STATUS_OUT_OF_RANGE;
    }
    next.version = before->version + 1;
    next.last_updated_us = now_us;
    *after = next;
    return STATUS_OK;
}
