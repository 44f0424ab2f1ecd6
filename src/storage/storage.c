/*
 * Getting ready: connect, take the tables, migrate, load. Whatever may pass is tried again; what may not stops the
 * start.
 */
#include "storage.h"

#include <stdatomic.h>

#include "backoff.h"
#include "catch_up.h"
#include "clock.h"
#include "instance.h"
#include "log.h"
#include "migrations.h"
#include "pg.h"
#include "position_rows.h"

enum {
    PREPARE_LOCK_TIMEOUT_MS = 5000, /* an ALTER TABLE that waits holds up everyone behind it */
    SET_UP_TIMEOUT_MS = 3000,       /* of the connection; what follows may take long */
};

static bool is_stopping(void *context)
{
    struct board *board = context;
    return atomic_load(&board->stopping);
}

/* ---- positions ---- */

struct loading {
    storage_load_fn *load;
    void *context;
    int64_t count;
    enum status status; /* STATUS_INVALID: a row holds figures that cannot be */
};

/* Every such row is named before the start is refused. */
static void load_row(void *context, const PGresult *row)
{
    struct loading *loading = context;
    struct position position;
    const enum status readable = position_from_row(row, 0, &position);
    if (readable == STATUS_OK) {
        loading->load(loading->context, &position);
        loading->count++;
    } else if (readable != STATUS_NOT_FOUND) { /* somebody's row that is no position of ours */
        loading->status = readable;
    }
}

static enum status load_rows(struct pg_connection *connection, const char *load_sql, struct loading *loading)
{
    loading->count = 0;
    const enum status status = pg_query_each(connection, load_sql, load_row, loading);
    return status == STATUS_OK ? loading->status : status;
}

/*
 * One snapshot for all: what is handed over is what the journal is compared with. A change that somebody makes a moment
 * later is found at the next commit. Readers need not wait for the comparison. Where it fails and all is done again, a
 * row that was deleted in between is still shown, until its next event finds that out.
 */
static enum status load_and_compare(struct pg_connection *connection, const char *load_sql, struct board *board,
                                    struct loading *loading)
{
    size_t changed = 0;
    enum status status = pg_query(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ", 0, NULL, NULL);
    if (status == STATUS_OK)
        status = load_rows(connection, load_sql, loading);
    if (status == STATUS_OK) {
        atomic_store(&board->positions_loaded, true);
        LOG_EVENT(LOG_LEVEL_INFO, "positions_loaded", NULL, log_int("count", loading->count));
        status = catch_up_journal(connection, &changed);
    }
    if (status == STATUS_OK && changed > 0)
        status = load_rows(connection, load_sql, loading); /* with what catching up noted in them */
    return status == STATUS_OK ? pg_query(connection, "COMMIT", 0, NULL, NULL) : status;
}

static enum status load_positions(struct pg_connection *connection, struct board *board, storage_load_fn *load,
                                  void *context)
{
    struct position_sql sql = {0};
    enum status status = position_sql_open(connection, &sql);
    if (status != STATUS_OK)
        return status;
    struct loading loading = {.load = load, .context = context, .status = STATUS_OK};
    status = load_and_compare(connection, sql.load, board, &loading);
    position_sql_close(&sql);
    return status;
}

/* ---- getting ready ---- */

static enum status take_tables(struct pg_connection *connection, struct board *board)
{
    int64_t epoch = 0;
    const enum status status = instance_begin(connection, &epoch);
    atomic_store(&board->instance_epoch, epoch);
    return status;
}

static enum status prepare_once(struct pg_connection *connection, struct board *board, storage_load_fn *load,
                                void *context)
{
    connection->timeout_ms = SET_UP_TIMEOUT_MS;
    enum status status = pg_open(connection, PREPARE_LOCK_TIMEOUT_MS);
    connection->timeout_ms = 0;
    if (status != STATUS_OK)
        return status;
    atomic_store(&board->database_connected, true);
    status = instance_wait(connection);
    if (status == STATUS_OK)
        status = migrations_run(connection, connection->settings->migrations);
    if (status == STATUS_OK)
        status = take_tables(connection, board);
    if (status == STATUS_OK)
        status = load_positions(connection, board, load, context);
    if (status == STATUS_INVALID)
        LOG_EVENT(LOG_LEVEL_ERROR, "storage_unusable", NULL, log_text("sqlstate", connection->sqlstate),
                  log_text("reason", connection->error));
    if (status == STATUS_OK)
        instance_leave(connection); /* to the committer */
    pg_close(connection);
    if (status != STATUS_OK)
        atomic_store(&board->database_connected, false);
    return status;
}

enum status storage_prepare(const struct storage_settings *settings, struct board *board, storage_load_fn *load,
                            void *context)
{
    struct pg_connection connection;
    pg_init(&connection, settings, is_stopping, board);
    struct backoff backoff;
    struct reminder failures = {0};
    backoff_init(&backoff, (uint64_t)clock_wall_us());
    for (;;) {
        const int64_t began_us = clock_steady_us();
        const enum status status = prepare_once(&connection, board, load, context);
        if (status == STATUS_OK || status == STATUS_INVALID || status == STATUS_STOPPING)
            return status;
        /* What the server refused may have waited for a lock, and others behind it: they are given their time. */
        const bool is_refused = connection.sqlstate[0] != '\0';
        backoff_fail(&backoff, 0, is_refused ? clock_steady_us() : began_us);
        const int64_t left_us = backoff_left_us(&backoff, clock_steady_us());
        const bool must_tell = reminder_must_tell(&failures, connection.error, clock_steady_us());
        LOG_EVENT(must_tell ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "database_not_ready", NULL,
                  log_text("sqlstate", connection.sqlstate), log_text("reason", connection.error),
                  log_int("tries", failures.count), log_int("retry_ms", left_us / 1000));
        if (pg_pause(&connection, left_us) != STATUS_OK)
            return STATUS_STOPPING;
    }
}
