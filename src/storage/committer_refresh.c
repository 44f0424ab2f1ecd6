/*
 * What is committed: asked before executions are applied (LOOKUP), to find out who spoilt a transaction, and to tell
 * the shards what they need to redo. All questions go in one segment of the pipeline; answers are matched by ordinal,
 * never by text.
 */
#include "committer_state.h"

#include <stdlib.h>

#include "check.h"
#include "log.h"

enum { ASKED_CAPACITY_MIN = 1024 };

void asked_list_add(struct asked_list *list, struct delivery *delivery, struct group_member *member)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? ASKED_CAPACITY_MIN : list->capacity * 2;
        list->entries = realloc(list->entries, list->capacity * sizeof list->entries[0]);
        pm_assert(list->entries != NULL);
    }
    list->entries[list->count++] = (struct asked){.delivery = delivery, .member = member};
}

/* ---- questions ---- */

static void add_question(struct committer *committer, struct delivery *delivery)
{
    const bool has_order = committer_has_order(delivery);
    binary_array_text(&committer->find_identities, committer_has_identity(delivery) ? delivery->identity : NULL);
    binary_array_text(&committer->find_orders[0], has_order ? delivery->order_key : NULL);
    binary_array_text(&committer->find_orders[1], delivery->asset);
    binary_array_text(&committer->find_orders[2],
                      has_order ? position_mode_word((enum position_mode)delivery->said.execution.mode) : NULL);
    delivery->identity_known = false;
    delivery->known_fingerprint = 0;
    delivery->order_before = ORDER_TOTAL_ZERO;
}

static void collect_questions(struct committer *committer)
{
    binary_array_clear(&committer->find_identities, BINARY_TEXT);
    for (size_t i = 0; i < FIND_ORDER_PARAM_COUNT; i++)
        binary_array_clear(&committer->find_orders[i], BINARY_TEXT);
    for (size_t i = 0; i < committer->asked.count; i++) {
        struct asked *asked = &committer->asked.entries[i];
        add_question(committer, asked->delivery);
        if (asked->member != NULL)
            asked->member->has_known_identity = false;
    }
}

/* Elements stand for members [first, last) one by one; those in another state are NULL and find nothing. */
static void collect_row_questions(struct committer *committer, size_t first, size_t last, enum member_state state)
{
    binary_array_clear(&committer->find_rows[0], BINARY_TEXT);
    binary_array_clear(&committer->find_rows[1], BINARY_TEXT);
    for (size_t i = first; i < last; i++) {
        struct group_member *member = &committer->members[i];
        if (member->state != state) {
            binary_array_null(&committer->find_rows[0]);
            binary_array_null(&committer->find_rows[1]);
            continue;
        }
        binary_array_text(&committer->find_rows[0], member->item->row.asset);
        binary_array_text(&committer->find_rows[1], position_mode_word((enum position_mode)member->item->row.mode));
        member->item->found_exists = false;
        member->row_unusable = false;
        member->row_differs = !member->item->insert; /* until it is found */
    }
}

static enum status send_questions(struct committer *committer, bool with_rows)
{
    struct pg_connection *connection = &committer->connection;
    const struct pg_param identities[] = {binary_array_param(&committer->find_identities)};
    const struct pg_param orders[] = {binary_array_param(&committer->find_orders[0]),
                                      binary_array_param(&committer->find_orders[1]),
                                      binary_array_param(&committer->find_orders[2])};
    enum status status = pg_send(connection, "find_identities", 1, identities);
    if (status == STATUS_OK)
        status = pg_send(connection, "find_orders", FIND_ORDER_PARAM_COUNT, orders);
    if (status == STATUS_OK && with_rows) {
        const struct pg_param rows[] = {binary_array_param(&committer->find_rows[0]),
                                        binary_array_param(&committer->find_rows[1])};
        status = pg_send(connection, "find_rows", FIND_ROW_PARAM_COUNT, rows);
    }
    return status == STATUS_OK ? pg_send_sync(connection) : status;
}

/* ---- answers ---- */

static size_t ordinal_index(const PGresult *result, int row, int column, size_t count)
{
    const size_t index = (size_t)strtoull(PQgetvalue(result, row, column), NULL, 10) - 1;
    pm_assert(index < count);
    return index;
}

static void take_identities(struct committer *committer, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct asked *asked = &committer->asked.entries[ordinal_index(result, row, 0, committer->asked.count)];
        asked->delivery->identity_known = true;
        asked->delivery->known_fingerprint = (uint64_t)strtoll(PQgetvalue(result, row, 1), NULL, 10);
        if (asked->member != NULL)
            asked->member->has_known_identity = true;
    }
}

/* A sum of an order's fills may be beyond what one figure may be: it is read as the integer that it is. */
static enum status read_sum(const PGresult *result, int row, int column, struct decimal *out)
{
    struct wide sum;
    int128 units;
    enum status status = wide_parse_16(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column), &sum);
    if (status == STATUS_OK)
        status = wide_divide_round(sum, DECIMAL_ONE, &units);
    if (status == STATUS_OK)
        *out = decimal_from_units(units);
    return status;
}

static void take_orders(struct committer *committer, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct asked *asked = &committer->asked.entries[ordinal_index(result, row, 0, committer->asked.count)];
        struct order_total total;
        if (read_sum(result, row, 1, &total.filled) == STATUS_OK &&
            read_sum(result, row, 3, &total.fees) == STATUS_OK &&
            wide_parse_16(PQgetvalue(result, row, 2), (size_t)PQgetlength(result, row, 2), &total.notional) ==
                STATUS_OK)
            asked->delivery->order_before = total;
        else /* only somebody's own hand can have written that into this table */
            LOG_EVENT(LOG_LEVEL_ERROR, "order_total_unusable", asked->delivery->trace_id,
                      log_text("order", asked->delivery->order_key));
    }
}

static bool is_as_expected(const struct commit_item *item)
{
    return !item->insert && item->found.version == item->expected_version &&
           uuid_is_equal(&item->found.id, &item->row.id);
}

static void take_rows(struct committer *committer, const PGresult *result, size_t first, size_t last)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct group_member *member =
            &committer->members[first + ordinal_index(result, row, POSITION_ORDINAL, last - first)];
        member->item->found_exists = true;
        member->row_unusable = position_from_row(result, row, &member->item->found) != STATUS_OK;
        member->row_differs = member->row_unusable || !is_as_expected(member->item);
    }
}

static enum status receive_found(struct committer *committer, bool with_rows, size_t first, size_t last)
{
    struct pg_connection *connection = &committer->connection;
    PGresult *identities = NULL, *orders = NULL, *rows = NULL;
    enum status status = pg_receive(connection, &identities);
    if (status == STATUS_OK)
        status = pg_receive(connection, &orders);
    if (status == STATUS_OK && with_rows)
        status = pg_receive(connection, &rows);
    if (status == STATUS_OK)
        status = pg_receive_sync(connection);
    if (status == STATUS_OK) {
        take_identities(committer, identities);
        take_orders(committer, orders);
        if (with_rows)
            take_rows(committer, rows, first, last);
    }
    PQclear(identities);
    PQclear(orders);
    PQclear(rows);
    return status;
}

/* Asks until there is an answer; whatever goes wrong, another connection is tried. */
static enum status ask(struct committer *committer, bool with_rows, size_t first, size_t last, enum member_state state)
{
    for (;;) {
        enum status status = committer_reconnect(committer);
        if (status != STATUS_OK)
            return status;
        collect_questions(committer);
        if (with_rows)
            collect_row_questions(committer, first, last, state);
        status = send_questions(committer, with_rows);
        if (status == STATUS_OK)
            status = receive_found(committer, with_rows, first, last);
        if (status == STATUS_OK)
            break;
        committer_drop_connection(committer, status_word(status));
        if (status == STATUS_STOPPING || committer_back_off(committer) != STATUS_OK)
            return STATUS_STOPPING;
    }
    for (size_t i = 0; i < committer->asked.count; i++)
        committer->asked.entries[i].delivery->looked_up = true;
    committer_reset_back_off(committer);
    return STATUS_OK;
}

enum status committer_ask(struct committer *committer)
{
    return ask(committer, false, 0, 0, MEMBER_TODO);
}

enum status committer_ask_with_rows(struct committer *committer, size_t first, size_t last, enum member_state state)
{
    committer->asked.count = 0;
    for (size_t i = first; i < last; i++) {
        struct group_member *member = &committer->members[i];
        if (member->state != state)
            continue;
        for (struct delivery *delivery = member->item->deliveries; delivery != NULL; delivery = delivery_next(delivery))
            asked_list_add(&committer->asked, delivery, member);
    }
    return ask(committer, true, first, last, state);
}
