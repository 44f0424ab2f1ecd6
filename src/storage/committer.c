/*
 * committer: owns the writing connection. In: COMMIT and LOOKUP of every shard, one of each outstanding a shard. Out:
 * the same messages, answered, each exactly once.
 *
 * Invariants: a request stays in its slot until it is answered; COMMIT_DONE is said only of what the server said is
 * durable. Look-ups go before the group: they are quick, and shards wait for them to build the next one.
 */
#include "committer_state.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "check.h"
#include "clock.h"
#include "log.h"

enum {
    RECEIVE_BATCH = 64,
    LATE_ANSWER_US = 20000, /* a request with a blocked row: its shard would come back with it at once */
};

static bool has_work(const struct committer *committer)
{
    for (size_t i = 0; i < committer->shard_count; i++) {
        const struct committer_slot *slot = &committer->slots[i];
        if (slot->lookup != NULL || (slot->commit != NULL && !slot->is_finished))
            return true;
    }
    return false;
}

/* Stopping, with nothing left to do or no time left. Asked again and again while an answer is waited for. */
static bool wants_to_give_up(void *context)
{
    struct committer *committer = context;
    committer_look_at_silence(committer);
    if (!atomic_load(&committer->stopping))
        return false;
    return !has_work(committer) || clock_steady_us() >= atomic_load(&committer->stop_deadline_us);
}

/* ---- in ---- */

static void accept_message(struct committer *committer, struct message *message)
{
    if (message->type == MESSAGE_COMMIT) {
        struct commit_request *request = (struct commit_request *)(void *)message;
        pm_assert(request->shard < committer->shard_count && committer->slots[request->shard].commit == NULL);
        committer->slots[request->shard].commit = request;
        committer->slots[request->shard].moment_us = request->moment_us;
        return;
    }
    pm_assert(message->type == MESSAGE_LOOKUP);
    struct lookup_request *request = (struct lookup_request *)(void *)message;
    pm_assert(request->shard < committer->shard_count && committer->slots[request->shard].lookup == NULL);
    committer->slots[request->shard].lookup = request;
}

static void receive_waiting(struct committer *committer)
{
    struct message *batch[RECEIVE_BATCH];
    size_t count;
    while ((count = mailbox_receive(committer->mailbox, batch, RECEIVE_BATCH)) > 0) {
        for (size_t i = 0; i < count; i++)
            accept_message(committer, batch[i]);
    }
}

/* ---- out ---- */

static void answer(struct committer *committer, size_t shard, struct message *message)
{
    const struct outlet *to = &committer->answers[shard];
    mailbox_send_reserved(to->mailbox, to->lane, &message);
}

static void answer_commit(struct committer *committer, size_t shard)
{
    struct committer_slot *slot = &committer->slots[shard];
    struct commit_request *request = slot->commit;
    slot->commit = NULL;
    slot->is_finished = false;
    answer(committer, shard, &request->head);
}

static void answer_lookup(struct committer *committer, size_t shard)
{
    struct lookup_request *request = committer->slots[shard].lookup;
    committer->slots[shard].lookup = NULL;
    answer(committer, shard, &request->head);
}

/* Sends the answers that were held back long enough. Returns when the next one is due, or INT64_MAX. */
static int64_t send_late_answers(struct committer *committer)
{
    const int64_t now_us = clock_steady_us();
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < committer->shard_count; i++) {
        const struct committer_slot *slot = &committer->slots[i];
        if (!slot->is_finished)
            continue;
        if (slot->answer_at_us <= now_us || atomic_load(&committer->stopping))
            answer_commit(committer, i);
        else if (slot->answer_at_us < next_us)
            next_us = slot->answer_at_us;
    }
    return next_us;
}

/* ---- lookups and the group ---- */

static void serve_lookups(struct committer *committer)
{
    committer->asked.count = 0;
    bool any = false;
    for (size_t i = 0; i < committer->shard_count; i++) {
        const struct lookup_request *request = committer->slots[i].lookup;
        if (request == NULL)
            continue;
        any = true;
        for (struct delivery *delivery = request->deliveries; delivery != NULL; delivery = delivery_next(delivery))
            asked_list_add(&committer->asked, delivery, NULL);
    }
    if (!any || (committer->asked.count > 0 && committer_ask(committer) != STATUS_OK))
        return;
    for (size_t i = 0; i < committer->shard_count; i++) {
        if (committer->slots[i].lookup == NULL)
            continue;
        /* What the look-up saw may hold this commit already: the shard has to hear of the commit first. */
        if (committer->slots[i].is_finished)
            answer_commit(committer, i);
        answer_lookup(committer, i);
    }
}

static bool has_held_item(const struct committer *committer, const struct commit_request *request)
{
    const struct commit_item *begin = request->items, *end = request->items + request->count;
    for (size_t i = 0; i < committer->member_count; i++) {
        const struct group_member *member = &committer->members[i];
        if (member->state == MEMBER_HELD && member->item >= begin && member->item < end)
            return true;
    }
    return false;
}

static void collect_group(struct committer *committer)
{
    committer->member_count = 0;
    for (size_t i = 0; i < committer->shard_count; i++) {
        struct commit_request *request = committer->slots[i].commit;
        if (request == NULL || committer->slots[i].is_finished)
            continue;
        pm_assert(request->count <= COMMIT_ITEMS_MAX);
        for (size_t item = 0; item < request->count; item++)
            committer->members[committer->member_count++] =
                (struct group_member){.item = &request->items[item], .state = MEMBER_TODO};
    }
}

/* Whether a busy shard's request of a new moment is here, and another busy shard has sent none of this moment yet. */
static bool lacks_another(const struct committer *committer)
{
    int64_t moment_us = 0;
    for (size_t i = 0; i < committer->shard_count; i++) {
        const struct committer_slot *slot = &committer->slots[i];
        if (slot->commit != NULL && !slot->is_finished && slot->moment_us > moment_us)
            moment_us = slot->moment_us;
    }
    for (size_t i = 0; i < committer->shard_count; i++) {
        const struct committer_slot *slot = &committer->slots[i];
        if (slot->commit == NULL && slot->moment_us != 0 && slot->moment_us < moment_us)
            return true;
    }
    return false;
}

/*
 * Busy shards send at common moments (shard_commit.c), so that they can share a transaction. Whether the group waits
 * for another's request; one that did not come in time is waited for again only when it has come once.
 */
static bool waits_for_others(struct committer *committer)
{
    if (!lacks_another(committer)) {
        committer->others_until_us = 0;
        return false;
    }
    const int64_t now_us = clock_steady_us();
    if (committer->others_until_us == 0)
        committer->others_until_us = now_us + committer->others_wait_us;
    if (now_us < committer->others_until_us && !atomic_load(&committer->stopping))
        return true;
    committer->others_until_us = 0;
    for (size_t i = 0; i < committer->shard_count; i++)
        if (committer->slots[i].commit == NULL)
            committer->slots[i].moment_us = 0;
    return false;
}

static void commit_group(struct committer *committer)
{
    collect_group(committer);
    if (committer->member_count > 0)
        committer_run_group(committer);
    for (size_t i = 0; i < committer->shard_count; i++) {
        struct committer_slot *slot = &committer->slots[i];
        if (slot->commit == NULL || slot->is_finished)
            continue;
        slot->is_finished = true;
        slot->answer_at_us = has_held_item(committer, slot->commit) ? clock_steady_us() + LATE_ANSWER_US : INT64_MIN;
    }
}

/* ---- waiting ---- */

/* An idle connection that becomes readable has been closed by the server, or is about to tell why. */
static void look_at_connection(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    if (PQconsumeInput(connection->conn) == 1 && PQstatus(connection->conn) == CONNECTION_OK)
        return;
    committer_drop_connection(committer, "closed by the server");
}

static int milliseconds_until(int64_t due_us)
{
    if (due_us == INT64_MAX)
        return -1;
    const int64_t left_us = due_us - clock_steady_us();
    return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

static void wait_for_something(struct committer *committer, int64_t due_us)
{
    const bool open = pg_is_open(&committer->connection);
    if (mailbox_prepare_wait(committer->mailbox, 0) && !atomic_load(&committer->stopping)) {
        struct pollfd descriptors[2] = {
            {.fd = mailbox_fd(committer->mailbox), .events = POLLIN},
            {.fd = open ? PQsocket(committer->connection.conn) : -1, .events = POLLIN},
        };
        if (poll(descriptors, 2, milliseconds_until(due_us)) > 0 && descriptors[1].revents != 0)
            look_at_connection(committer);
    }
    mailbox_finish_wait(committer->mailbox);
}

/* Connects ahead of need; until that works, its back-off is the pace of the loop. */
static void keep_connected(struct committer *committer)
{
    if (!pg_is_open(&committer->connection) && committer_connect(committer) == STATUS_UNAVAILABLE)
        (void)!committer_pause(committer);
}

/* ---- the thread ---- */

static void answer_rest(struct committer *committer)
{
    receive_waiting(committer);
    for (size_t i = 0; i < committer->shard_count; i++) {
        struct commit_request *request = committer->slots[i].commit;
        if (committer->slots[i].lookup != NULL)
            answer_lookup(committer, i);
        if (request == NULL)
            continue;
        for (size_t item = 0; !committer->slots[i].is_finished && item < request->count; item++)
            request->items[item].outcome = COMMIT_REDO;
        answer_commit(committer, i);
    }
}

static void *run(void *context)
{
    struct committer *committer = context;
    (void)prctl(PR_SET_NAME, "committer");
    log_register_thread("committer");
    for (;;) {
        /* Read before the mailbox, so that what was sent before the stop is seen. */
        const bool stopping = atomic_load(&committer->stopping);
        receive_waiting(committer);
        if (stopping && wants_to_give_up(committer))
            break;
        if (!stopping)
            keep_connected(committer);
        serve_lookups(committer);
        const bool waits = waits_for_others(committer);
        if (!waits)
            commit_group(committer);
        int64_t due_us = send_late_answers(committer);
        if (!has_work(committer) && pg_is_open(&committer->connection))
            committer_feel_pulse(committer);
        const int64_t look_at_us = waits ? committer->others_until_us : committer->pulse_at_us;
        if (look_at_us < due_us)
            due_us = look_at_us;
        if ((waits || !has_work(committer)) && pg_is_open(&committer->connection))
            wait_for_something(committer, due_us);
    }
    answer_rest(committer);
    committer_end_session(committer);
    return NULL;
}

/* ---- lifecycle ---- */

struct committer *committer_create(const struct storage_settings *settings, struct board *board,
                                   struct mailbox *mailbox, const struct outlet *answers, size_t shard_count,
                                   int64_t others_wait_us)
{
    struct committer *committer = calloc(1, sizeof *committer);
    pm_assert(committer != NULL);
    committer->board = board;
    committer->mailbox = mailbox;
    committer->shard_count = shard_count;
    committer->others_wait_us = others_wait_us;
    committer->slots = calloc(shard_count, sizeof committer->slots[0]);
    committer->members = calloc(shard_count * COMMIT_ITEMS_MAX, sizeof committer->members[0]);
    struct outlet *copies = calloc(shard_count, sizeof *copies);
    pm_assert(committer->slots != NULL && committer->members != NULL && copies != NULL);
    for (size_t i = 0; i < shard_count; i++)
        copies[i] = answers[i];
    committer->answers = copies;
    pg_init(&committer->connection, settings, wants_to_give_up, committer);
    backoff_init(&committer->backoff, (uint64_t)clock_wall_us());
    return committer;
}

static void free_arrays(struct binary_array *arrays, size_t count)
{
    for (size_t i = 0; i < count; i++)
        binary_array_free(&arrays[i]);
}

void committer_destroy(struct committer *committer)
{
    if (committer == NULL)
        return;
    pm_assert(!committer->started);
    free_arrays(committer->journal, JOURNAL_PARAM_COUNT);
    free_arrays(committer->orders, ORDER_PARAM_COUNT);
    order_sums_free(&committer->order_sums);
    free_arrays(&committer->find_identities, 1);
    free_arrays(committer->find_orders, FIND_ORDER_PARAM_COUNT);
    free_arrays(committer->find_rows, FIND_ROW_PARAM_COUNT);
    position_params_free(&committer->updates);
    position_params_free(&committer->inserts);
    position_sql_close(&committer->sql);
    free(committer->asked.entries);
    free((void *)(uintptr_t)committer->answers);
    free(committer->slots);
    free(committer->members);
    free(committer);
}

enum status committer_start(struct committer *committer)
{
    pm_assert(!committer->started);
    if (pthread_create(&committer->thread, NULL, run, committer) != 0)
        return STATUS_UNAVAILABLE;
    committer->started = true;
    return STATUS_OK;
}

void committer_stop(struct committer *committer, int deadline_ms)
{
    if (!committer->started)
        return;
    atomic_store(&committer->stop_deadline_us, clock_steady_us() + (int64_t)deadline_ms * 1000);
    atomic_store(&committer->stopping, true);
    mailbox_wake(committer->mailbox);
    (void)pthread_join(committer->thread, NULL);
    committer->started = false;
}
