/*
 * One message at a time between two threads that wait without a timeout: a wake-up that is lost leaves both asleep, and
 * the test hangs. The sender dawdles for a varying moment, so that sends fall into every step of the other's parking.
 * A third thread wakes both for nothing, and one side uses the split wait with an ignored lane.
 */
#include "mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { ROUNDS = 40000, DAWDLE_MAX = 4000 };

static struct mailbox *ping;
static struct mailbox *pong;
static atomic_bool is_over;

static void dawdle(unsigned *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    for (volatile unsigned i = *seed % DAWDLE_MAX; i > 0; i--) {
    }
}

static struct message *receive_by_wait(struct mailbox *mailbox, int timeout_ms)
{
    struct message *message;
    while (mailbox_receive(mailbox, &message, 1) == 0)
        mailbox_wait(mailbox, timeout_ms);
    return message;
}

/* Lane 1 is full of a message that nobody takes and that must not keep anybody awake. */
static struct message *receive_by_poll(struct mailbox *mailbox)
{
    struct message *message;
    while (mailbox_receive_lane(mailbox, 0, &message, 1) == 0) {
        if (!mailbox_prepare_wait(mailbox, 1U << 1))
            continue;
        struct pollfd wake = {.fd = mailbox_fd(mailbox), .events = POLLIN};
        (void)poll(&wake, 1, -1);
        mailbox_finish_wait(mailbox);
    }
    return message;
}

static void *echo(void *unused)
{
    (void)unused;
    unsigned seed = 7;
    for (int i = 0; i < ROUNDS; i++) {
        struct message *message = receive_by_poll(ping);
        dawdle(&seed);
        mailbox_send_reserved(pong, 0, &message);
    }
    return NULL;
}

static void *disturb(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        mailbox_wake(ping);
        mailbox_wake(pong);
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

int main(void)
{
    uint32_t capacities[] = {1, 1};
    ping = mailbox_create("ping", capacities, 2);
    pong = mailbox_create("pong", capacities, 1);
    struct message stuck = {.type = 2};
    struct message *left_behind = &stuck;
    mailbox_send_reserved(ping, 1, &left_behind);

    pthread_t echo_thread;
    pthread_t disturb_thread;
    pm_assert(pthread_create(&echo_thread, NULL, echo, NULL) == 0);
    pm_assert(pthread_create(&disturb_thread, NULL, disturb, NULL) == 0);
    struct message ball = {.type = 1};
    unsigned seed = 11;
    for (int i = 0; i < ROUNDS; i++) {
        struct message *message = &ball;
        message->next = NULL;
        mailbox_send_reserved(ping, 0, &message);
        dawdle(&seed);
        message = receive_by_wait(pong, i % 3 - 1); /* for ever, not at all, a millisecond */
        pm_assert(message == &ball);
    }
    atomic_store(&is_over, true);
    pm_assert(pthread_join(echo_thread, NULL) == 0);
    pm_assert(pthread_join(disturb_thread, NULL) == 0);
    pm_assert(mailbox_receive(ping, &left_behind, 1) == 1 && left_behind == &stuck);
    mailbox_destroy(ping);
    mailbox_destroy(pong);
    return 0;
}
