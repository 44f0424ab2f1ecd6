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
    bool is_allowed;  /* else the thread stays as it was started */
    bool is_ahead;    /* now */
    int64_t since_us; /* when the window, or the rest, began; steady */
    int64_t used_us;  /* the thread's processor time by then */
};

/* Takes the priority; where that is not allowed the thread stays as it is, now and later. Thread: the loop's. */
void ahead_start(struct ahead *ahead, int64_t now_us);

/* To be called after each turn of the loop; now_us: steady. No system call while the window or the rest lasts.
 * Thread: the loop's. */
void ahead_turn(struct ahead *ahead, int64_t now_us);

/* The rule alone: whether a thread that used used_us of processor time within elapsed_us is ahead from now on. */
bool ahead_is_earned(int64_t used_us, int64_t elapsed_us);

#endif
