/*
 * Taking snapshots: the committed view, its row and its announcement in one statement, hence in one transaction.
 */
#include "history_state.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "fail_point.h"
#include "metrics.h"

enum {
    PARAM_ID,
    PARAM_POSITION_ID,
    PARAM_ASSET,
    PARAM_MODE,
    PARAM_DATA,
    PARAM_MESSAGE,
    MARK_WAIT_US = 2000000, /* a snapshot is durable; that its mark takes long must not keep anybody */
};
_Static_assert(PARAM_MESSAGE + 1 == SNAPSHOT_PARAM_COUNT, "one array a column");

static const enum binary_type param_types[SNAPSHOT_PARAM_COUNT] = {
    [PARAM_ID] = BINARY_UUID,   [PARAM_POSITION_ID] = BINARY_UUID, [PARAM_ASSET] = BINARY_TEXT,
    [PARAM_MODE] = BINARY_TEXT, [PARAM_DATA] = BINARY_TEXT,        [PARAM_MESSAGE] = BINARY_TEXT,
};

struct rendered {
    struct snapshot_head head;
    char data[POSITION_JSON_LEN_MAX + 1];
    char message[SNAPSHOT_CREATED_JSON_LEN_MAX + 1];
    size_t data_len;
};

static void render(struct history *history, const struct position *position, const struct position_context *context,
                   const struct snapshot_group *group, struct rendered *out)
{
    out->head = (struct snapshot_head){.id = history->settings.new_uuid(history->settings.new_uuid_context),
                                       .position_id = position->id,
                                       .asset = position->asset,
                                       .mode = (enum position_mode)position->mode,
                                       .created_at_us = group->at_us};
    struct text text;
    text_init(&text, out->data, sizeof out->data - 1);
    encode_position(&text, position, context);
    pm_assert(!text.overflowed);
    out->data_len = text.len;
    out->data[text.len] = '\0';
    text_init(&text, out->message, sizeof out->message - 1);
    encode_snapshot_created(&text, &out->head, position, context, group->trace_id);
    pm_assert(!text.overflowed);
    out->message[text.len] = '\0';
}

static void add_params(struct history *history, const struct rendered *rendered)
{
    struct binary_array *params = history->params;
    binary_array_uuid(&params[PARAM_ID], &rendered->head.id);
    binary_array_uuid(&params[PARAM_POSITION_ID], &rendered->head.position_id);
    binary_array_text(&params[PARAM_ASSET], rendered->head.asset);
    binary_array_text(&params[PARAM_MODE], position_mode_word(rendered->head.mode));
    binary_array_text(&params[PARAM_DATA], rendered->data);
    binary_array_text(&params[PARAM_MESSAGE], rendered->message);
}

static void clear_params(struct history *history)
{
    for (size_t i = 0; i < SNAPSHOT_PARAM_COUNT; i++)
        binary_array_clear(&history->params[i], param_types[i]);
}

/* Before the parameters are filled: while it waits, another snapshot may be taken with them. */
static enum status know_statement(struct history *history, enum history_line line)
{
    if (!history_line_is_open(history, line))
        return STATUS_UNAVAILABLE;
    if (history->insert_sql != NULL)
        return STATUS_OK;
    char *sql = NULL;
    const enum status status =
        history_judge(history, line, "snapshot_table", snapshot_sql_open(&history->lines[line], &sql));
    if (status != STATUS_OK)
        return status;
    free(history->insert_sql);
    history->insert_sql = sql;
    return STATUS_OK;
}

static enum status insert_params(struct history *history, const struct snapshot_group *group, size_t *inserted)
{
    struct pg_param params[SNAPSHOT_PARAM_COUNT + 2];
    char at[TIME_PARAM_LEN];
    for (size_t i = 0; i < SNAPSHOT_PARAM_COUNT; i++)
        params[i] = binary_array_param(&history->params[i]);
    params[SNAPSHOT_PARAM_COUNT] = pg_text(history_time_param(group->at_us, "-infinity", at));
    params[SNAPSHOT_PARAM_COUNT + 1] = pg_text(group->trace_id);
    PGresult *result;
    const enum status status =
        history_query(history, group->line, "snapshot", history->insert_sql, SNAPSHOT_PARAM_COUNT + 2, params, &result);
    if (status != STATUS_OK)
        return status;
    *inserted = pg_affected(result);
    metric_add(METRIC_SNAPSHOTS, *inserted);
    PQclear(result);
    return STATUS_OK;
}

enum status history_insert_snapshots(struct history *history, const struct snapshot_group *group,
                                     const struct position_key *keys, size_t count, size_t *inserted)
{
    struct rendered rendered;
    struct portfolio_totals totals;
    const enum status status = know_statement(history, group->line);
    if (status != STATUS_OK)
        return status;
    clear_params(history);
    directory_begin(history->reader);
    directory_totals(history->reader, &totals);
    const struct position_context context = {
        .total_exposure = totals.exposure, .now_us = clock_wall_us(), .staleness_us = history->settings.staleness_us};
    for (size_t i = 0; i < count; i++) {
        const struct position *position =
            directory_find(history->reader, keys[i].asset, (enum position_mode)keys[i].mode);
        pm_assert(position != NULL);
        render(history, position, &context, group, &rendered);
        add_params(history, &rendered);
    }
    directory_end(history->reader);
    return insert_params(history, group, inserted);
}

static void answer_snapshot(struct history_request *request, const struct rendered *rendered)
{
    const size_t capacity = rendered->data_len + SNAPSHOT_HEAD_JSON_LEN_MAX;
    struct text text;
    request->body = malloc(capacity);
    pm_assert(request->body != NULL);
    text_init(&text, request->body, capacity);
    encode_snapshot(&text, &rendered->head, rendered->data, rendered->data_len);
    pm_assert(!text.overflowed);
    request->body_len = text.len;
}

/* The answer waits for the mark, so that who asks for the position next sees it. */
static void mark_and_answer(struct history *history, struct history_request *request, const struct position_key *key,
                            int64_t at_us)
{
    struct wish *wish = atomic_load(&history->settings.board->stopping)
                            ? NULL
                            : history_wish_get(history, key, DELIVERY_SNAPSHOT_MARK, request->trace_id);
    if (wish == NULL) {
        history_answer(request, STATUS_OK, request->body, request->body_len);
        return;
    }
    wish->delivery.said.snapshot_mark.at_us = at_us;
    wish->delivery.said.snapshot_mark.mode = key->mode;
    history_wish_send(history, wish, request, MARK_WAIT_US);
}

void history_take(struct history *history, struct history_request *request)
{
    const struct snapshot_group group = {.line = LINE_QUICK, .at_us = clock_wall_us(), .trace_id = request->trace_id};
    struct position_key key = {.mode = request->mode};
    memcpy(key.asset, request->asset, sizeof key.asset);
    struct position position;
    struct position_context context;
    struct rendered rendered;
    size_t inserted = 0;
    enum status status = know_statement(history, LINE_QUICK);
    if (status == STATUS_OK)
        status = history_find(history, &key, &position, &context);
    if (status == STATUS_OK) {
        render(history, &position, &context, &group, &rendered);
        clear_params(history);
        add_params(history, &rendered);
        status = insert_params(history, &group, &inserted);
    }
    if (status == STATUS_OK && inserted == 0)
        status = STATUS_NOT_FOUND; /* somebody has deleted its row */
    if (status != STATUS_OK) {
        history_answer(request, status == STATUS_NOT_FOUND ? STATUS_NOT_FOUND : STATUS_UNAVAILABLE, NULL, 0);
        return;
    }
    FAIL_POINT(FAIL_POINT_SNAPSHOT_TAKEN, PQsocket(history->lines[LINE_QUICK].conn));
    history_outbox_filled(history);
    answer_snapshot(request, &rendered);
    mark_and_answer(history, request, &key, group.at_us);
}
