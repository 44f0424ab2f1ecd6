/*
 * What the history wants of shards: marks and corrections, as deliveries of its own, a fixed number of them.
 */
#include "history_state.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"

static void put_wish(struct history *history, struct wish *wish)
{
    wish->request = NULL;
    wish->next = history->free_wishes;
    history->free_wishes = wish;
    history->free_wish_count++;
}

void history_wishes_create(struct history *history)
{
    history->wishes = calloc(HISTORY_WISHES_MAX, sizeof *history->wishes);
    pm_assert(history->wishes != NULL);
    for (size_t i = 0; i < HISTORY_WISHES_MAX; i++)
        put_wish(history, &history->wishes[i]);
}

struct wish *history_wish_get(struct history *history, const struct position_key *key, enum delivery_kind kind,
                              const char *trace_id)
{
    struct wish *wish = history->free_wishes;
    if (wish == NULL)
        return NULL;
    history->free_wishes = wish->next;
    history->free_wish_count--;
    struct delivery *delivery = &wish->delivery;
    *delivery = (struct delivery){.head = {.type = MESSAGE_DELIVERY},
                                  .received_wall_us = clock_wall_us(),
                                  .received_steady_us = clock_steady_us(),
                                  .kind = (uint8_t)kind,
                                  .queue_name = "history"};
    memcpy(delivery->asset, key->asset, sizeof delivery->asset);
    memcpy(delivery->trace_id, trace_id, sizeof delivery->trace_id);
    return wish;
}

void history_wish_send(struct history *history, struct wish *wish, struct history_request *request, int64_t wait_us)
{
    const size_t shard = directory_part_index(history->settings.directory, wish->delivery.asset);
    pm_assert(shard < history->settings.shard_count);
    wish->request = request;
    wish->wait_until_us = clock_steady_us() + wait_us;
    wish->delivery.home = (struct outlet){history->settings.mailbox, history->settings.shard_lane + shard};
    const struct outlet *to = &history->shards[shard];
    struct message *message = &wish->delivery.head;
    mailbox_send_reserved(to->mailbox, to->lane, &message);
}

void history_wish_home(struct history *history, struct wish *wish)
{
    struct history_request *request = wish->request;
    wish->request = NULL;
    if (wish->delivery.kind == DELIVERY_CORRECTION)
        history_fix_home(history, wish, request);
    else if (request != NULL)
        history_answer(request, STATUS_OK, request->body, request->body_len);
    put_wish(history, wish);
}

/* A snapshot is durable already; whether a fix will be is open. */
static void answer_late(struct wish *wish)
{
    struct history_request *request = wish->request;
    wish->request = NULL;
    if (wish->delivery.kind == DELIVERY_CORRECTION)
        history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
    else
        history_answer(request, STATUS_OK, request->body, request->body_len);
}

int64_t history_wishes_expire(struct history *history, int64_t now_us, bool all)
{
    int64_t next_us = INT64_MAX;
    if (history->free_wish_count == HISTORY_WISHES_MAX)
        return next_us;
    for (size_t i = 0; i < HISTORY_WISHES_MAX; i++) {
        struct wish *wish = &history->wishes[i];
        if (wish->request == NULL)
            continue;
        if (all || wish->wait_until_us <= now_us)
            answer_late(wish);
        else if (wish->wait_until_us < next_us)
            next_us = wish->wait_until_us;
    }
    return next_us;
}

/* ---- marks of a periodic snapshot ---- */

void history_marks_begin(struct history *history, struct walk *walk, int64_t at_us, const char *trace_id)
{
    /* Marks of an earlier one that are not out yet are overtaken by these. */
    walk_free(&history->marks);
    history->marks = *walk;
    history->marks.next = 0;
    *walk = (struct walk){0};
    history->marks_at_us = at_us;
    memcpy(history->marks_trace_id, trace_id, sizeof history->marks_trace_id);
}

void history_marks_pump(struct history *history)
{
    struct walk *marks = &history->marks;
    if (marks->count == 0 || atomic_load(&history->settings.board->stopping))
        return;
    while (marks->next < marks->count && history->free_wish_count > WISHES_RESERVED) {
        const struct position_key *key = &marks->keys[marks->next++];
        struct wish *wish = history_wish_get(history, key, DELIVERY_SNAPSHOT_MARK, history->marks_trace_id);
        wish->delivery.said.snapshot_mark.at_us = history->marks_at_us;
        wish->delivery.said.snapshot_mark.mode = key->mode;
        history_wish_send(history, wish, NULL, 0);
    }
    if (marks->next == marks->count)
        walk_free(marks);
}
