#include "correction.h"

#include "position_change.h"

static bool is_as_compared(const struct position *position, const struct correction *correction)
{
    return decimal_is_equal(position->size, correction->compared_size) &&
           decimal_is_equal(position->average_entry_price, correction->compared_average_price);
}

enum status position_apply_correction(const struct position *before, const struct correction *correction,
                                      int64_t now_us, struct position *after, const char **field)
{
    if (before->mode == POSITION_MODE_HEDGE)
        return STATUS_INVALID;
    struct position next = *before;
    if (!decimal_is_none(correction->size))
        next.size = correction->size;
    if (!decimal_is_none(correction->average_price))
        next.average_entry_price = correction->average_price;
    position_settle_sides(&next);
    position_note_opening(&next, before, now_us);
    enum status status = position_revalue(&next);
    if (status != STATUS_OK) {
        *field = "unrealized_pnl";
        return status;
    }
    if (position_is_same_figures(before, &next)) {
        *after = *before;
        return STATUS_UNCHANGED;
    }
    if (!is_as_compared(before, correction))
        return STATUS_STALE;
    status = position_raise_version(&next, now_us, field);
    if (status == STATUS_OK)
        *after = next;
    return status;
}
