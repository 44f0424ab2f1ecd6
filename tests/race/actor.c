/*
 * Actors that are started, fed from two threads and stopped at once, over and over: whatever was sent before the stop
 * is received, timers do not keep an actor from ending, and a wake for the stop is never lost (it would hang).
 */
#include "actor.h"

#include <pthread.h>

#include "check.h"

enum { ROUNDS = 400, MESSAGES = 50, SENDERS = 2 };

struct counter {
    size_t received;
    size_t calls;
    int64_t tick_us; /* 0: no timer */
    int gather_us;
};

struct sender {
    struct mailbox *mailbox;
    size_t lane;
    struct message messages[MESSAGES];
};

static struct actor_plan counter_receive(void *actor, struct message **batch, size_t count, struct actor_time now)
{
    struct counter *self = actor;
    self->calls++;
    for (size_t i = 0; i < count; i++)
        batch[i]->type = 0;
    self->received += count;
    return (struct actor_plan){
        .deadline_us = self->tick_us == 0 ? ACTOR_NO_DEADLINE : now.steady_us + self->tick_us,
        .gather_us = self->gather_us,
    };
}

static void *send_all(void *argument)
{
    struct sender *self = argument;
    for (size_t i = 0; i < MESSAGES; i++) {
        self->messages[i].type = 1;
        struct message *message = &self->messages[i];
        mailbox_send_reserved(self->mailbox, self->lane, &message);
    }
    return NULL;
}

static void one_round(int round)
{
    uint32_t capacities[SENDERS] = {MESSAGES, MESSAGES};
    struct mailbox *mailbox = mailbox_create("race", capacities, SENDERS);
    struct counter counter = {.tick_us = round % 3 == 0 ? 0 : round % 100, .gather_us = round % 5 == 0 ? 200 : 0};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct actor_thread *actor = actor_start("counter", &counter, counter_receive, mailbox);
    pm_assert(actor != NULL);
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i].mailbox = mailbox;
        senders[i].lane = i;
        pm_assert(pthread_create(&threads[i], NULL, send_all, &senders[i]) == 0);
    }
    for (size_t i = 0; i < SENDERS; i++)
        pm_assert(pthread_join(threads[i], NULL) == 0);
    actor_stop(actor);
    pm_assert(counter.received == (size_t)SENDERS * MESSAGES);
    for (size_t i = 0; i < MESSAGES; i++)
        pm_assert(senders[0].messages[i].type == 0 && senders[1].messages[i].type == 0);
    mailbox_destroy(mailbox);
}

int main(void)
{
    for (int round = 0; round < ROUNDS; round++)
        one_round(round);
    return 0;
}
