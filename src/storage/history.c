/*
 * history: the thread and its mailbox.
 *
 * Invariants: a request is in one queue, or waits at one wish, or has been answered; the database is asked only from
 * here and from the give-up questions of slower connections, never for the same connection twice at once.
 */
#include "history_state.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "check.h"
#include "clock.h"
#include "log.h"

enum {
    RECEIVE_BATCH = 64,
    LOOK_US = 1000000, /* how often the idle connections are looked at */
    KEYS_MIN = 1024,
    CONNECT_GRACE_US = 200000, /* a server that is there has answered by then */
    FIRST_GRACE_US = 5000000,  /* at the start it is known to be there, and everybody begins at once */
};

/* ---- in ---- */

static void enqueue(struct request_queue *queue, struct history_request *request)
{
    request->head.next = NULL;
    if (queue->last == NULL)
        queue->first = request;
    else
        queue->last->head.next = &request->head;
    queue->last = request;
}

static struct history_request *dequeue(struct request_queue *queue)
{
    struct history_request *request = queue->first;
    if (request == NULL)
        return NULL;
    queue->first = (struct history_request *)(void *)request->head.next;
    if (queue->first == NULL)
        queue->last = NULL;
    request->head.next = NULL;
    return request;
}

static void accept_request(struct history *history, struct history_request *request)
{
    enqueue(request->kind == HISTORY_VALIDATE ? &history->checks : &history->quick, request);
}

static void accept_wanted(struct history *history, struct validation_wanted *wanted)
{
    struct position_key key = {.mode = wanted->mode};
    memcpy(key.asset, wanted->asset, sizeof key.asset);
    history_want_check(history, &key, wanted->trace_id);
    pm_assert(wanted->shard < history->settings.shard_count);
    const struct outlet *home = &history->shards[wanted->shard];
    struct message *message = &wanted->head;
    mailbox_send_reserved(home->mailbox, home->lane, &message);
}

static void accept_message(struct history *history, struct message *message)
{
    switch ((enum message_type)message->type) {
    case MESSAGE_HISTORY:
        accept_request(history, (struct history_request *)(void *)message);
        return;
    case MESSAGE_VALIDATION_WANTED:
        accept_wanted(history, (struct validation_wanted *)(void *)message);
        return;
    case MESSAGE_DELIVERY:
        history_wish_home(history, (struct wish *)(void *)message);
        return;
    case MESSAGE_SNAPSHOT:
        history_outbox_home(history, (struct snapshot_announcement *)(void *)message);
        return;
    case MESSAGE_DEAD_LETTER:
    case MESSAGE_SETTLED:
    case MESSAGE_COMMIT:
    case MESSAGE_LOOKUP:
    case MESSAGE_ANNOUNCEMENT:
    case MESSAGE_TOTALS:
    case MESSAGE_PORTFOLIO:
        break;
    }
    pm_assert(!"a message of the history's");
}

void history_receive(struct history *history)
{
    struct message *batch[RECEIVE_BATCH];
    size_t count;
    while ((count = mailbox_receive(history->settings.mailbox, batch, RECEIVE_BATCH)) > 0) {
        for (size_t i = 0; i < count; i++)
            accept_message(history, batch[i]);
    }
}

/* ---- out ---- */

void history_answer(struct history_request *request, enum status status, char *body, size_t body_len)
{
    request->status = status;
    request->body = body;
    request->body_len = body_len;
    const struct outlet home = request->home;
    struct message *message = &request->head;
    mailbox_send_reserved(home.mailbox, home.lane, &message);
}

static void refuse_all(struct request_queue *queue)
{
    struct history_request *request;
    while ((request = dequeue(queue)) != NULL)
        history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
}

void history_refuse_waiting(struct history *history)
{
    refuse_all(&history->quick);
    refuse_all(&history->checks);
}

/* ---- what everybody here needs ---- */

enum status history_find(struct history *history, const struct position_key *key, struct position *out,
                         struct position_context *context)
{
    directory_begin(history->reader);
    const struct position *found = directory_find(history->reader, key->asset, (enum position_mode)key->mode);
    if (found != NULL) {
        struct portfolio_totals totals;
        directory_totals(history->reader, &totals);
        *out = *found;
        *context = (struct position_context){.total_exposure = totals.exposure,
                                             .now_us = clock_wall_us(),
                                             .staleness_us = history->settings.staleness_us};
    }
    directory_end(history->reader);
    return found == NULL ? STATUS_NOT_FOUND : STATUS_OK;
}

void history_new_trace(struct history *history, char out[TRACE_ID_LEN_MAX + 1])
{
    const struct uuid uuid = history->settings.new_uuid(history->settings.new_uuid_context);
    uuid_format(&uuid, out);
    out[UUID_TEXT_LEN] = '\0';
}

const char *history_time_param(int64_t wall_us, const char *none, char out[TIME_PARAM_LEN])
{
    if (wall_us == TIME_NONE)
        return none;
    out[time_format(wall_us, out)] = '\0';
    return out;
}

static void add_key(void *context, const struct position *position)
{
    struct walk *walk = context;
    if (walk->count == walk->capacity) {
        walk->capacity = walk->capacity == 0 ? KEYS_MIN : walk->capacity * 2;
        struct position_key *keys = realloc(walk->keys, walk->capacity * sizeof *keys);
        pm_assert(keys != NULL);
        walk->keys = keys;
    }
    struct position_key *key = &walk->keys[walk->count++];
    memcpy(key->asset, position->asset, sizeof key->asset);
    key->mode = position->mode;
}

void walk_begin(struct walk *walk, struct directory_reader *reader)
{
    walk->count = walk->next = 0;
    directory_begin(reader);
    directory_visit(reader, add_key, walk);
    directory_end(reader);
}

void walk_free(struct walk *walk)
{
    free(walk->keys);
    *walk = (struct walk){0};
}

/* ---- requests ---- */

static void serve(struct history *history, struct history_request *request)
{
    struct position_key key = {.mode = request->mode};
    memcpy(key.asset, request->asset, sizeof key.asset);
    struct position position;
    struct position_context context;
    if (history_find(history, &key, &position, &context) != STATUS_OK) {
        history_answer(request, STATUS_NOT_FOUND, NULL, 0);
        return;
    }
    if (!history->connected) {
        history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
        return;
    }
    switch ((enum history_kind)request->kind) {
    case HISTORY_VALIDATE:
        history_check_request(history, request);
        return;
    case HISTORY_SNAPSHOT_TAKE:
        history_take(history, request);
        return;
    case HISTORY_SNAPSHOT_LIST:
        history_list(history, request);
        return;
    case HISTORY_SNAPSHOT_AT:
        history_at(history, request);
        return;
    }
    pm_assert(!"a kind of request");
}

void history_serve_quick(struct history *history)
{
    struct history_request *request;
    while (!atomic_load(&history->stopping) && (request = dequeue(&history->quick)) != NULL)
        serve(history, request);
}

void history_serve_checks(struct history *history)
{
    if (history->is_checking)
        return;
    history->is_checking = true;
    struct history_request *request;
    while (!atomic_load(&history->stopping) && (request = dequeue(&history->checks)) != NULL)
        serve(history, request);
    if (history->connected)
        history_check_wanted(history);
    history->is_checking = false;
}

/* ---- the loop ---- */

static void wait_for_something(struct history *history)
{
    const int64_t now_us = clock_steady_us();
    int64_t until_us = now_us + LOOK_US;
    const int64_t jobs_us = history_jobs_next_us(history);
    const int64_t wishes_us = history_wishes_expire(history, now_us, false);
    if (history->connected && jobs_us < until_us)
        until_us = jobs_us;
    if (wishes_us < until_us)
        until_us = wishes_us;
    if (!history->connected && history->backoff.retry_at_us < until_us)
        until_us = history->backoff.retry_at_us;
    mailbox_wait(history->settings.mailbox, until_us <= now_us ? 0 : (int)((until_us - now_us + 999) / 1000));
}

static void finish(struct history *history)
{
    history_receive(history);
    history_refuse_waiting(history);
    (void)history_wishes_expire(history, clock_steady_us(), true);
    history_job_abandon(history);
    history_close_lines(history);
    directory_reader_unregister(history->reader);
}

static void *run(void *context)
{
    struct history *history = context;
    (void)prctl(PR_SET_NAME, "history");
    log_register_thread("history");
    history->reader = directory_reader_register(history->settings.directory);
    history_jobs_begin(history);
    for (;;) {
        /* Read before the mailbox, so that what was sent before the stop is seen. */
        const bool stopping = atomic_load(&history->stopping);
        history_receive(history);
        if (stopping)
            break;
        history_keep_connected(history);
        history_serve_quick(history);
        history_serve_checks(history);
        history_marks_pump(history);
        bool has_more = false;
        if (history->connected) {
            history_outbox_pump(history);
            has_more = history_jobs_step(history);
        }
        if (history->connected && history->wanted_count > 0)
            has_more = true;
        if (!has_more)
            wait_for_something(history);
    }
    finish(history);
    return NULL;
}

/* ---- lifecycle ---- */

static int64_t grace_us(const struct history *history)
{
    return history->was_connected || history->failures.count > 0 ? CONNECT_GRACE_US : FIRST_GRACE_US;
}

static bool quick_gives_up(void *context)
{
    struct history *history = context;
    if (atomic_load(&history->stopping))
        return true;
    if (history->connecting && clock_steady_us() - history->connecting_since_us > grace_us(history)) {
        history_receive(history);
        history_refuse_waiting(history);
    }
    return false;
}

static bool checks_give_up(void *context)
{
    struct history *history = context;
    if (quick_gives_up(history) || (!history->connecting && !history->connected))
        return true;
    if (!history->connecting) {
        history_receive(history);
        history_serve_quick(history);
    }
    return false;
}

static bool jobs_give_up(void *context)
{
    struct history *history = context;
    if (checks_give_up(history))
        return true;
    if (!history->connecting)
        history_serve_checks(history);
    return false;
}

struct history *history_create(const struct history_settings *settings)
{
    struct history *history = calloc(1, sizeof *history);
    pm_assert(history != NULL);
    history->settings = *settings;
    history->shards = calloc(settings->shard_count, sizeof *history->shards);
    pm_assert(history->shards != NULL);
    for (size_t i = 0; i < settings->shard_count; i++)
        history->shards[i] = settings->shards[i];
    pg_init(&history->lines[LINE_QUICK], settings->storage, quick_gives_up, history);
    pg_init(&history->lines[LINE_CHECKS], settings->storage, checks_give_up, history);
    pg_init(&history->lines[LINE_JOBS], settings->storage, jobs_give_up, history);
    backoff_init(&history->backoff, (uint64_t)clock_wall_us());
    history->job.kind = history->set_aside.kind = JOB_NONE;
    history_wishes_create(history);
    history_outbox_create(history);
    return history;
}

/* What came after the end. Wishes and announcements are parts of the history; the rest is the shards'. */
static void dispose_of_rest(struct history *history)
{
    struct message *message;
    while (mailbox_receive(history->settings.mailbox, &message, 1) == 1) {
        if (message->type == MESSAGE_HISTORY)
            history_answer((struct history_request *)(void *)message, STATUS_UNAVAILABLE, NULL, 0);
    }
}

void history_destroy(struct history *history)
{
    if (history == NULL)
        return;
    pm_assert(!history->started);
    dispose_of_rest(history);
    history_outbox_free(history);
    for (size_t i = 0; i < SNAPSHOT_PARAM_COUNT; i++)
        binary_array_free(&history->params[i]);
    binary_array_free(&history->ids);
    walk_free(&history->marks);
    free(history->insert_sql);
    free(history->wishes);
    free(history->shards);
    free(history);
}

enum status history_start(struct history *history)
{
    pm_assert(!history->started);
    if (pthread_create(&history->thread, NULL, run, history) != 0)
        return STATUS_UNAVAILABLE;
    history->started = true;
    return STATUS_OK;
}

void history_stop(struct history *history)
{
    if (!history->started)
        return;
    atomic_store(&history->stopping, true);
    mailbox_wake(history->settings.mailbox);
    (void)pthread_join(history->thread, NULL);
    history->started = false;
}
