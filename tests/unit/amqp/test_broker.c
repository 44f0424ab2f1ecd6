#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker_link.h"
#include "metrics.h"

enum { ASK_AFTER_US = BROKER_ASK_AFTER_MS * 1000, ANSWER_US = BROKER_ANSWER_MS * 1000, QUESTION_LEN = 13 };

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

/* As after the login, with a socket at whose other end a test sits. */
struct silence {
    struct broker_link link;
    int peer;
};

static struct silence silence_begin(void)
{
    struct silence silence;
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    broker_link_init(&silence.link);
    silence.link.state = amqp_new_connection();
    silence.link.fd = ends[0];
    silence.peer = ends[1];
    broker_link_excuse(&silence.link, 0);
    return silence;
}

static void silence_end(struct silence *silence)
{
    (void)close(silence->link.fd);
    (void)close(silence->peer);
    broker_link_finish(&silence->link);
}

/* One turn of the owner at that time; returns the bytes that it sent. */
static ssize_t turn(struct silence *silence, int64_t now_us)
{
    char bytes[256];
    cr_assert_eq(broker_link_service(&silence->link, now_us), STATUS_OK);
    return read(silence->peer, bytes, sizeof bytes);
}

Test(broker_link, who_says_nothing_is_asked_once_and_then_silent)
{
    struct silence silence = silence_begin();
    cr_assert_eq(broker_link_due_us(&silence.link), ASK_AFTER_US);
    cr_assert_eq(turn(&silence, ASK_AFTER_US - 1), -1, "asked too early");
    cr_assert_eq(turn(&silence, ASK_AFTER_US), QUESTION_LEN);
    cr_assert_eq(broker_link_due_us(&silence.link), ASK_AFTER_US + ANSWER_US);
    cr_assert_eq(turn(&silence, ASK_AFTER_US + ANSWER_US - 1), -1, "asked twice");
    cr_assert_not(broker_link_silence_changed(&silence.link, "test", ASK_AFTER_US + ANSWER_US - 1));
    cr_assert(broker_link_silence_changed(&silence.link, "test", ASK_AFTER_US + ANSWER_US));
    cr_assert(silence.link.is_silent);
    cr_assert_eq(metric_value(METRIC_BROKER_SILENCES), 1);
    cr_assert_not(broker_link_silence_changed(&silence.link, "test", ASK_AFTER_US + ANSWER_US + 1), "told twice");
    silence_end(&silence);
}

Test(broker_link, a_frame_is_an_answer)
{
    struct silence silence = silence_begin();
    cr_assert_eq(turn(&silence, ASK_AFTER_US), QUESTION_LEN);
    cr_assert(broker_link_silence_changed(&silence.link, "test", ASK_AFTER_US + ANSWER_US));
    silence.link.has_told = true; /* as broker_link_read() notes */
    const int64_t told_us = ASK_AFTER_US + ANSWER_US + 5;
    cr_assert_eq(turn(&silence, told_us), -1);
    cr_assert(broker_link_silence_changed(&silence.link, "test", told_us));
    cr_assert_not(silence.link.is_silent);
    cr_assert_eq(broker_link_due_us(&silence.link), told_us + ASK_AFTER_US);
    cr_assert_eq(turn(&silence, told_us + ASK_AFTER_US), QUESTION_LEN, "asked again");
    silence_end(&silence);
}

Test(broker_link, a_frame_after_our_own_standstill_comes_first)
{
    struct silence silence = silence_begin();
    cr_assert_eq(turn(&silence, ASK_AFTER_US), QUESTION_LEN);
    silence.link.has_told = true; /* it came while we stood still for long, and is read before anything is judged */
    cr_assert_eq(turn(&silence, 100 * ANSWER_US), -1);
    cr_assert_not(broker_link_silence_changed(&silence.link, "test", 100 * ANSWER_US));
    silence_end(&silence);
}

Test(broker_link, who_is_excused_is_not_asked)
{
    struct silence silence = silence_begin();
    for (int64_t now_us = 0; now_us < 10 * ASK_AFTER_US; now_us += ASK_AFTER_US) {
        broker_link_excuse(&silence.link, now_us);
        cr_assert_eq(turn(&silence, now_us), -1);
        cr_assert_not(broker_link_silence_changed(&silence.link, "test", now_us));
    }
    silence_end(&silence);
}

/* To log in, declare and consume may take longer than the broker may be silent; nothing is read from the loop then. */
Test(broker_link, silence_while_a_connection_was_set_up_does_not_count)
{
    struct silence silence = silence_begin();
    silence.link.heartbeat_us = 10 * ASK_AFTER_US;
    const int64_t set_up_us = 100 * ASK_AFTER_US;
    silence.link.spoke_at_us = set_up_us;
    broker_link_listen_from(&silence.link, set_up_us);
    cr_assert_eq(turn(&silence, set_up_us), -1, "asked at once");
    cr_assert_eq(turn(&silence, set_up_us + ASK_AFTER_US - 1), -1, "asked too early");
    const int64_t given_up_us = set_up_us + 2 * silence.link.heartbeat_us;
    cr_assert_neq(broker_link_service(&silence.link, given_up_us), STATUS_LOST);
    cr_assert_eq(broker_link_service(&silence.link, given_up_us + 1), STATUS_LOST);
    silence_end(&silence);
}

Test(broker_link, closed_has_nothing_due)
{
    struct broker_link link;
    broker_link_init(&link);
    cr_assert_eq(broker_link_due_us(&link), INT64_MAX);
    broker_link_finish(&link);
}
