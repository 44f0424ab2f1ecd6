#define _GNU_SOURCE

#include "ahead.h"

#include <sched.h>

#include "clock.h"
#include "metrics.h"

/* The lowest real-time priority: ahead of all that is ordinary, behind whatever an operator put first. */
enum { PRIORITY = 1 };

/* Whatever the thread starts is ordinary. */
static bool set_policy(int policy, int priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &parameter) == 0;
}

static void begin_look(struct ahead *ahead, int64_t now_us, int64_t used_us)
{
    ahead->since_us = now_us;
    ahead->used_us = used_us;
}

void ahead_start(struct ahead *ahead, int64_t now_us)
{
    ahead->is_allowed = sched_getscheduler(0) == SCHED_OTHER && set_policy(SCHED_RR, PRIORITY);
    ahead->is_ahead = ahead->is_allowed;
    begin_look(ahead, now_us, clock_thread_us());
}

bool ahead_is_earned(int64_t used_us, int64_t elapsed_us)
{
    return used_us <= elapsed_us / AHEAD_SHARE;
}

void ahead_turn(struct ahead *ahead, int64_t now_us)
{
    int64_t elapsed_us = now_us - ahead->since_us;
    if (!ahead->is_allowed || elapsed_us < (ahead->is_ahead ? AHEAD_WINDOW_US : AHEAD_REST_US))
        return;
    int64_t used_us = clock_thread_us();
    bool is_earned = ahead_is_earned(used_us - ahead->used_us, elapsed_us);
    if (is_earned != ahead->is_ahead && set_policy(is_earned ? SCHED_RR : SCHED_OTHER, is_earned ? PRIORITY : 0)) {
        ahead->is_ahead = is_earned;
        if (!is_earned)
            metric_add(METRIC_HTTP_STEPPED_BACK, 1);
    }
    begin_look(ahead, now_us, used_us);
}
