/*
 * ahead: a loop that is asked for little runs ahead of the machine's other threads.
 *
 * To answer a read takes some 30 us, but a thread that wakes up on busy processors waits behind the time slices of
 * others, some 3 ms each. So a loop takes the lowest real-time priority where it may (CAP_SYS_NICE, or an RLIMIT_RTPRIO
 * of at least 1) and was started under the ordinary policy, and keeps it while it is cheap: when it used more than a
 * third of a processor in a window of AHEAD_WINDOW_US, it steps back to the ordinary policy for AHEAD_REST_US, and for
 * as long again while it goes on like that. Hence a flood of requests is ahead of executions for a window and a turn of
 * the loop, and then no more.
 */
#ifndef PM_AHEAD_H
#define PM_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define AHEAD_WINDOW_US 20000LL
#define AHEAD_REST_US   200000LL
enum { AHEAD_SHARE = 3 }; /* one part in so many of a processor */

struct ahead {
    bool is_allowed;  /* by the kernel */
    bool is_ahead;    /* now */
    int64_t since_us; /* begin of the window or of the rest, steady; then: */
    int64_t used_us;  /* the thread's processor time */
};

/* Takes the priority, if it may. Thread: the loop's, here and below. */
void ahead_start(struct ahead *ahead, int64_t now_us);

/* To be called after each turn of the loop; now_us: steady. Cheap while the window or the rest lasts. */
void ahead_turn(struct ahead *ahead, int64_t now_us);

/* The rule alone: should the thread be ahead from now on, when it used used_us in the elapsed_us since the last look?
 * elapsed_us is at least AHEAD_WINDOW_US for who is ahead, else at least AHEAD_REST_US. */
bool ahead_is_earned(int64_t used_us, int64_t elapsed_us);

#endif
