/*
 * Senders with a lane each and one receiver that gives every message back by a mailbox of the sender's, as deliveries
 * and tokens travel. Checks that nothing is lost, doubled or overtaken within a lane, and that contents arrive whole.
 */
#include "mailbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "check.h"

enum { SENDERS = 4, POOL_LEN = 60, ROUNDS = 60000, BATCH_MAX = 32, LANE_CAPACITY = 20 };

struct note {
    struct message head;
    uint64_t sequence;
    uint64_t echo; /* written by the receiver: 3 x sequence */
};

struct sender {
    size_t lane;
    struct mailbox *home;
    struct mailbox *receiver;
    struct note notes[POOL_LEN];
    uint64_t full_count;
};

static struct sender senders[SENDERS];

static size_t take_home(struct sender *self, struct message **free_list)
{
    struct message *batch[BATCH_MAX];
    size_t count = mailbox_receive(self->home, batch, BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        struct note *note = (struct note *)batch[i];
        pm_assert(note->echo == 3 * note->sequence);
        note->head.next = *free_list;
        *free_list = &note->head;
    }
    return count;
}

static void *send_all(void *argument)
{
    struct sender *self = argument;
    struct message *free_list = NULL;
    for (size_t i = 0; i < POOL_LEN; i++) {
        self->notes[i].head.next = free_list;
        free_list = &self->notes[i].head;
    }
    size_t home_count = POOL_LEN;
    for (uint64_t sequence = 1; sequence <= ROUNDS;) {
        home_count += take_home(self, &free_list);
        struct message *message = free_list;
        if (message == NULL) {
            mailbox_wait(self->home, -1);
            continue;
        }
        struct message *rest = message->next;
        ((struct note *)message)->sequence = sequence;
        if (mailbox_send(self->receiver, self->lane, &message) == STATUS_OK) {
            pm_assert(message == NULL);
            free_list = rest;
            home_count--;
            sequence++;
        } else {
            pm_assert(message == free_list); /* still ours */
            self->full_count++;
            mailbox_wait(self->home, -1); /* a full lane empties by something coming home */
        }
    }
    while (home_count < POOL_LEN) {
        mailbox_wait(self->home, -1);
        home_count += take_home(self, &free_list);
    }
    return NULL;
}

static void give_back(struct message *message, size_t lane)
{
    struct note *note = (struct note *)message;
    note->echo = 3 * note->sequence;
    mailbox_send_reserved(senders[lane].home, 0, &message);
    pm_assert(message == NULL);
}

static void receive_all(struct mailbox *mailbox)
{
    uint64_t last[SENDERS] = {0};
    uint64_t left = (uint64_t)SENDERS * ROUNDS;
    while (left > 0) {
        struct message *batch[BATCH_MAX];
        size_t count = mailbox_receive(mailbox, batch, BATCH_MAX);
        if (count == 0)
            mailbox_wait(mailbox, -1);
        else if (count == BATCH_MAX / 2) /* some of the time: what comes meanwhile must not be slept over */
            mailbox_gather(mailbox, 20);
        for (size_t i = 0; i < count; i++) {
            uint32_t lane = batch[i]->type;
            pm_assert(((struct note *)batch[i])->sequence == last[lane] + 1);
            last[lane]++;
            give_back(batch[i], lane);
        }
        left -= count;
    }
}

int main(void)
{
    uint32_t capacities[SENDERS] = {LANE_CAPACITY, LANE_CAPACITY, LANE_CAPACITY, LANE_CAPACITY};
    uint32_t home_capacity = POOL_LEN;
    struct mailbox *mailbox = mailbox_create("race", capacities, SENDERS);
    pthread_t threads[SENDERS];
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i].lane = i;
        senders[i].receiver = mailbox;
        senders[i].home = mailbox_create("home", &home_capacity, 1);
        for (size_t n = 0; n < POOL_LEN; n++)
            senders[i].notes[n].head.type = (uint32_t)i;
    }
    for (size_t i = 0; i < SENDERS; i++)
        pm_assert(pthread_create(&threads[i], NULL, send_all, &senders[i]) == 0);
    receive_all(mailbox);
    for (size_t i = 0; i < SENDERS; i++) {
        pm_assert(pthread_join(threads[i], NULL) == 0);
        mailbox_destroy(senders[i].home);
    }
    mailbox_destroy(mailbox);
    return 0;
}
