/*
 * correction: what a validation's fix does to a position (contract §5.2): size and average entry price as recounted
 * from the orders table.
 *
 * It is of one state, the one that was compared. Applied to a later one it would take back the executions that came in
 * between, so it names that state and is refused where the position says something else.
 *
 * Pure. Thread: any.
 */
#ifndef PM_CORRECTION_H
#define PM_CORRECTION_H

#include "position.h"

struct correction {
    struct decimal size;          /* signed; none: leave it */
    struct decimal average_price; /* > 0; none: leave it (a flat position has none in any case) */
    struct decimal compared_size; /* what the position said when it was compared */
    struct decimal compared_average_price;
    uint8_t mode; /* enum position_mode; only one-way positions can be corrected: orders name no legs */
};

/*
 * Applies it as one more versioned change: opened_at and closed_at follow the size, unrealized PnL is revalued,
 * realized PnL and fees stay. Returns STATUS_OK, or STATUS_UNCHANGED where nothing differs (*after is *before then).
 * Fails: STATUS_STALE where size or average differ from those that were compared; STATUS_OUT_OF_RANGE, *field names
 * what; STATUS_INVALID for a hedge position; *after untouched.
 */
enum status position_apply_correction(const struct position *before, const struct correction *correction,
                                      int64_t now_us, struct position *after, const char **field) PM_MUST_USE;

#endif
