#include <criterion/criterion.h>
#include <string.h>

#include "broker_link.h"

Test(broker_backoff, grows_from_a_tenth_of_a_second_to_five_seconds_with_jitter)
{
    struct broker_backoff backoff;
    int64_t bound_ms = BROKER_BACKOFF_FIRST_MS;
    broker_backoff_init(&backoff, 42);
    for (int i = 0; i < 20; i++) {
        broker_backoff_fail(&backoff, 0, 1000);
        int64_t wait_ms = (backoff.retry_at_us - 1000) / 1000;
        cr_assert_geq(wait_ms, bound_ms / 2, "try %d", i);
        cr_assert_leq(wait_ms, bound_ms, "try %d", i);
        bound_ms = bound_ms * 2 < BROKER_BACKOFF_MAX_MS ? bound_ms * 2 : BROKER_BACKOFF_MAX_MS;
    }
}

Test(broker_backoff, begins_anew_after_a_connection_that_stood)
{
    struct broker_backoff backoff;
    broker_backoff_init(&backoff, 42);
    for (int i = 0; i < 10; i++)
        broker_backoff_fail(&backoff, 0, 0);
    broker_backoff_fail(&backoff, (int64_t)BROKER_STEADY_AFTER_MS * 1000, 0);
    cr_assert_leq(backoff.retry_at_us, (int64_t)BROKER_BACKOFF_FIRST_MS * 1000);
}

Test(broker_backoff, differs_between_processes)
{
    struct broker_backoff one, other;
    broker_backoff_init(&one, 2);
    broker_backoff_init(&other, 4);
    for (int i = 0; i < 5; i++) {
        broker_backoff_fail(&one, 0, 0);
        broker_backoff_fail(&other, 0, 0);
    }
    cr_assert_neq(one.retry_at_us, other.retry_at_us);
}

Test(broker_link, nobody_there_is_unavailable_with_a_reason)
{
    struct broker_link link;
    const struct broker_settings settings = {.host = "127.0.0.1",
                                             .vhost = "/",
                                             .user = "guest",
                                             .password = "guest",
                                             .connection_name_prefix = "test",
                                             .port = 1,
                                             .heartbeat_s = 10};
    broker_link_init(&link);
    cr_assert_eq(broker_link_open(&link, &settings, "consumer", 0), STATUS_UNAVAILABLE);
    cr_assert_not(broker_link_is_open(&link));
    cr_assert_neq(link.reason[0], '\0');
    broker_link_finish(&link);
}

Test(broker_link, long_reason_is_cut)
{
    struct broker_link link;
    char detail[400];
    memset(detail, 'x', sizeof detail);
    broker_link_init(&link);
    cr_assert_eq(broker_link_lost(&link, "what", detail, sizeof detail), STATUS_LOST);
    cr_assert_eq(strlen(link.reason), BROKER_REASON_LEN_MAX - 1);
    cr_assert_eq(strncmp(link.reason, "what: xxx", 9), 0);
    broker_link_finish(&link);
}
