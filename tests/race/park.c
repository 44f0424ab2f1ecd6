/*
 * Sends that fall into every step of the receiver's parking, while nobody else would wake it: a wake-up that is lost
 * leaves it asleep, and the test hangs.
 *
 * First a sender that waits, spinning, until its last message was taken and sends the next a varying few nanoseconds
 * later, just when the receiver is about to park. Then one message between two threads that both sleep, one of them by
 * the split wait with an ignored lane. Then the same again with a third thread that wakes both for nothing.
 */
#include "mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

enum { CLOSE_ROUNDS = 150000, ROUNDS = 10000, CLOSE_DAWDLE_MAX = 300, DAWDLE_MAX = 4000, SPINS_MAX = 200000 };

static struct mailbox *ping;
static struct mailbox *pong;
static atomic_bool is_over;
static atomic_int taken; /* rounds of the close race */

static void dawdle(unsigned *seed, unsigned max)
{
    *seed = *seed * 1664525 + 1013904223;
    for (volatile unsigned i = (*seed >> 8) % max; i > 0; i--) {
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
        dawdle(&seed, DAWDLE_MAX);
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

static void *send_closely(void *unused)
{
    (void)unused;
    struct message ball = {.type = 1};
    unsigned seed = 3;
    for (int i = 0; i < CLOSE_ROUNDS; i++) {
        for (int spins = 0; atomic_load_explicit(&taken, memory_order_acquire) < i; spins++) {
            if (spins > SPINS_MAX)
                (void)sched_yield();
        }
        dawdle(&seed, CLOSE_DAWDLE_MAX);
        struct message *message = &ball;
        mailbox_send_reserved(ping, 0, &message);
    }
    while (atomic_load_explicit(&taken, memory_order_acquire) < CLOSE_ROUNDS) /* the ball is on our stack */
        (void)sched_yield();
    return NULL;
}

static void close_race(void)
{
    pthread_t sender;
    pm_assert(pthread_create(&sender, NULL, send_closely, NULL) == 0);
    unsigned seed = 13;
    for (int i = 1; i <= CLOSE_ROUNDS; i++) {
        (void)receive_by_wait(ping, -1);
        atomic_store_explicit(&taken, i, memory_order_release);
        dawdle(&seed, CLOSE_DAWDLE_MAX); /* the sender hears of it only some hundred cycles later */
    }
    pm_assert(pthread_join(sender, NULL) == 0);
}

static void ping_pong(bool with_timeouts)
{
    pthread_t echo_thread;
    pm_assert(pthread_create(&echo_thread, NULL, echo, NULL) == 0);
    struct message ball = {.type = 1};
    unsigned seed = 11;
    for (int i = 0; i < ROUNDS; i++) {
        struct message *message = &ball;
        message->next = NULL;
        mailbox_send_reserved(ping, 0, &message);
        dawdle(&seed, DAWDLE_MAX);
        message = receive_by_wait(pong, with_timeouts ? i % 3 - 1 : -1); /* for ever, not at all, a millisecond */
        pm_assert(message == &ball);
    }
    pm_assert(pthread_join(echo_thread, NULL) == 0);
}

int main(void)
{
    uint32_t capacities[] = {1, 1};
    ping = mailbox_create("ping", capacities, 2);
    pong = mailbox_create("pong", capacities, 1);
    close_race();

    struct message stuck = {.type = 2};
    struct message *left_behind = &stuck;
    mailbox_send_reserved(ping, 1, &left_behind);
    ping_pong(false);
    pthread_t disturb_thread;
    pm_assert(pthread_create(&disturb_thread, NULL, disturb, NULL) == 0);
    ping_pong(true);
    atomic_store(&is_over, true);
    pm_assert(pthread_join(disturb_thread, NULL) == 0);

    pm_assert(mailbox_receive(ping, &left_behind, 1) == 1 && left_behind == &stuck);
    mailbox_destroy(ping);
    mailbox_destroy(pong);
    return 0;
}
