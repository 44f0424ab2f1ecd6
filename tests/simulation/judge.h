/*
 * judge: plays a story in a process of its own and says what broke, so that a failed assert, a crash or a hang is a
 * verdict like any other; and shortens a story for as long as it breaks the same.
 */
#ifndef PM_JUDGE_H
#define PM_JUDGE_H

#include "story.h"

struct verdict {
    bool held;
    char invariant[160]; /* its name; "assert: …" with the expression, or how else the process ended */
    char detail[400];
    size_t played; /* steps begun */
};

/* What many seeds came to. */
struct tally {
    uint64_t seeds, steps, crashes, conflicts, repeats, redeliveries, announcements;
};

void judge(const struct story *story, struct verdict *verdict);

/*
 * Plays the seeds from `from` on, count of them or until seconds have passed (0: no matter how long), in one process.
 * Returns whether all held; else *seed is the one that did not, with its verdict. One in sixteen is played twice and
 * has to go the same way (invariant 9).
 */
bool judge_seeds(uint64_t from, uint64_t count, uint64_t seconds, uint64_t *seed, struct verdict *verdict,
                 struct tally *tally);

/*
 * Leaves out messages and steps and lowers numbers, for as long as the same invariant breaks, until nothing can go or
 * the time is over. verdict: of the story as it came; of the shortened one afterwards. Returns the number of tries.
 */
size_t story_shorten(struct story *story, struct verdict *verdict, uint64_t seconds);

#endif
