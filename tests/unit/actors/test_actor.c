#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include "actor.h"
#include "clock.h"

enum { CALLS_MAX = 64, NOTES = 1200 };

/* Writes down every call; read by the test after actor_stop(). */
struct recorder {
    size_t calls;
    size_t received;
    size_t largest_batch;
    size_t counts[CALLS_MAX];
    struct actor_time times[CALLS_MAX];
    int64_t wait_us;    /* the next call is wanted after so long; 0: never */
    size_t timed_calls; /* so many times */
    int gather_us;      /* what it says of its hurry */
    char thread_name[17];
    sigset_t blocked;
    struct mailbox *notify; /* gets the first message back; NULL: nobody */
};

static struct message notes[NOTES];

static struct actor_plan recorder_receive(void *actor, struct message **batch, size_t count, struct actor_time now)
{
    struct recorder *self = actor;
    if (self->calls == 0) {
        (void)prctl(PR_GET_NAME, self->thread_name);
        (void)pthread_sigmask(SIG_BLOCK, NULL, &self->blocked);
    }
    if (self->calls < CALLS_MAX) {
        self->counts[self->calls] = count;
        self->times[self->calls] = now;
    }
    self->calls++;
    self->received += count;
    self->largest_batch = count > self->largest_batch ? count : self->largest_batch;
    if (count > 0 && self->notify != NULL)
        mailbox_send_reserved(self->notify, 0, &batch[0]);
    return (struct actor_plan){
        .deadline_us = self->calls > self->timed_calls ? ACTOR_NO_DEADLINE : now.steady_us + self->wait_us,
        .gather_us = self->gather_us,
    };
}

static struct mailbox *mailbox_of(uint32_t capacity)
{
    return mailbox_create("tested", &capacity, 1);
}

static void send_notes(struct mailbox *mailbox, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct message *message = &notes[i];
        mailbox_send_reserved(mailbox, 0, &message);
    }
}

static void wait_for_message(struct mailbox *mailbox)
{
    struct message *message;
    while (mailbox_receive(mailbox, &message, 1) == 0)
        mailbox_wait(mailbox, -1);
}

Test(actor, is_called_once_before_anything_came)
{
    struct recorder recorder = {.calls = 0};
    struct mailbox *mailbox = mailbox_of(10);
    int64_t wall_us = clock_wall_us();
    int64_t steady_us = clock_steady_us();
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int waits = 0; waits < 60000 && actor_turns(thread) < 1; waits++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* for a call too many */
    actor_stop(thread);
    cr_assert_eq(recorder.calls, 1);
    cr_assert_eq(recorder.counts[0], 0);
    cr_assert(recorder.times[0].wall_us >= wall_us && recorder.times[0].wall_us <= clock_wall_us());
    cr_assert(recorder.times[0].steady_us >= steady_us && recorder.times[0].steady_us <= clock_steady_us());
    mailbox_destroy(mailbox);
}

Test(actor, sleeping_actor_wakes_for_a_message)
{
    struct mailbox *home = mailbox_of(10);
    struct mailbox *mailbox = mailbox_of(10);
    struct recorder recorder = {.notify = home};
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int i = 0; i < 5; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        send_notes(mailbox, 1);
        wait_for_message(home);
    }
    actor_stop(thread);
    cr_assert_eq(recorder.received, 5);
    mailbox_destroy(mailbox);
    mailbox_destroy(home);
}

Test(actor, a_wake_makes_a_sleeping_loop_go_round_without_calling_the_actor)
{
    struct mailbox *mailbox = mailbox_of(10);
    struct recorder recorder = {.calls = 0};
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int i = 0; i < 3; i++) {
        uint64_t turns = actor_turns(thread);
        mailbox_wake(mailbox);
        for (int waits = 0; actor_turns(thread) == turns; waits++) {
            cr_assert_lt(waits, 60000, "wake %d", i);
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    actor_stop(thread);
    cr_assert_eq(recorder.calls, 1);
    mailbox_destroy(mailbox);
}

Test(actor, what_was_sent_before_the_stop_is_received_in_bounded_batches)
{
    struct recorder recorder = {.calls = 0};
    struct mailbox *mailbox = mailbox_of(NOTES);
    send_notes(mailbox, NOTES);
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    actor_stop(thread);
    cr_assert_eq(recorder.received, NOTES);
    cr_assert_eq(recorder.largest_batch, ACTOR_BATCH_MAX);
    mailbox_destroy(mailbox);
}

/* After a crowd it lets the next messages gather, and a deadline is kept all the same. */
Test(actor, what_comes_behind_a_crowd_is_received_and_deadlines_are_kept, .timeout = 300)
{
    enum { ROUNDS = 200, CROWD = 20 };
    struct mailbox *home = mailbox_of(NOTES);
    struct mailbox *mailbox = mailbox_of(NOTES);
    struct recorder recorder = {.notify = home, .wait_us = 100, .timed_calls = SIZE_MAX};
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int i = 0; i < ROUNDS; i++) {
        send_notes(mailbox, CROWD);
        wait_for_message(home);
        send_notes(mailbox, 1);
        wait_for_message(home);
    }
    actor_stop(thread);
    cr_assert_eq(recorder.received, (size_t)ROUNDS * (CROWD + 1));
    struct message *rest;
    while (mailbox_receive(home, &rest, 1) > 0) {
    }
    mailbox_destroy(mailbox);
    mailbox_destroy(home);
}

Test(actor, one_in_no_hurry_lets_even_single_messages_gather)
{
    struct mailbox *home = mailbox_of(10);
    struct mailbox *mailbox = mailbox_of(10);
    struct recorder recorder = {.notify = home, .gather_us = 1000000000};
    send_notes(mailbox, 1);
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    wait_for_message(home);
    send_notes(mailbox, 1);
    (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* it would be called for the first of them */
    send_notes(mailbox, 2);
    mailbox_wake(mailbox);
    wait_for_message(home);
    actor_stop(thread);
    cr_assert_eq(recorder.received, 4);
    cr_assert_eq(recorder.largest_batch, 3);
    mailbox_destroy(mailbox);
    mailbox_destroy(home);
}

Test(actor, one_in_no_hurry_keeps_deadlines_and_stops_at_once, .timeout = 60)
{
    struct mailbox *home = mailbox_of(10);
    struct mailbox *mailbox = mailbox_of(10);
    struct recorder recorder = {.notify = home, .wait_us = 1000, .timed_calls = 3, .gather_us = 1000000000};
    send_notes(mailbox, 1);
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int waits = 0; waits < 50000 && actor_turns(thread) < 4; waits++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    actor_stop(thread);
    cr_assert_geq(recorder.calls, 2, "the first deadline was kept");
    cr_assert_eq(recorder.received, 1);
    struct message *rest;
    while (mailbox_receive(home, &rest, 1) > 0) {
    }
    mailbox_destroy(mailbox);
    mailbox_destroy(home);
}

Test(actor, deadline_is_kept_without_a_message_and_never_early)
{
    struct recorder recorder = {.wait_us = 5500, .timed_calls = 4};
    struct mailbox *mailbox = mailbox_of(10);
    struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
    for (int waits = 0; waits < 60000 && actor_turns(thread) < 5; waits++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL); /* for a call too many */
    actor_stop(thread);
    cr_assert_eq(recorder.calls, 5);
    for (size_t i = 1; i < recorder.calls; i++) {
        cr_assert_eq(recorder.counts[i], 0);
        cr_assert_geq(recorder.times[i].steady_us - recorder.times[i - 1].steady_us, 5500, "call %zu", i);
    }
    mailbox_destroy(mailbox);
}

Test(actor, far_or_passed_deadline_does_not_keep_it_from_ending)
{
    static const int64_t waits_us[] = {-1000000, INT64_C(1) << 60, 3600000000};
    for (size_t i = 0; i < sizeof waits_us / sizeof waits_us[0]; i++) {
        struct recorder recorder = {.wait_us = waits_us[i], .timed_calls = SIZE_MAX};
        struct mailbox *mailbox = mailbox_of(10);
        struct actor_thread *thread = actor_start("recorder", &recorder, recorder_receive, mailbox);
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        actor_stop(thread); /* a thread that slept through it would keep the test here until its time is up */
        mailbox_destroy(mailbox);
    }
}

Test(actor, thread_is_named_and_hears_no_signals_but_faults)
{
    struct recorder recorder = {.calls = 0};
    struct mailbox *mailbox = mailbox_of(10);
    sigset_t before;
    sigset_t after;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
    struct actor_thread *thread = actor_start("fifteen-letters", &recorder, recorder_receive, mailbox);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &after);
    send_notes(mailbox, 1);
    actor_stop(thread);
    cr_assert_str_eq(recorder.thread_name, "fifteen-letters");
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        cr_assert(sigismember(&recorder.blocked, signals[i]), "signal %d", signals[i]);
    cr_assert(!sigismember(&recorder.blocked, SIGSEGV));
    for (int number = 1; number < NSIG; number++)
        cr_assert_eq(sigismember(&before, number), sigismember(&after, number), "the caller's mask, %d", number);
    mailbox_destroy(mailbox);
}

Test(actor, name_too_long_is_an_assert, .signal = SIGABRT)
{
    struct recorder recorder = {.calls = 0};
    (void)actor_start("sixteen-letters-", &recorder, recorder_receive, mailbox_of(10));
}

Test(actor, stopping_nobody_is_fine)
{
    actor_stop(NULL);
}
