#define _GNU_SOURCE /* pthread_setname_np */

#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "notify.h"

enum { LATE_PERIODS = 3 }; /* a look that comes later than that was held up with everything else */

struct watched {
    const char *name;
    const struct actor_thread *thread;
    struct mailbox *mailbox;
    uint64_t turns;
    int64_t turned_at_us; /* when it was seen to have gone round */
};

struct watch {
    struct board *board;
    pthread_t thread;
    int wake_fd;
    int period_ms;
    /* Guards all below: the main thread moves the stage on, the watch looks. */
    pthread_mutex_t lock;
    bool is_ending;
    enum notify_stage stage;
    struct watched actors[WATCHED_ACTORS_MAX];
    size_t actor_count;
    watch_oldest_turn_fn *oldest_turn;
    void *oldest_turn_context;
    /* The thread's alone. */
    struct notify notify;
    int64_t looked_at_us;
    int64_t forgiven_until_us; /* what is older was not their fault: the whole process stood still */
    const char *stuck_name;    /* of the thread that the log calls stuck; NULL: none is */
};

/* When this one last went round; wakes it, so that it has to do so until the next look. */
static int64_t look_at(struct watched *actor, int64_t now_us)
{
    uint64_t turns = actor_turns(actor->thread);
    if (turns != actor->turns) {
        actor->turns = turns;
        actor->turned_at_us = now_us;
    }
    mailbox_wake(actor->mailbox);
    return actor->turned_at_us;
}

/* The oldest turn of all, and whose it is. */
static int64_t look(struct watch *watch, int64_t now_us, const char **name)
{
    int64_t oldest_us = watch->oldest_turn == NULL ? now_us : watch->oldest_turn(watch->oldest_turn_context);
    *name = "http";
    for (size_t i = 0; i < watch->actor_count; i++) {
        int64_t turned_at_us = look_at(&watch->actors[i], now_us);
        if (turned_at_us < oldest_us) {
            oldest_us = turned_at_us;
            *name = watch->actors[i].name;
        }
    }
    return oldest_us;
}

/* name: of the thread that is behind most. At the end of serving nobody looks any more, which is no recovery. */
static void tell_log(struct watch *watch, bool is_stuck, const char *name)
{
    if (is_stuck && watch->stuck_name == NULL) {
        watch->stuck_name = name;
        LOG_EVENT(LOG_LEVEL_ERROR, "thread_stuck", NULL, log_text("thread", name));
    } else if (!is_stuck && watch->stuck_name != NULL && watch->stage == NOTIFY_SERVING) {
        LOG_EVENT(LOG_LEVEL_WARNING, "thread_recovered", NULL, log_text("thread", watch->stuck_name));
        watch->stuck_name = NULL;
    }
}

/*
 * A process that was stopped as a whole (SIGSTOP, a machine that slept) must not be taken for one with a stuck thread:
 * the watch was late itself then.
 */
static void forgive_standstill(struct watch *watch, int64_t now_us)
{
    if (now_us - watch->looked_at_us > (int64_t)watch->period_ms * 1000 * LATE_PERIODS)
        watch->forgiven_until_us = now_us;
    watch->looked_at_us = now_us;
}

static void turn(struct watch *watch)
{
    struct board *board = watch->board;
    int64_t now_us = clock_steady_us();
    int64_t oldest_us = now_us;
    const char *name = "";
    forgive_standstill(watch, now_us);
    if (watch->stage == NOTIFY_SERVING)
        oldest_us = look(watch, now_us, &name);
    if (oldest_us < watch->forgiven_until_us)
        oldest_us = watch->forgiven_until_us;
    atomic_store(&board->progress_at_us, oldest_us);
    struct notify_facts facts = {
        .stage = watch->stage,
        .is_live = now_us - oldest_us < BOARD_LIVE_WITHIN_US,
        .database_connected = atomic_load(&board->database_connected),
        .queue_connected = board_queue_is_connected(board),
    };
    tell_log(watch, !facts.is_live, name);
    (void)notify_tell(&watch->notify, &facts);
}

static void *run(void *context)
{
    struct watch *watch = context;
    struct pollfd waited = {watch->wake_fd, POLLIN, 0};
    log_register_thread("watch");
    for (;;) {
        (void)pthread_mutex_lock(&watch->lock);
        bool is_ending = watch->is_ending;
        if (!is_ending)
            turn(watch);
        (void)pthread_mutex_unlock(&watch->lock);
        if (is_ending)
            return NULL;
        eventfd_t count;
        if (poll(&waited, 1, watch->period_ms) > 0)
            (void)eventfd_read(watch->wake_fd, &count);
    }
}

static void destroy(struct watch *watch)
{
    close(watch->wake_fd);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}

struct watch *watch_start(struct board *board)
{
    struct watch *watch = calloc(1, sizeof *watch);
    pm_assert(watch != NULL);
    watch->board = board;
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pm_assert(watch->wake_fd >= 0);
    watch->period_ms = notify_period_ms(WATCH_PERIOD_MS);
    watch->looked_at_us = clock_steady_us();
    (void)pthread_mutex_init(&watch->lock, NULL);
    notify_init(&watch->notify);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        destroy(watch);
        return NULL;
    }
    (void)pthread_setname_np(watch->thread, "watch");
    return watch;
}

void watch_add_actor(struct watch *watch, const char *name, const struct actor_thread *thread, struct mailbox *mailbox)
{
    (void)pthread_mutex_lock(&watch->lock);
    pm_assert(watch->stage == NOTIFY_STARTING && watch->actor_count < WATCHED_ACTORS_MAX);
    watch->actors[watch->actor_count++] =
        (struct watched){.name = name, .thread = thread, .mailbox = mailbox, .turned_at_us = clock_steady_us()};
    (void)pthread_mutex_unlock(&watch->lock);
}

/* The new stage is told at once, not only at the next look. */
static void enter(struct watch *watch, enum notify_stage stage)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->stage = stage;
    (void)pthread_mutex_unlock(&watch->lock);
    (void)eventfd_write(watch->wake_fd, 1);
}

void watch_serving(struct watch *watch, watch_oldest_turn_fn *oldest_turn, void *context)
{
    (void)pthread_mutex_lock(&watch->lock);
    watch->oldest_turn = oldest_turn;
    watch->oldest_turn_context = context;
    (void)pthread_mutex_unlock(&watch->lock);
    enter(watch, NOTIFY_SERVING);
}

void watch_stopping(struct watch *watch)
{
    enter(watch, NOTIFY_STOPPING);
}

void watch_stop(struct watch *watch)
{
    if (watch == NULL)
        return;
    (void)pthread_mutex_lock(&watch->lock);
    watch->is_ending = true;
    (void)pthread_mutex_unlock(&watch->lock);
    (void)eventfd_write(watch->wake_fd, 1);
    int error = pthread_join(watch->thread, NULL);
    pm_assert(error == 0);
    destroy(watch);
}
