#include "backoff.h"

#include <criterion/criterion.h>

enum { MS = 1000 };

Test(backoff, grows_from_a_tenth_of_a_second_to_one_second_with_jitter)
{
    struct backoff backoff;
    int64_t bound_ms = BACKOFF_FIRST_MS;
    backoff_init(&backoff, 42);
    cr_assert_eq(backoff_left_us(&backoff, 0), 0, "the first try waits");
    for (int i = 0; i < 20; i++) {
        backoff_fail(&backoff, 0, 1000);
        const int64_t wait_us = backoff.retry_at_us - 1000;
        cr_assert_geq(wait_us, bound_ms * MS / 2, "try %d", i);
        cr_assert_leq(wait_us, bound_ms * MS, "try %d", i);
        cr_assert_leq(wait_us, 1000 * MS, "try %d", i);
        bound_ms = bound_ms * 2 < BACKOFF_MAX_MS ? bound_ms * 2 : BACKOFF_MAX_MS;
    }
}

Test(backoff, a_try_that_hung_has_waited_enough)
{
    struct backoff backoff;
    backoff_init(&backoff, 42);
    for (int i = 0; i < 10; i++)
        backoff_fail(&backoff, 0, 0);
    cr_assert_gt(backoff_left_us(&backoff, 100 * MS), 0);
    cr_assert_eq(backoff_left_us(&backoff, BACKOFF_MAX_MS * MS), 0);
    cr_assert_eq(backoff_left_us(&backoff, 3000 * MS), 0);
}

Test(backoff, begins_anew_after_a_connection_that_stood)
{
    struct backoff backoff;
    backoff_init(&backoff, 42);
    for (int i = 0; i < 10; i++)
        backoff_fail(&backoff, 0, 0);
    backoff_fail(&backoff, (int64_t)BACKOFF_STEADY_MS * MS - 1, 0);
    cr_assert_gt(backoff.retry_at_us, BACKOFF_FIRST_MS * MS);
    backoff_fail(&backoff, (int64_t)BACKOFF_STEADY_MS * MS, 0);
    cr_assert_leq(backoff.retry_at_us, BACKOFF_FIRST_MS * MS);
}

Test(backoff, begins_anew_after_something_worked)
{
    struct backoff backoff;
    backoff_init(&backoff, 42);
    for (int i = 0; i < 10; i++)
        backoff_fail(&backoff, 0, 0);
    backoff_reset(&backoff);
    backoff_fail(&backoff, 0, 0);
    cr_assert_leq(backoff.retry_at_us, BACKOFF_FIRST_MS * MS);
}

Test(backoff, differs_between_processes)
{
    struct backoff one, other;
    backoff_init(&one, 2);
    backoff_init(&other, 4);
    for (int i = 0; i < 5; i++) {
        backoff_fail(&one, 0, 0);
        backoff_fail(&other, 0, 0);
    }
    cr_assert_neq(one.retry_at_us, other.retry_at_us);
}

Test(reminder, the_same_is_told_first_and_once_a_minute)
{
    struct reminder reminder = {0};
    int told = 0;
    for (int64_t second = 0; second < 3600; second++)
        told += reminder_must_tell(&reminder, "refused", second * 1000 * MS);
    cr_assert_eq(told, 60);
    cr_assert_eq(reminder.count, 3600);
}

Test(reminder, another_reason_is_told_but_two_in_turn_are_no_flood)
{
    struct reminder reminder = {0};
    cr_assert(reminder_must_tell(&reminder, "refused", 0));
    cr_assert_not(reminder_must_tell(&reminder, "wrong password", BACKOFF_TELL_OTHER_MS * MS - 1));
    cr_assert(reminder_must_tell(&reminder, "wrong password", BACKOFF_TELL_OTHER_MS * MS));
    for (int64_t i = 2; i * BACKOFF_TELL_OTHER_MS < BACKOFF_REMIND_MS; i++) {
        const char *reason = i % 2 == 0 ? "refused" : "wrong password";
        cr_assert_not(reminder_must_tell(&reminder, reason, i * BACKOFF_TELL_OTHER_MS * MS), "%s", reason);
    }
    cr_assert(reminder_must_tell(&reminder, "starting up", 3 * BACKOFF_TELL_OTHER_MS * MS));
}

Test(reminder, after_a_success_the_next_failure_is_told)
{
    struct reminder reminder = {0};
    cr_assert(reminder_must_tell(&reminder, "refused", 0));
    reminder_reset(&reminder);
    cr_assert(reminder_must_tell(&reminder, "refused", 1));
    cr_assert_eq(reminder.count, 1);
}
