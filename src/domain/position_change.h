/*
 * position_change: what every change of a position ends with, whoever made it (contract §2.4, §3.2). Inside domain
 * only. Pure. Thread: any.
 */
#ifndef PM_POSITION_CHANGE_H
#define PM_POSITION_CHANGE_H

#include "position.h"

/*
 * Hedge: the net size from the legs, and as average entry price that of the only open leg. In either mode what is flat
 * loses its average.
 */
void position_settle_sides(struct position *position);

/*
 * Keeps opened_at and closed_at: opened anew from flat or through zero, closed on reaching zero. at_us is when that
 * happened. `before` is the position as it was.
 */
void position_note_opening(struct position *position, const struct position *before, int64_t at_us);

/* One more version, applied now. Fails: STATUS_OUT_OF_RANGE where the column is full; *field is "version". */
enum status position_raise_version(struct position *position, int64_t now_us, const char **field) PM_MUST_USE;

#endif
