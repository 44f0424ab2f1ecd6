/* In builds that have fail points; the others have nothing to test. */
#include "fail_point.h"

#include <criterion/criterion.h>

#ifdef PM_FAIL_POINTS

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

Test(fail_point, nothing_is_armed_by_nothing)
{
    cr_assert_eq(fail_point_arm(NULL), STATUS_OK);
    cr_assert_eq(fail_point_arm(""), STATUS_OK);
    for (int point = FAIL_POINT_NONE + 1; point < FAIL_POINT_COUNT; point++)
        FAIL_POINT(point, -1);
}

Test(fail_point, what_cannot_be_understood_arms_nothing)
{
    static const char *const texts[] = {"none:crash",
                                        "before_commi:crash",
                                        "before_commit",
                                        "before_commit:",
                                        "before_commit:crashed",
                                        "before_commit:stop",
                                        "before_commit:stop=",
                                        "before_commit:stop=-1",
                                        "before_commit:stop=9999999",
                                        "before_commit:stop=1x",
                                        "before_commit:crash:",
                                        "before_commit:crash:0",
                                        "before_commit:crash:1:2"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(fail_point_arm(texts[i]), STATUS_INVALID, "%s", texts[i]);
        FAIL_POINT(FAIL_POINT_BEFORE_COMMIT, -1);
    }
}

Test(fail_point, crash_is_a_kill, .signal = SIGKILL)
{
    cr_assert_eq(fail_point_arm("after_commit:crash"), STATUS_OK);
    FAIL_POINT(FAIL_POINT_BEFORE_COMMIT, -1);
    FAIL_POINT(FAIL_POINT_AFTER_COMMIT, -1);
}

Test(fail_point, break_ends_the_connection_at_the_third_time_and_only_then)
{
    int ends[2];
    char byte = 'x';
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert_eq(fail_point_arm("after_confirm:break:3"), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        FAIL_POINT(FAIL_POINT_AFTER_CONFIRM, ends[0]);
        cr_assert_eq(write(ends[0], &byte, 1), 1);
        cr_assert_eq(read(ends[1], &byte, 1), 1);
    }
    FAIL_POINT(FAIL_POINT_AFTER_CONFIRM, ends[0]);
    cr_assert_eq(read(ends[1], &byte, 1), 0);
    int other[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    FAIL_POINT(FAIL_POINT_AFTER_CONFIRM, other[0]);
    cr_assert_eq(write(other[0], &byte, 1), 1);
}

Test(fail_point, stop_lasts_as_long_as_it_says)
{
    cr_assert_eq(fail_point_arm("before_view:stop=500"), STATUS_OK);
    const int64_t begin_us = clock_steady_us();
    FAIL_POINT(FAIL_POINT_BEFORE_VIEW, -1);
    cr_assert_geq(clock_steady_us() - begin_us, 500000);
    bool is_short = false;
    for (int tries = 0; tries < 20 && !is_short; tries++) { /* a busy machine may make some of them long */
        const int64_t again_us = clock_steady_us();
        FAIL_POINT(FAIL_POINT_BEFORE_VIEW, -1);
        is_short = clock_steady_us() - again_us < 500000;
    }
    cr_assert(is_short, "it stops once");
}

#else

Test(fail_point, left_out_it_evaluates_nothing)
{
    int evaluated = 0;
    FAIL_POINT(FAIL_POINT_BEFORE_COMMIT, ++evaluated);
    cr_assert_eq(fail_point_arm("before_commit:crash"), STATUS_OK);
    cr_assert_eq(evaluated, 0);
}

#endif
