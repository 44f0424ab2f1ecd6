/*
 * The committer's connection: statements are prepared once for each, then it stays in pipeline mode.
 */
#include "committer_state.h"

#include "clock.h"
#include "committer_sql.h"
#include "log.h"
#include "metrics.h"

enum {
    LOCK_TIMEOUT_MS = 500,     /* for whatever sets none of its own */
    SET_UP_TIMEOUT_MS = 3000,  /* nothing is under way yet: another connection is better than waiting for this one */
    LEAVE_TIMEOUT_MS = 500,    /* whoever comes next only waits a little longer */
    ANSWER_TIMEOUT_MS = 30000, /* a server that says nothing for so long is as good as gone */
};

/* Never-ending batches of a few rows against growing tables: index look-ups are right always, and a plan made while a
 * table was empty must not scan it later. */
static const char planner_settings[] = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
                                       "SET enable_hashjoin = off; SET enable_mergejoin = off";

static const char xid_sql[] = "SELECT pg_current_xact_id()::text, set_config('lock_timeout', $1, true)";

static const char find_identities_sql[] =
    "SELECT u.ordinal::text, j.fingerprint::text FROM unnest($1::text[]) WITH ORDINALITY AS u(identity, ordinal) "
    "JOIN position_manager_journal j ON j.identity = u.identity";

static const char find_orders_sql[] =
    "SELECT u.ordinal::text, o.filled_quantity::text, o.notional::text, o.fees::text "
    "FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS u(order_id, asset, mode, ordinal) "
    "JOIN position_manager_orders o ON o.order_id = u.order_id AND o.asset = u.asset AND o.mode = u.mode";

static enum status prepare_statements(struct committer *committer)
{
    const struct {
        const char *name, *sql;
    } statements[] = {
        {"begin", "BEGIN"},
        {"commit", "COMMIT"},
        {"rollback", "ROLLBACK"},
        {"xid", xid_sql},
        {"xid_status", "SELECT pg_xact_status($1::text::xid8)"},
        {"journal", journal_sql},
        {"journal_new", journal_new_sql},
        {"orders", orders_sql},
        {"update", committer->sql.update},
        {"insert", committer->sql.insert},
        {"confirm", committer->sql.confirm},
        {"find_rows", committer->sql.find},
        {"find_identities", find_identities_sql},
        {"find_orders", find_orders_sql},
    };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        const enum status status = pg_prepare(&committer->connection, statements[i].name, statements[i].sql);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status set_up(struct committer *committer)
{
    enum status status = pg_query(&committer->connection, planner_settings, 0, NULL, NULL);
    position_sql_close(&committer->sql);
    if (status == STATUS_OK)
        status = position_sql_open(&committer->connection, &committer->sql);
    if (status == STATUS_OK)
        status = prepare_statements(committer);
    if (status == STATUS_OK && PQenterPipelineMode(committer->connection.conn) != 1)
        status = STATUS_LOST;
    return status;
}

/* Another instance has the tables, or had them: what this process holds may be stale, so it must end. */
static void tell_overtaken(struct committer *committer)
{
    if (!committer->session.is_overtaken || atomic_load(&committer->board->superseded))
        return;
    LOG_EVENT(LOG_LEVEL_ERROR, "instance_lost", NULL, log_text("reason", committer->connection.error));
    atomic_store(&committer->board->superseded, true);
}

static enum status open_session(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    connection->timeout_ms = SET_UP_TIMEOUT_MS;
    enum status status = pg_open(connection, LOCK_TIMEOUT_MS);
    /* Nothing is prepared, let alone written, before the tables are ours. */
    if (status == STATUS_OK)
        status = instance_take(connection, &committer->session, atomic_load(&committer->board->instance_epoch));
    if (status == STATUS_OK)
        status = set_up(committer);
    connection->timeout_ms = ANSWER_TIMEOUT_MS;
    return status;
}

enum status committer_connect(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    if (committer->session.is_overtaken) {
        backoff_fail(&committer->backoff, 0, clock_steady_us());
        return STATUS_UNAVAILABLE;
    }
    const int64_t began_us = clock_steady_us();
    enum status status = open_session(committer);
    const bool is_quiet = committer->is_quiet;
    committer->is_quiet = false;
    if (status == STATUS_OK) {
        reminder_reset(&committer->failures);
        committer->was_connected = true;
        committer->is_silent = false;
        atomic_store(&committer->board->database_connected, true);
        metric_add(METRIC_DATABASE_CONNECTS, 1);
        LOG_EVENT(is_quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "database_connected", NULL,
                  log_int("server_version", PQserverVersion(connection->conn)));
        return STATUS_OK;
    }
    pg_close(connection);
    atomic_store(&committer->board->database_connected, false);
    tell_overtaken(committer);
    if (status == STATUS_STOPPING)
        return STATUS_STOPPING;
    backoff_fail(&committer->backoff, 0, began_us);
    const int64_t now_us = clock_steady_us();
    const bool must_tell = reminder_must_tell(&committer->failures, connection->error, now_us);
    LOG_EVENT(must_tell ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "database_connect_failed", NULL,
              log_text("sqlstate", connection->sqlstate), log_text("reason", connection->error),
              log_int("tries", committer->failures.count),
              log_int("retry_ms", backoff_left_us(&committer->backoff, now_us) / 1000));
    return STATUS_UNAVAILABLE;
}

enum status committer_reconnect(struct committer *committer)
{
    while (!pg_is_open(&committer->connection)) {
        enum status status = committer_connect(committer);
        if (status == STATUS_OK)
            break;
        if (status == STATUS_UNAVAILABLE)
            status = committer_pause(committer);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void committer_end_session(struct committer *committer)
{
    struct pg_connection *connection = &committer->connection;
    connection->give_up = NULL; /* it would at once */
    connection->timeout_ms = LEAVE_TIMEOUT_MS;
    if (pg_is_open(connection) && !committer->is_silent && PQexitPipelineMode(connection->conn) == 1)
        instance_leave(connection);
    committer_drop_connection(committer, "stopping");
}

void committer_drop_connection(struct committer *committer, const char *reason)
{
    pg_close(&committer->connection);
    atomic_store(&committer->board->database_connected, false);
    committer->is_silent = false;
    if (!committer->was_connected)
        return;
    committer->was_connected = false;
    if (atomic_load(&committer->stopping))
        return;
    metric_add(METRIC_DATABASE_LOSSES, 1);
    LOG_EVENT(committer->is_quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "database_lost", NULL,
              log_text("reason", reason), log_text("sqlstate", committer->connection.sqlstate),
              log_text("error", committer->connection.error));
}

enum status committer_pause(struct committer *committer)
{
    return pg_pause(&committer->connection, backoff_left_us(&committer->backoff, clock_steady_us()));
}

enum status committer_back_off(struct committer *committer)
{
    backoff_fail(&committer->backoff, 0, clock_steady_us());
    return committer_pause(committer);
}

void committer_reset_back_off(struct committer *committer)
{
    backoff_reset(&committer->backoff);
}
