#define _GNU_SOURCE /* pthread_setname_np */

#include "actor.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"

enum {
    THREAD_NAME_LEN_MAX = 15,
    CROWD = 4,       /* messages at once; after so many the next ones are let gather */
    GATHER_US = 500, /* how long: at CROWD in that time a wake-up for each would be most of the work */
};

struct actor_thread {
    const char *name;
    void *actor;
    actor_receive_fn *receive;
    struct mailbox *mailbox;
    pthread_t thread;
    atomic_bool stopping;                   /* actor_stop() sets it, the loop looks */
    atomic_uint_fast64_t turns;             /* the loop counts, anyone reads; alone, it orders nothing */
    struct message *batch[ACTOR_BATCH_MAX]; /* the loop's */
};

/* Rounded up, so that the deadline has passed when the wait is over. */
static int timeout_ms(int64_t deadline_us, int64_t now_us)
{
    if (deadline_us == ACTOR_NO_DEADLINE)
        return -1;
    if (deadline_us <= now_us)
        return 0;
    int64_t left_us = deadline_us - now_us;
    return left_us / 1000 < INT_MAX - 1 ? (int)((left_us + 999) / 1000) : INT_MAX;
}

/* For how long the next messages are let gather, without wake-ups: never beyond the deadline. 0: not at all. */
static int gather_us(struct actor_plan plan, size_t count)
{
    int64_t us = plan.gather_us;
    if (us == 0 && count >= CROWD)
        us = GATHER_US;
    if (us == 0 || count == ACTOR_BATCH_MAX)
        return 0;
    const int64_t left_us = plan.deadline_us - clock_steady_us();
    if (left_us < us)
        us = left_us;
    return us > 0 ? (int)us : 0;
}

static void run(struct actor_thread *self)
{
    struct actor_plan plan = {0}; /* passed: the actor is called once before anything has come, to arm its timers */
    for (;;) {
        /* Pairs with the store in actor_stop(). Read before the mailbox, so what was sent before the stop is seen. */
        bool stopping = atomic_load_explicit(&self->stopping, memory_order_acquire);
        size_t count = mailbox_receive(self->mailbox, self->batch, ACTOR_BATCH_MAX);
        struct actor_time now = {.wall_us = clock_wall_us(), .steady_us = clock_steady_us()};
        if (count == 0 && stopping)
            return;
        uint64_t turns = atomic_load_explicit(&self->turns, memory_order_relaxed);
        atomic_store_explicit(&self->turns, turns + 1, memory_order_relaxed);
        if (count > 0 || now.steady_us >= plan.deadline_us) {
            plan = self->receive(self->actor, self->batch, count, now);
            const int us = gather_us(plan, count);
            if (us > 0)
                mailbox_gather(self->mailbox, us);
        } else {
            mailbox_wait(self->mailbox, timeout_ms(plan.deadline_us, now.steady_us));
        }
    }
}

static void *thread_main(void *argument)
{
    struct actor_thread *self = argument;
    (void)pthread_setname_np(pthread_self(), self->name);
    log_register_thread(self->name);
    run(self);
    return NULL;
}

/* Signals are for the main thread. Those that tell of a fault stay open: blocked, they would kill without a report. */
static void fill_with_blockable_signals(sigset_t *set)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    (void)sigfillset(set);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        (void)sigdelset(set, faults[i]);
}

struct actor_thread *actor_start(const char *name, void *actor, actor_receive_fn *receive, struct mailbox *mailbox)
{
    pm_assert(strlen(name) <= THREAD_NAME_LEN_MAX);
    struct actor_thread *self = malloc(sizeof *self);
    if (self == NULL)
        return NULL;
    self->name = name;
    self->actor = actor;
    self->receive = receive;
    self->mailbox = mailbox;
    atomic_init(&self->stopping, false);
    atomic_init(&self->turns, 0);

    /* A thread inherits the mask: blocking around its creation leaves no moment in which a signal could reach it. */
    sigset_t blocked;
    sigset_t before;
    fill_with_blockable_signals(&blocked);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int error = pthread_create(&self->thread, NULL, thread_main, self);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(self);
        return NULL;
    }
    return self;
}

uint64_t actor_turns(const struct actor_thread *thread)
{
    return atomic_load_explicit(&thread->turns, memory_order_relaxed);
}

void actor_stop(struct actor_thread *thread)
{
    if (thread == NULL)
        return;
    /* Pairs with the load in run(). The wake after it keeps the loop from sleeping over it. */
    atomic_store_explicit(&thread->stopping, true, memory_order_release);
    mailbox_wake(thread->mailbox);
    int error = pthread_join(thread->thread, NULL);
    pm_assert(error == 0);
    free(thread);
}
