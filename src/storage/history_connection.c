/*
 * The history's connections: opened together, given up together.
 */
#include "history_state.h"

#include <poll.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

enum {
    LOCK_TIMEOUT_MS = 1000,   /* a row locked by others must not hold up those who ask for something else */
    SET_UP_TIMEOUT_MS = 3000, /* nothing is under way yet: another connection is better than waiting for this one */
};

/* A server that says nothing for so long is as good as gone; a job may sort a large table. */
static const int answer_timeouts_ms[LINE_COUNT] = {[LINE_QUICK] = 5000, [LINE_CHECKS] = 60000, [LINE_JOBS] = 600000};

/*
 * Large tables are walked along an index: a page of history up to its limit, rather than reading all of a position's to
 * sort them, and batches even where the planner, not knowing how many follow, would scan. The statistics of a table
 * that has just grown would tell it otherwise.
 */
static const char *const planner_settings[LINE_COUNT] = {
    [LINE_QUICK] = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off",
    [LINE_JOBS] = "SET enable_seqscan = off",
};

bool history_line_is_open(const struct history *history, enum history_line line)
{
    return history->connected && pg_is_open(&history->lines[line]);
}

void history_close_lines(struct history *history)
{
    for (size_t i = 0; i < LINE_COUNT; i++)
        pg_close(&history->lines[i]);
    history->connected = false;
}

/*
 * Connections that served are replaced at once. A server that lets us in, only to end them over what we ask (one that
 * became read-only), is no reason to hurry.
 */
static void back_off_after_loss(struct history *history)
{
    const int64_t now_us = clock_steady_us(), stood_us = now_us - history->connected_at_us;
    const bool is_first =
        history->backoff.delay_ms == BACKOFF_FIRST_MS || stood_us >= (int64_t)BACKOFF_STEADY_MS * 1000;
    backoff_fail(&history->backoff, stood_us, now_us);
    if (is_first)
        history->backoff.retry_at_us = now_us;
}

static void connection_failed(struct history *history, enum history_line line, const char *what)
{
    struct pg_connection *connection = &history->lines[line];
    pg_close(connection);
    history->connected = false;
    back_off_after_loss(history);
    LOG_EVENT(LOG_LEVEL_ERROR, "history_database_lost", NULL, log_text("during", what),
              log_text("sqlstate", connection->sqlstate), log_text("error", connection->error));
}

/* The server is there but will not serve us as it is: shutting down, read-only, too many connections. */
static bool is_connections_fault(const struct pg_connection *connection)
{
    return pg_error_is(connection, "08") || pg_error_is(connection, "25006") || pg_error_is(connection, "57P");
}

enum status history_judge(struct history *history, enum history_line line, const char *what, enum status status)
{
    const struct pg_connection *connection = &history->lines[line];
    if (status == STATUS_OK)
        return STATUS_OK;
    if (status == STATUS_STOPPING && atomic_load(&history->stopping))
        return STATUS_STOPPING;
    if (status != STATUS_INVALID || is_connections_fault(connection)) {
        connection_failed(history, line, what);
        return STATUS_UNAVAILABLE;
    }
    /* The table may have been altered: what was made for it is made again. */
    if (pg_error_is(connection, "42") || pg_error_is(connection, "23")) {
        free(history->insert_sql);
        history->insert_sql = NULL;
    }
    LOG_EVENT(LOG_LEVEL_ERROR, "history_statement_refused", NULL, log_text("during", what),
              log_text("sqlstate", connection->sqlstate), log_text("error", connection->error));
    const bool is_passing =
        pg_error_is(connection, "40") || pg_error_is(connection, "53") || pg_error_is(connection, "55");
    return is_passing ? STATUS_TIMEOUT : STATUS_INVALID;
}

enum status history_query(struct history *history, enum history_line line, const char *what, const char *sql, int count,
                          const struct pg_param *params, PGresult **out)
{
    if (out != NULL)
        *out = NULL;
    if (!history_line_is_open(history, line))
        return STATUS_UNAVAILABLE;
    return history_judge(history, line, what, pg_query(&history->lines[line], sql, count, params, out));
}

static enum status set_line_up(struct history *history, size_t i)
{
    struct pg_connection *connection = &history->lines[i];
    const enum status status = pg_open(connection, LOCK_TIMEOUT_MS);
    if (status != STATUS_OK)
        return status;
    if (planner_settings[i] != NULL) {
        const enum status planned = pg_query(connection, planner_settings[i], 0, NULL, NULL);
        if (planned != STATUS_OK)
            return planned;
    }
    /* So that a statement whose asker has gone does not go on for nothing; not every server's system can do that. */
    const enum status set = pg_query(connection, "SET client_connection_check_interval = 5000", 0, NULL, NULL);
    return set == STATUS_INVALID ? STATUS_OK : set;
}

static enum status open_line(struct history *history, size_t i)
{
    struct pg_connection *connection = &history->lines[i];
    connection->timeout_ms = SET_UP_TIMEOUT_MS;
    const enum status status = set_line_up(history, i);
    connection->timeout_ms = answer_timeouts_ms[i];
    return status;
}

static enum status open_lines(struct history *history, size_t *failed)
{
    for (size_t i = 0; i < LINE_COUNT; i++) {
        *failed = i;
        const enum status status = open_line(history, i);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void tell_failure(struct history *history, const struct pg_connection *connection)
{
    const bool must_tell = reminder_must_tell(&history->failures, connection->error, clock_steady_us());
    LOG_EVENT(must_tell ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "history_database_connect_failed", NULL,
              log_text("sqlstate", connection->sqlstate), log_text("reason", connection->error),
              log_int("tries", history->failures.count));
}

static void connect_now(struct history *history)
{
    size_t failed = 0;
    history->connecting = true;
    history->connecting_since_us = clock_steady_us();
    const enum status status = open_lines(history, &failed);
    history->connecting = false;
    if (status == STATUS_OK) {
        history->connected = history->was_connected = true;
        history->connected_at_us = clock_steady_us();
        reminder_reset(&history->failures);
        free(history->insert_sql);
        history->insert_sql = NULL;
        history_outbox_filled(history);
        LOG_EVENT(LOG_LEVEL_INFO, "history_database_connected", NULL);
        return;
    }
    if (status != STATUS_STOPPING)
        tell_failure(history, &history->lines[failed]);
    history_close_lines(history);
    backoff_fail(&history->backoff, 0, history->connecting_since_us);
}

/* A connection of which nobody has asked anything: whatever the server says on it, it is that it closes. */
static bool is_idle_and_well(const struct pg_connection *connection)
{
    struct pollfd descriptor = {.fd = PQsocket(connection->conn), .events = POLLIN};
    return PQstatus(connection->conn) == CONNECTION_OK && descriptor.fd >= 0 && poll(&descriptor, 1, 0) == 0;
}

/* An idle connection that the server has closed is found out before somebody's request is. */
static void look_at_lines(struct history *history)
{
    for (int i = 0; i < LINE_COUNT && history->connected; i++) {
        if (!is_idle_and_well(&history->lines[i]))
            connection_failed(history, (enum history_line)i, "idle");
    }
}

void history_keep_connected(struct history *history)
{
    if (history->connected)
        look_at_lines(history);
    if (history->connected)
        return;
    history_job_abandon(history);
    history_close_lines(history);
    if (clock_steady_us() >= history->backoff.retry_at_us)
        connect_now(history);
}
