#include "correction.h"

#include "position_change.h"

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
    status = position_raise_version(&next, now_us, field);
    if (status == STATUS_OK)
        *after = next;
    return status;
}
