#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"
#include "mailbox.h"
#include "metrics.h"

enum { NOTES = 64 };

static struct message notes[NOTES];

static struct mailbox *mailbox_of(uint32_t first, uint32_t second)
{
    uint32_t capacities[] = {first, second};
    return mailbox_create("tested", capacities, second == 0 ? 1 : 2);
}

/* Sends notes[from] to notes[from + count - 1], which say their own index. */
static void send_notes(struct mailbox *mailbox, size_t lane, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        notes[i].type = i;
        struct message *message = &notes[i];
        mailbox_send_reserved(mailbox, lane, &message);
        cr_assert_null(message);
    }
}

static void expect_notes(struct message **batch, size_t count, const uint32_t *wanted)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(batch[i]->type, wanted[i], "place %zu: %u", i, batch[i]->type);
}

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

Test(mailbox, messages_of_a_lane_come_in_order)
{
    struct mailbox *mailbox = mailbox_of(10, 0);
    struct message *batch[NOTES];
    send_notes(mailbox, 0, 0, 5);
    cr_assert_eq(mailbox_depth(mailbox, 0), 5);
    cr_assert_eq(mailbox_receive(mailbox, batch, 3), 3);
    expect_notes(batch, 3, (uint32_t[]){0, 1, 2});
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 2);
    expect_notes(batch, 2, (uint32_t[]){3, 4});
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 0);
    cr_assert_eq(mailbox_depth(mailbox, 0), 0);
    mailbox_destroy(mailbox);
}

Test(mailbox, lane_holds_at_least_what_was_asked_for)
{
    static const uint32_t rows[][2] = {{1, 3}, {3, 3}, {4, 7}, {7, 7}, {8, 15}, {500, 511}, {1048576, 2097151}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mailbox *mailbox = mailbox_of(rows[i][0], 0);
        size_t held = 0;
        for (;; held++) {
            struct message *message = &notes[0];
            if (mailbox_send(mailbox, 0, &message) != STATUS_OK)
                break;
        }
        cr_assert_eq(held, rows[i][1], "asked for %u: %zu", rows[i][0], held);
        cr_assert_eq(mailbox_capacity(mailbox, 0), held);
        struct message *message;
        while (mailbox_receive(mailbox, &message, 1) == 1) {
        }
        mailbox_destroy(mailbox);
    }
}

Test(mailbox, full_lane_leaves_the_message_with_its_sender)
{
    struct mailbox *mailbox = mailbox_of(3, 3);
    struct message *batch[NOTES];
    send_notes(mailbox, 0, 0, 3);
    struct message *message = &notes[9];
    cr_assert_eq(mailbox_send(mailbox, 0, &message), STATUS_FULL);
    cr_assert_eq(message, &notes[9]);
    cr_assert_eq(metric_value(METRIC_MAILBOX_FULL), 1);
    cr_assert_eq(mailbox_send(mailbox, 1, &message), STATUS_OK, "no lane fills another");
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 4);
    message = &notes[9];
    cr_assert_eq(mailbox_send(mailbox, 0, &message), STATUS_OK, "room again");
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 1);
    mailbox_destroy(mailbox);
}

Test(mailbox, reserved_send_into_a_full_lane_is_an_assert, .signal = SIGABRT)
{
    send_notes(mailbox_of(3, 0), 0, 0, 4);
}

Test(mailbox, lanes_share_a_batch_fairly)
{
    struct mailbox *mailbox = mailbox_of(20, 20);
    struct message *batch[NOTES];
    send_notes(mailbox, 0, 0, 10);
    send_notes(mailbox, 1, 20, 3);
    cr_assert_eq(mailbox_receive(mailbox, batch, 4), 4);
    expect_notes(batch, 4, (uint32_t[]){0, 1, 20, 21});
    cr_assert_eq(mailbox_receive(mailbox, batch, 6), 6, "what one lane does not want the other gets");
    expect_notes(batch, 6, (uint32_t[]){22, 2, 3, 4, 5, 6});
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 3);
    expect_notes(batch, 3, (uint32_t[]){7, 8, 9});
    mailbox_destroy(mailbox);
}

Test(mailbox, no_lane_starves_when_a_batch_is_shorter_than_the_lanes_are_many)
{
    struct mailbox *mailbox = mailbox_of(20, 20);
    struct message *message;
    send_notes(mailbox, 0, 0, 2);
    send_notes(mailbox, 1, 20, 2);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(mailbox_receive(mailbox, &message, 1), 1);
        expect_notes(&message, 1, &(uint32_t[]){0, 20, 1, 21}[i]);
    }
    mailbox_destroy(mailbox);
}

Test(mailbox, one_lane_can_be_taken_alone)
{
    struct mailbox *mailbox = mailbox_of(20, 20);
    struct message *batch[NOTES];
    send_notes(mailbox, 0, 0, 2);
    send_notes(mailbox, 1, 20, 3);
    cr_assert_eq(mailbox_receive_lane(mailbox, 1, batch, 2), 2);
    expect_notes(batch, 2, (uint32_t[]){20, 21});
    cr_assert_eq(mailbox_depth(mailbox, 0), 2);
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 3);
    mailbox_destroy(mailbox);
}

Test(mailbox, receiver_that_is_awake_is_not_written_to)
{
    struct mailbox *mailbox = mailbox_of(20, 0);
    struct message *batch[NOTES];
    send_notes(mailbox, 0, 0, 2);
    cr_assert(!is_readable(mailbox_fd(mailbox)));
    cr_assert(!mailbox_prepare_wait(mailbox, 0), "messages are there already");
    send_notes(mailbox, 0, 2, 1);
    cr_assert(!is_readable(mailbox_fd(mailbox)), "a wait that did not come about leaves no flag behind");
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 3);
    mailbox_destroy(mailbox);
}

Test(mailbox, parked_receiver_is_woken_once)
{
    struct mailbox *mailbox = mailbox_of(20, 0);
    struct message *batch[NOTES];
    cr_assert(mailbox_prepare_wait(mailbox, 0));
    cr_assert(!is_readable(mailbox_fd(mailbox)));
    send_notes(mailbox, 0, 0, 3);
    uint64_t wakes = 0;
    cr_assert_eq(read(mailbox_fd(mailbox), &wakes, sizeof wakes), sizeof wakes);
    cr_assert_eq(wakes, 1);
    mailbox_finish_wait(mailbox);
    send_notes(mailbox, 0, 3, 1);
    cr_assert(!is_readable(mailbox_fd(mailbox)));
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 4);
    mailbox_destroy(mailbox);
}

Test(mailbox, ignored_lane_keeps_nobody_awake)
{
    struct mailbox *mailbox = mailbox_of(20, 20);
    struct message *batch[NOTES];
    send_notes(mailbox, 1, 0, 1);
    cr_assert(mailbox_prepare_wait(mailbox, 1U << 1));
    mailbox_finish_wait(mailbox);
    cr_assert(!mailbox_prepare_wait(mailbox, 1U << 0));
    send_notes(mailbox, 0, 1, 1);
    cr_assert(!mailbox_prepare_wait(mailbox, 1U << 1));
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 2);
    mailbox_destroy(mailbox);
}

Test(mailbox, wait_ends_for_a_message_a_wake_or_the_time)
{
    struct mailbox *mailbox = mailbox_of(20, 0);
    struct message *message;
    send_notes(mailbox, 0, 0, 1);
    mailbox_wait(mailbox, -1);
    cr_assert_eq(mailbox_receive(mailbox, &message, 1), 1);
    mailbox_wake(mailbox);
    mailbox_wait(mailbox, -1);
    int64_t before = clock_steady_us();
    mailbox_wait(mailbox, 30);
    cr_assert_geq(clock_steady_us() - before, 29000, "the wake was used up by the wait before");
    mailbox_destroy(mailbox);
}

static struct mailbox *signalled;

static void on_signal(int number)
{
    (void)number;
    mailbox_wake(signalled);
}

static void *send_one_later(void *mailbox)
{
    (void)poll(NULL, 0, 5);
    send_notes(mailbox, 0, 0, 1);
    return NULL;
}

Test(mailbox, gathering_receiver_is_left_alone_by_senders)
{
    struct mailbox *mailbox = mailbox_of(10, 0);
    struct message *batch[NOTES];
    pthread_t sender;
    cr_assert_eq(pthread_create(&sender, NULL, send_one_later, mailbox), 0);
    const int64_t began_us = clock_steady_us();
    mailbox_gather(mailbox, 50000);
    cr_assert_geq(clock_steady_us() - began_us, 50000);
    cr_assert_eq(pthread_join(sender, NULL), 0);
    cr_assert_not(is_readable(mailbox_fd(mailbox)));
    cr_assert_eq(mailbox_receive(mailbox, batch, NOTES), 1);
    mailbox_destroy(mailbox);
}

Test(mailbox, a_wake_ends_the_gathering, .timeout = 300)
{
    struct mailbox *mailbox = mailbox_of(10, 0);
    mailbox_wake(mailbox);
    mailbox_gather(mailbox, 600000000); /* ten minutes */
    mailbox_destroy(mailbox);
}

Test(mailbox, wake_from_a_signal_handler_leaves_errno_alone)
{
    signalled = mailbox_of(20, 0);
    (void)signal(SIGUSR1, on_signal);
    uint64_t nearly_full = UINT64_MAX - 1; /* the next write would fail with EAGAIN */
    cr_assert_eq(write(mailbox_fd(signalled), &nearly_full, sizeof nearly_full), sizeof nearly_full);
    errno = ENOENT;
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(errno, ENOENT);
    cr_assert(is_readable(mailbox_fd(signalled)));
    mailbox_destroy(signalled);
}

static void *send_late(void *mailbox)
{
    (void)poll(NULL, 0, 20);
    send_notes(mailbox, 0, 0, 1);
    return NULL;
}

Test(mailbox, sleeping_receiver_gets_what_is_sent)
{
    struct mailbox *mailbox = mailbox_of(20, 0);
    struct message *message;
    pthread_t sender;
    cr_assert_eq(pthread_create(&sender, NULL, send_late, mailbox), 0);
    while (mailbox_receive(mailbox, &message, 1) == 0)
        mailbox_wait(mailbox, -1);
    cr_assert_eq(pthread_join(sender, NULL), 0);
    mailbox_destroy(mailbox);
}

Test(mailbox, tells_its_name_and_its_lanes)
{
    struct mailbox *mailbox = mailbox_of(1, 2);
    cr_assert_str_eq(mailbox_name(mailbox), "tested");
    cr_assert_eq(mailbox_lane_count(mailbox), 2);
    mailbox_destroy(mailbox);
    mailbox_destroy(NULL);
}

Test(mailbox, message_left_behind_is_an_assert, .signal = SIGABRT)
{
    struct mailbox *mailbox = mailbox_of(3, 0);
    send_notes(mailbox, 0, 0, 1);
    mailbox_destroy(mailbox);
}

Test(mailbox, lane_that_is_not_there_is_an_assert, .signal = SIGABRT)
{
    send_notes(mailbox_of(3, 0), 1, 0, 1);
}

Test(mailbox, lane_for_nothing_is_an_assert, .signal = SIGABRT)
{
    (void)mailbox_of(0, 0);
}

Test(mailbox, sending_nothing_is_an_assert, .signal = SIGABRT)
{
    struct message *message = NULL;
    mailbox_send_reserved(mailbox_of(3, 0), 0, &message);
}
