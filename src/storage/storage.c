/*
 * Getting ready: connect, migrate, load. Whatever may pass is tried again; what may not stops the start.
 */
#include "storage.h"

#include <stdatomic.h>

#include "log.h"
#include "migrations.h"
#include "pg.h"
#include "position_rows.h"

enum {
    PREPARE_LOCK_TIMEOUT_MS = 5000, /* an ALTER TABLE that waits holds up everyone behind it */
    RETRY_MIN_US = 100000,
    RETRY_MAX_US = 5000000,
};

static bool is_stopping(void *context)
{
    struct board *board = context;
    return atomic_load(&board->stopping);
}

static enum status load_positions(struct pg_connection *connection, storage_load_fn *load, void *context)
{
    struct position_sql sql = {0};
    enum status status = position_sql_open(connection, &sql);
    if (status != STATUS_OK)
        return status;
    PGresult *result;
    status = pg_query(connection, sql.load, 0, NULL, &result);
    position_sql_close(&sql);
    if (status != STATUS_OK)
        return status;
    /* Every row that cannot be read is named before the start is refused. */
    for (int pass = 0; pass < 2 && status == STATUS_OK; pass++) {
        for (int row = 0; row < PQntuples(result); row++) {
            struct position position;
            if (position_from_row(result, row, &position) != STATUS_OK)
                status = STATUS_INVALID;
            else if (pass == 1)
                load(context, &position);
        }
    }
    if (status == STATUS_OK)
        LOG_EVENT(LOG_LEVEL_INFO, "positions_loaded", NULL, log_int("count", PQntuples(result)));
    PQclear(result);
    return status;
}

static enum status prepare_once(struct pg_connection *connection, struct board *board, storage_load_fn *load,
                                void *context)
{
    enum status status = pg_open(connection, PREPARE_LOCK_TIMEOUT_MS);
    if (status != STATUS_OK)
        return status;
    atomic_store(&board->database_connected, true);
    status = migrations_run(connection, connection->settings->migrations);
    if (status == STATUS_OK)
        status = load_positions(connection, load, context);
    if (status == STATUS_INVALID)
        LOG_EVENT(LOG_LEVEL_ERROR, "storage_unusable", NULL, log_text("sqlstate", connection->sqlstate),
                  log_text("reason", connection->error));
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
    int64_t retry_us = RETRY_MIN_US;
    for (;;) {
        const enum status status = prepare_once(&connection, board, load, context);
        if (status == STATUS_OK || status == STATUS_INVALID || status == STATUS_STOPPING)
            return status;
        LOG_EVENT(LOG_LEVEL_WARNING, "database_not_ready", NULL, log_text("sqlstate", connection.sqlstate),
                  log_text("reason", connection.error), log_int("retry_ms", retry_us / 1000));
        if (pg_pause(&connection, retry_us) != STATUS_OK)
            return STATUS_STOPPING;
        retry_us = retry_us * 2 < RETRY_MAX_US ? retry_us * 2 : RETRY_MAX_US;
    }
}
