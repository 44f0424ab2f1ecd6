/*
 * Reading snapshots, along the index (position_id, created_at desc).
 */
#include "history_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { LIST_PARAM_COUNT = 5, AT_PARAM_COUNT = 2, ROW_ID = 0, ROW_AT = 1, ROW_DATA = 2, COUNT_LEN_MAX = 64 };

/*
 * Bounds are compared in the column's own type, whichever it is, so that the index serves. Of "= 'object'" the planner
 * would think that few rows pass, and rather read and sort all of the position's than walk along the index to the
 * limit.
 */
#define IS_OURS                                                                                                        \
    "snapshot_data IS NOT NULL AND jsonb_typeof(snapshot_data::jsonb) NOT IN ('array', 'string', 'number', "           \
    "'boolean', 'null')"
#define COLUMNS "id::text, (extract(epoch FROM created_at) * 1000000)::bigint::text, snapshot_data::text"

/* Only what is shown is made text of: of a page far behind, most rows are read to be skipped. */
static const char list_sql[] = "SELECT " COLUMNS " FROM (SELECT * FROM position_snapshots WHERE position_id = $1 "
                               "AND created_at >= $2 AND created_at <= $3 AND " IS_OURS
                               " ORDER BY created_at DESC, id LIMIT $4::bigint OFFSET $5::bigint) AS page "
                               "ORDER BY page.created_at DESC, page.id";

/* Sorting by both at once would read some thirty rows to tell the first one. */
static const char at_sql[] = "SELECT " COLUMNS " FROM (SELECT * FROM position_snapshots WHERE position_id = $1 "
                             "AND created_at <= $2 AND " IS_OURS
                             " ORDER BY created_at DESC FETCH FIRST ROW WITH TIES) AS newest ORDER BY id LIMIT 1";

/* The rows that a request asks for. */
static enum status find_list(struct history *history, const struct history_request *request, const char *position_id,
                             PGresult **out)
{
    char from[TIME_PARAM_LEN], to[TIME_PARAM_LEN], limit[16], offset[16];
    snprintf(limit, sizeof limit, "%u", (unsigned)request->limit);
    snprintf(offset, sizeof offset, "%u", (unsigned)request->offset);
    const struct pg_param params[LIST_PARAM_COUNT] = {
        pg_text(position_id), pg_text(history_time_param(request->from_us, "-infinity", from)),
        pg_text(history_time_param(request->to_us, "infinity", to)), pg_text(limit), pg_text(offset)};
    return history_query(history, LINE_QUICK, "list", list_sql, LIST_PARAM_COUNT, params, out);
}

static enum status find_newest(struct history *history, const struct history_request *request, const char *position_id,
                               PGresult **out)
{
    char at[TIME_PARAM_LEN];
    const struct pg_param params[AT_PARAM_COUNT] = {pg_text(position_id),
                                                    pg_text(history_time_param(request->at_us, "infinity", at))};
    return history_query(history, LINE_QUICK, "list", at_sql, AT_PARAM_COUNT, params, out);
}

static bool encode_row(struct text *text, const PGresult *result, int row, const struct position *position)
{
    struct snapshot_head head = {
        .position_id = position->id, .asset = position->asset, .mode = (enum position_mode)position->mode};
    if (uuid_parse(PQgetvalue(result, row, ROW_ID), (size_t)PQgetlength(result, row, ROW_ID), &head.id) != STATUS_OK)
        return false;
    head.created_at_us = strtoll(PQgetvalue(result, row, ROW_AT), NULL, 10);
    encode_snapshot(text, &head, PQgetvalue(result, row, ROW_DATA), (size_t)PQgetlength(result, row, ROW_DATA));
    return true;
}

static size_t room_for(const PGresult *result)
{
    size_t room = COUNT_LEN_MAX;
    for (int row = 0; row < PQntuples(result); row++)
        room += (size_t)PQgetlength(result, row, ROW_DATA) + SNAPSHOT_HEAD_JSON_LEN_MAX;
    return room;
}

static void text_of_room(struct text *text, size_t room)
{
    char *bytes = malloc(room);
    pm_assert(bytes != NULL);
    text_init(text, bytes, room);
}

/* Returns how many. */
static int64_t encode_list(struct text *text, const PGresult *result, const struct position *position)
{
    int64_t count = 0;
    TEXT_LITERAL(text, "{\"snapshots\":[");
    for (int row = 0; row < PQntuples(result); row++) {
        const struct text before = *text;
        if (count > 0)
            text_char(text, ',');
        if (encode_row(text, result, row, position))
            count++;
        else
            *text = before; /* a row of somebody else's, whose identifier is none */
    }
    TEXT_LITERAL(text, "],\"count\":");
    text_int(text, count);
    text_char(text, '}');
    pm_assert(!text->overflowed);
    return count;
}

/* The newest one itself, and the list of it, so that a reader of either shape is served. Returns how many. */
static int64_t encode_newest(struct text *text, const PGresult *result, const struct position *position)
{
    if (PQntuples(result) == 0 || !encode_row(text, result, 0, position))
        return 0;
    text->len--; /* the object goes on */
    TEXT_LITERAL(text, ",\"snapshots\":[");
    (void)encode_row(text, result, 0, position);
    TEXT_LITERAL(text, "],\"count\":1}");
    pm_assert(!text->overflowed);
    return 1;
}

/* Of the position that the request names, and which that is. */
static enum status read_rows(struct history *history, const struct history_request *request, bool is_newest_only,
                             struct position *position, PGresult **out)
{
    struct position_key key = {.mode = request->mode};
    struct position_context context;
    char id[UUID_TEXT_LEN + 1];
    memcpy(key.asset, request->asset, sizeof key.asset);
    *out = NULL;
    const enum status status = history_find(history, &key, position, &context);
    if (status != STATUS_OK)
        return status;
    uuid_format(&position->id, id);
    id[UUID_TEXT_LEN] = '\0';
    return is_newest_only ? find_newest(history, request, id, out) : find_list(history, request, id, out);
}

static void answer(struct history *history, struct history_request *request, bool is_newest_only)
{
    struct position position;
    PGresult *result;
    if (read_rows(history, request, is_newest_only, &position, &result) != STATUS_OK) {
        history_answer(request, STATUS_UNAVAILABLE, NULL, 0);
        return;
    }
    struct text text;
    text_of_room(&text, 2 * room_for(result));
    const int64_t count =
        is_newest_only ? encode_newest(&text, result, &position) : encode_list(&text, result, &position);
    PQclear(result);
    if (count > 0 || !is_newest_only) {
        history_answer(request, STATUS_OK, text.bytes, text.len);
        return;
    }
    free(text.bytes);
    history_answer(request, STATUS_NOT_FOUND, NULL, 0);
}

void history_list(struct history *history, struct history_request *request)
{
    answer(history, request, false);
}

/* The newest one not after that time. */
void history_at(struct history *history, struct history_request *request)
{
    answer(history, request, true);
}
