/*
 * One transaction in pipeline mode. The statements that can turn out wrong go first, in one flush; only when all of
 * them wrote as many rows as they were given does COMMIT follow. When the connection goes between COMMIT and its
 * answer, the server is asked by transaction id what became of it.
 */
#include "committer_state.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail_point.h"
#include "log.h"
#include "metrics.h"

enum {
    STATUS_PAUSE_US = 50000,
    WORD_SIZE = 24,
    REPEATS_US = 60000000, /* so long after a repeat that no flag told of, others are expected */
};

/* ---- parameters ---- */

static const char *source_word(uint8_t source)
{
    static const char *const words[] = {
        [SOURCE_ORDER_EXECUTION] = "order_execution",
        [SOURCE_WEBSOCKET] = "websocket",
        [SOURCE_VALIDATION] = "validation",
        [SOURCE_PRICE_API] = "price_api",
        [SOURCE_EXTERNAL] = "external",
    };
    return words[source];
}

/* In the order of the statements' parameters (committer_connection.c). */
static const enum binary_type journal_types[JOURNAL_PARAM_COUNT] = {
    BINARY_UUID,    BINARY_TEXT,    BINARY_TEXT,    BINARY_INT4,    BINARY_TEXT,      BINARY_TEXT,    BINARY_INT8,
    BINARY_TEXT,    BINARY_NUMERIC, BINARY_NUMERIC, BINARY_NUMERIC, BINARY_TIMESTAMP, BINARY_NUMERIC, BINARY_NUMERIC,
    BINARY_NUMERIC, BINARY_NUMERIC, BINARY_NUMERIC, BINARY_NUMERIC, BINARY_NUMERIC,   BINARY_NUMERIC};
static const enum binary_type order_types[ORDER_PARAM_COUNT] = {BINARY_TEXT,    BINARY_TEXT,    BINARY_TEXT,
                                                                BINARY_NUMERIC, BINARY_NUMERIC, BINARY_NUMERIC};

/* delivery is NULL for what no delivery caused. */
static void add_note(struct committer *committer, const struct position *row, const struct journal_note *note,
                     const struct delivery *delivery)
{
    struct binary_array *array = committer->journal;
    binary_array_uuid(array++, &row->id);
    binary_array_text(array++, row->asset);
    binary_array_text(array++, position_mode_word((enum position_mode)row->mode));
    binary_array_int(array++, note->version);
    binary_array_text(array++, source_word(note->source));
    const bool identified = delivery != NULL && committer_has_identity(delivery);
    binary_array_text(array++, identified ? delivery->identity : NULL);
    if (identified)
        binary_array_int(array++, (int64_t)delivery->fingerprint);
    else
        binary_array_null(array++);
    binary_array_text(array++, delivery != NULL && committer_has_order(delivery) ? delivery->order_key : NULL);
    binary_array_decimal(array++, note->quantity);
    binary_array_decimal(array++, note->price);
    binary_array_decimal(array++, note->fees);
    binary_array_time(array++, note->at_us);
    const struct decimal after[] = {note->size,           note->average_entry_price, note->realized_pnl,
                                    note->fees_paid,      note->long_size,           note->short_size,
                                    note->long_avg_price, note->short_avg_price};
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
        binary_array_decimal(array++, after[i]);
}

static void add_orders(struct committer *committer)
{
    for (size_t i = 0; i < committer->order_sums.count; i++) {
        const struct order_sum *sum = &committer->order_sums.entries[i];
        struct binary_array *array = committer->orders;
        binary_array_text(array++, sum->first->order_key);
        binary_array_text(array++, sum->first->asset);
        binary_array_text(array++, position_mode_word((enum position_mode)sum->first->said.execution.mode));
        binary_array_decimal(array++, sum->total.filled);
        binary_array_wide(array++, sum->total.notional);
        binary_array_decimal(array++, sum->total.fees);
    }
}

static void add_item(struct committer *committer, const struct commit_item *item)
{
    position_params_add(item->insert ? &committer->inserts : &committer->updates, &item->row, item->expected_version);
    if (item->external.wanted)
        add_note(committer, &item->row, &item->external, NULL);
    for (const struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery)) {
        if (!delivery->journal.wanted)
            continue;
        add_note(committer, &item->row, &delivery->journal, delivery);
        committer->may_repeat |= delivery->redelivered;
        if (committer_has_order(delivery))
            order_sums_add(&committer->order_sums, delivery);
    }
}

static void collect_parameters(struct committer *committer, size_t first, size_t last)
{
    for (size_t i = 0; i < JOURNAL_PARAM_COUNT; i++)
        binary_array_clear(&committer->journal[i], journal_types[i]);
    for (size_t i = 0; i < ORDER_PARAM_COUNT; i++)
        binary_array_clear(&committer->orders[i], order_types[i]);
    order_sums_clear(&committer->order_sums);
    committer->may_repeat = clock_steady_us() < committer->repeats_until_us;
    position_params_clear(&committer->updates);
    position_params_clear(&committer->inserts);
    for (size_t i = first; i < last; i++) {
        if (committer->members[i].state == MEMBER_TODO)
            add_item(committer, committer->members[i].item);
    }
    add_orders(committer);
}

/* ---- the statements before COMMIT ---- */

static void copy_word(char *out, size_t size, const char *word)
{
    const size_t len = strnlen(word, size - 1);
    memcpy(out, word, len);
    out[len] = '\0';
}

static enum status send_arrays(struct committer *committer, const char *name, struct binary_array *arrays, int count)
{
    struct pg_param params[JOURNAL_PARAM_COUNT];
    for (int i = 0; i < count; i++)
        params[i] = binary_array_param(&arrays[i]);
    return pg_send(&committer->connection, name, count, params);
}

static enum status send_positions(struct committer *committer, const char *name, struct position_params *params)
{
    struct pg_param values[POSITION_PARAM_COUNT];
    position_params_finish(params, values);
    return pg_send(&committer->connection, name, POSITION_PARAM_COUNT, values);
}

static enum status send_statements(struct committer *committer, const char *lock_timeout)
{
    struct pg_connection *connection = &committer->connection;
    const struct pg_param xid_params[] = {{.value = lock_timeout}};
    enum status status = pg_send(connection, "begin", 0, NULL);
    if (status == STATUS_OK)
        status = pg_send(connection, "xid", 1, xid_params);
    if (status == STATUS_OK && committer->journal[0].count > 0)
        status = send_arrays(committer, committer->may_repeat ? "journal_new" : "journal", committer->journal,
                             JOURNAL_PARAM_COUNT);
    if (status == STATUS_OK && committer->orders[0].count > 0)
        status = send_arrays(committer, "orders", committer->orders, ORDER_PARAM_COUNT);
    if (status == STATUS_OK && position_params_count(&committer->updates) > 0)
        status = send_positions(committer, "update", &committer->updates);
    if (status == STATUS_OK && position_params_count(&committer->inserts) > 0)
        status = send_positions(committer, "insert", &committer->inserts);
    return status == STATUS_OK ? pg_send_flush(connection) : status;
}

/* One statement's rows against those it was given; a part that was empty was not sent. */
static enum status receive_count(struct committer *committer, size_t given, bool *all_written)
{
    if (given == 0)
        return STATUS_OK;
    PGresult *result;
    const enum status status = pg_receive(&committer->connection, &result);
    if (status != STATUS_OK)
        return status;
    if (all_written != NULL && pg_affected(result) != given)
        *all_written = false;
    PQclear(result);
    return STATUS_OK;
}

static enum status receive_answers(struct committer *committer, bool *all_written)
{
    PGresult *result;
    enum status status = pg_receive(&committer->connection, NULL);
    if (status == STATUS_OK)
        status = pg_receive(&committer->connection, &result);
    if (status != STATUS_OK)
        return status;
    copy_word(committer->transaction_id, sizeof committer->transaction_id, PQgetvalue(result, 0, 0));
    PQclear(result);
    *all_written = true;
    status = receive_count(committer, committer->journal[0].count, all_written);
    if (status == STATUS_OK)
        status = receive_count(committer, committer->orders[0].count, NULL);
    if (status == STATUS_OK)
        status = receive_count(committer, position_params_count(&committer->updates), all_written);
    if (status == STATUS_OK)
        status = receive_count(committer, position_params_count(&committer->inserts), all_written);
    return status;
}

/* ---- the ends of a transaction ---- */

/* Ends the segment and the transaction, whatever state they are in. */
static enum status roll_back(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    enum status status = pg_send_sync(connection);
    if (status == STATUS_OK)
        status = pg_receive_sync(connection);
    if (status != STATUS_OK || PQtransactionStatus(connection->conn) == PQTRANS_IDLE)
        return status;
    status = pg_send(connection, "rollback", 0, NULL);
    if (status == STATUS_OK)
        status = pg_send_sync(connection);
    return status == STATUS_OK ? pg_receive_sync(connection) : status;
}

/* Fails: STATUS_INVALID only where the server said that it did not commit. */
static enum status receive_commit(struct committer *committer)
{
    PGresult *result;
    const enum status status = pg_receive(&committer->connection, &result);
    if (status != STATUS_OK)
        return status;
    const bool committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
    PQclear(result);
    if (committed)
        return STATUS_OK;
    committer->connection.sqlstate[0] = '\0';
    return STATUS_INVALID;
}

/* One question with one answer, in a segment of its own; word "" for NULL. Fails: as pg_receive(). */
static enum status ask_one(struct committer *committer, const char *statement, int count, const struct pg_param *params,
                           char word[WORD_SIZE])
{
    PGresult *result = NULL;
    enum status status = pg_send(&committer->connection, statement, count, params);
    if (status == STATUS_OK)
        status = pg_send_sync(&committer->connection);
    if (status == STATUS_OK)
        status = pg_receive(&committer->connection, &result);
    word[0] = '\0';
    if (status == STATUS_OK)
        copy_word(word, WORD_SIZE, PQgetvalue(result, 0, 0));
    PQclear(result);
    if (status != STATUS_OK && status != STATUS_INVALID)
        return status;
    return pg_receive_sync(&committer->connection);
}

/*
 * Whether the rows are as they were written, or newer. Another server (a replica that was promoted, a backup that was
 * restored) may have given our transaction's number to somebody else.
 */
static enum status confirm_rows(struct committer *committer, struct position_params *params, bool *confirmed)
{
    struct pg_param values[2];
    char word[WORD_SIZE];
    if (position_params_count(params) == 0)
        return STATUS_OK;
    position_params_for_confirm(params, values);
    const enum status status = ask_one(committer, "confirm", 2, values, word);
    if (status == STATUS_OK && strtoull(word, NULL, 10) != position_params_count(params))
        *confirmed = false;
    return status;
}

/* What became of committer->transaction_id. *outcome is untouched while it is in progress. Fails: as pg_receive(). */
static enum status ask_outcome(struct committer *committer, enum attempt *outcome)
{
    const struct pg_param params[] = {{.value = committer->transaction_id}};
    char word[WORD_SIZE];
    bool confirmed = true;
    enum status status = ask_one(committer, "xid_status", 1, params, word);
    if (status != STATUS_OK || strcmp(word, "in progress") == 0)
        return status;
    if (strcmp(word, "committed") == 0) {
        status = confirm_rows(committer, &committer->updates, &confirmed);
        if (status == STATUS_OK)
            status = confirm_rows(committer, &committer->inserts, &confirmed);
        if (status != STATUS_OK)
            return status;
    } else {
        confirmed = false;
    }
    LOG_EVENT(LOG_LEVEL_WARNING, "commit_outcome_unknown", NULL, log_text("transaction", committer->transaction_id),
              log_text("found", word), log_bool("confirmed", confirmed));
    *outcome = confirmed ? ATTEMPT_DONE : ATTEMPT_AGAIN;
    return STATUS_OK;
}

/*
 * COMMIT was sent and no answer came. Where the server cannot tell (too long ago, another server), the group is done
 * again: identities and versions find out what had been written.
 */
static enum attempt settle_unknown(struct committer *committer)
{
    metric_add(METRIC_COMMIT_OUTCOME_UNKNOWN, 1);
    enum attempt outcome = ATTEMPT_STOPPING; /* stands for: not known yet */
    while (outcome == ATTEMPT_STOPPING) {
        if (committer_reconnect(committer) != STATUS_OK)
            return ATTEMPT_STOPPING;
        enum status status = ask_outcome(committer, &outcome);
        if (status == STATUS_OK && outcome == ATTEMPT_STOPPING)
            status = pg_pause(&committer->connection, STATUS_PAUSE_US);
        if (status == STATUS_OK)
            continue;
        committer_drop_connection(committer, status_word(status));
        if (status == STATUS_STOPPING || committer_back_off(committer) != STATUS_OK)
            return ATTEMPT_STOPPING;
    }
    return outcome;
}

/* ---- what went wrong ---- */

bool committer_is_row_refused(const struct pg_connection *connection)
{
    static const char *const classes[] = {"21", "22", "23", "27", "38", "39", "44", "P0"};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (pg_error_is(connection, classes[i]))
            return true;
    }
    return false;
}

/* Something about some of the rows. */
static bool is_blocked(const struct pg_connection *connection)
{
    return pg_error_is(connection, "55P03") || pg_error_is(connection, "57014") || committer_is_row_refused(connection);
}

/* A refusal of everything may go on for hours: that is told as a neighbour is that is away. */
static void tell_refusal(struct committer *committer)
{
    const struct pg_connection *connection = &committer->connection;
    committer->is_quiet = !is_blocked(connection) && !pg_error_is(connection, "40") &&
                          !reminder_must_tell(&committer->refusals, connection->sqlstate, clock_steady_us());
    LOG_EVENT(committer->is_quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "commit_failed", NULL,
              log_text("sqlstate", connection->sqlstate), log_text("reason", connection->error));
}

static void tell_end_of_refusals(struct committer *committer)
{
    if (committer->refusals.count > 0)
        LOG_EVENT(LOG_LEVEL_INFO, "commits_resumed", NULL, log_int("refusals", committer->refusals.count));
    reminder_reset(&committer->refusals);
}

static enum attempt after_refusal(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    char sqlstate[PG_SQLSTATE_LEN + 1];
    memcpy(sqlstate, connection->sqlstate, sizeof sqlstate);
    tell_refusal(committer);
    metric_add(METRIC_COMMIT_ROLLBACKS, 1);
    enum status status = roll_back(committer);
    memcpy(connection->sqlstate, sqlstate, sizeof sqlstate);
    if (status == STATUS_OK && is_blocked(connection))
        return ATTEMPT_BLOCKED;
    /* Serialization failures and deadlocks are over with the rollback. All else may have to do with this very
     * connection: a server that became read-only, a table that was altered. */
    if (status != STATUS_OK || !pg_error_is(connection, "40"))
        committer_drop_connection(committer, status == STATUS_OK ? "refused" : status_word(status));
    if (status == STATUS_STOPPING || committer_back_off(committer) != STATUS_OK)
        return ATTEMPT_STOPPING;
    return ATTEMPT_AGAIN;
}

/* status: anything but STATUS_OK, before COMMIT was sent. */
static enum attempt after_failure(struct committer *committer, enum status status)
{
    if (status == STATUS_INVALID)
        return after_refusal(committer);
    committer_drop_connection(committer, status_word(status));
    if (status == STATUS_STOPPING || committer_back_off(committer) != STATUS_OK)
        return ATTEMPT_STOPPING;
    return ATTEMPT_AGAIN;
}

/* What is in the way is found out by asking. */
static enum attempt after_mismatch(struct committer *committer)
{
    metric_add(METRIC_COMMIT_ROLLBACKS, 1);
    const enum status status = roll_back(committer);
    return status == STATUS_OK ? ATTEMPT_MISMATCH : after_failure(committer, status);
}

/* The server refused an entry whose identity is there, though nobody had said that it might be. */
static bool is_unexpected_repeat(const struct committer *committer)
{
    return !committer->may_repeat && pg_error_is(&committer->connection, "23505");
}

static enum attempt commit(struct committer *committer)
{
    FAIL_POINT(FAIL_POINT_BEFORE_COMMIT, PQsocket(committer->connection.conn));
    enum status status = pg_send(&committer->connection, "commit", 0, NULL);
    if (status == STATUS_OK)
        status = pg_send_sync(&committer->connection);
    FAIL_POINT(FAIL_POINT_COMMIT_SENT, PQsocket(committer->connection.conn));
    if (status == STATUS_OK)
        status = receive_commit(committer);
    if (status == STATUS_INVALID) {
        /* A refusal counts only from a connection that lives on: one that is being ended may have committed all the
         * same. */
        status = pg_receive_sync(&committer->connection);
        if (status == STATUS_OK)
            return after_refusal(committer);
    }
    if (status != STATUS_OK) {
        committer_drop_connection(committer, status_word(status));
        return status == STATUS_STOPPING ? ATTEMPT_STOPPING : settle_unknown(committer);
    }
    FAIL_POINT(FAIL_POINT_AFTER_COMMIT, PQsocket(committer->connection.conn));
    /* It is durable; should the connection go just now, the next one will do. */
    status = pg_receive_sync(&committer->connection);
    if (status != STATUS_OK)
        committer_drop_connection(committer, status_word(status));
    return ATTEMPT_DONE;
}

enum attempt committer_attempt(struct committer *committer, size_t first, size_t last, const char *lock_timeout)
{
    if (committer_reconnect(committer) != STATUS_OK)
        return ATTEMPT_STOPPING;
    const int64_t started_us = clock_steady_us();
    collect_parameters(committer, first, last);
    bool all_written = false;
    enum status status = send_statements(committer, lock_timeout);
    FAIL_POINT(FAIL_POINT_STATEMENTS_SENT, PQsocket(committer->connection.conn));
    if (status == STATUS_OK)
        status = receive_answers(committer, &all_written);
    if (status == STATUS_INVALID && is_unexpected_repeat(committer)) {
        /* From here on such entries are left out: one error in the server's log, not one each. */
        committer->repeats_until_us = clock_steady_us() + REPEATS_US;
        return after_mismatch(committer);
    }
    if (status != STATUS_OK)
        return after_failure(committer, status);
    if (!all_written)
        return after_mismatch(committer);
    const enum attempt outcome = commit(committer);
    if (outcome != ATTEMPT_DONE)
        return outcome;
    committer_reset_back_off(committer);
    tell_end_of_refusals(committer);
    metric_add(METRIC_COMMITS, 1);
    histogram_observe(HISTOGRAM_COMMIT_SECONDS, (uint64_t)(clock_steady_us() - started_us));
    histogram_observe(HISTOGRAM_COMMIT_ROWS,
                      position_params_count(&committer->updates) + position_params_count(&committer->inserts));
    return ATTEMPT_DONE;
}
