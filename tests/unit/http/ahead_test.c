#define _GNU_SOURCE

#include "ahead.h"

#include <criterion/criterion.h>
#include <sched.h>

#include "clock.h"
#include "metrics.h"

static bool is_real_time(void)
{
    return (sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) == SCHED_RR;
}

static void use_processor_us(int64_t us)
{
    int64_t until_us = clock_thread_us() + us;
    while (clock_thread_us() < until_us) {
    }
}

Test(ahead, a_third_of_the_time_is_the_most)
{
    cr_expect(ahead_is_earned(0, AHEAD_WINDOW_US));
    cr_expect(ahead_is_earned(AHEAD_WINDOW_US / 3, AHEAD_WINDOW_US));
    cr_expect_not(ahead_is_earned(AHEAD_WINDOW_US / 3 + 1, AHEAD_WINDOW_US));
    cr_expect_not(ahead_is_earned(AHEAD_REST_US, AHEAD_REST_US));
    /* The loop slept for long: what counts is the share, not the amount. */
    cr_expect(ahead_is_earned(150000, 500000));
}

/* Where the kernel does not allow it the thread has to stay as it was, whatever happens. */
Test(ahead, keeps_the_priority_while_it_is_cheap_steps_back_when_it_is_not_and_comes_again)
{
    struct ahead ahead = {0};
    ahead_start(&ahead, 0);
    bool may = ahead.is_allowed;
    cr_expect_eq(is_real_time(), may);
    uint64_t stepped_back = metric_value(METRIC_HTTP_STEPPED_BACK);

    ahead_turn(&ahead, AHEAD_WINDOW_US);
    cr_expect_eq(is_real_time(), may);

    use_processor_us(AHEAD_WINDOW_US / 2);
    ahead_turn(&ahead, 2 * AHEAD_WINDOW_US - 1);
    cr_expect_eq(is_real_time(), may, "not before the window is over");
    ahead_turn(&ahead, 2 * AHEAD_WINDOW_US);
    cr_expect_not(is_real_time());
    cr_expect_eq(metric_value(METRIC_HTTP_STEPPED_BACK), stepped_back + (may ? 1 : 0));

    int64_t rested_us = 2 * AHEAD_WINDOW_US + AHEAD_REST_US;
    ahead_turn(&ahead, rested_us - 1);
    cr_expect_not(is_real_time(), "not before the rest is over");
    use_processor_us(AHEAD_REST_US / 2);
    ahead_turn(&ahead, rested_us);
    cr_expect_not(is_real_time(), "nor after one in which it had much to do");
    ahead_turn(&ahead, rested_us + AHEAD_REST_US);
    cr_expect_eq(is_real_time(), may);
    cr_expect_eq(metric_value(METRIC_HTTP_STEPPED_BACK), stepped_back + (may ? 1 : 0));
}

Test(ahead, whoever_was_started_under_another_policy_stays_there)
{
    struct sched_param parameter = {.sched_priority = 0};
    cr_assert_eq(sched_setscheduler(0, SCHED_BATCH, &parameter), 0);
    struct ahead ahead = {0};
    ahead_start(&ahead, 0);
    ahead_turn(&ahead, 2 * AHEAD_REST_US);
    cr_expect_not(ahead.is_allowed);
    cr_expect_eq(sched_getscheduler(0), SCHED_BATCH);
}
