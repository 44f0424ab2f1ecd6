/*
 * The three statements around CREATE INDEX CONCURRENTLY.
 */
#include "index_build.h"

#include <stdio.h>

#include "log.h"

enum { SQL_SIZE = 512, COMMIT_US = 500000 };

/* The session's own values are kept in a setting of ours, since they outlive no transaction otherwise. */
static enum status be_patient(struct pg_connection *connection)
{
    return pg_query(connection,
                    "SELECT set_config('position_manager.lock_timeout', current_setting('lock_timeout'), false), "
                    "set_config('position_manager.statement_timeout', current_setting('statement_timeout'), false), "
                    "set_config('lock_timeout', '" INDEX_BUILD_LOCK_TIMEOUT
                    "', false), set_config('statement_timeout', '0', false)",
                    0, NULL, NULL);
}

/* Also where a refusal came before anything was set. */
static enum status be_as_before(struct pg_connection *connection)
{
    return pg_query(
        connection,
        "SELECT set_config('lock_timeout', coalesce(current_setting('position_manager.lock_timeout', true), "
        "current_setting('lock_timeout')), false), set_config('statement_timeout', "
        "coalesce(current_setting('position_manager.statement_timeout', true), "
        "current_setting('statement_timeout')), false)",
        0, NULL, NULL);
}

/* The lock that builders hold; it keeps no reader or writer out, and LOCK takes no snapshot that they would wait for.
 */
static enum status wait_for_builders(struct pg_connection *connection, const char *table)
{
    char sql[SQL_SIZE];
    snprintf(sql, sizeof sql, "BEGIN; LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE; COMMIT", table);
    return pg_query(connection, sql, 0, NULL, NULL);
}

static enum status is_invalid(struct pg_connection *connection, const char *table, const char *name, bool *out)
{
    const struct pg_param params[] = {pg_text(name), pg_text(table)};
    PGresult *result;
    const enum status status = pg_query(connection,
                                        "SELECT FROM pg_index WHERE indexrelid = to_regclass($1) "
                                        "AND indrelid = to_regclass($2) AND NOT indisvalid",
                                        2, params, &result);
    if (status != STATUS_OK)
        return status;
    *out = PQntuples(result) > 0;
    PQclear(result);
    return STATUS_OK;
}

/* A builder lets its lock go a moment before what it built is committed as valid. */
static enum status is_left_behind(struct pg_connection *connection, const char *table, const char *name, bool *out)
{
    enum status status = is_invalid(connection, table, name, out);
    if (status == STATUS_OK && *out)
        status = pg_pause(connection, COMMIT_US);
    return status == STATUS_OK && *out ? is_invalid(connection, table, name, out) : status;
}

static enum status drop_invalid(struct pg_connection *connection, const char *table, const char *name)
{
    bool found;
    const enum status status = is_left_behind(connection, table, name, &found);
    if (status != STATUS_OK || !found)
        return status;
    LOG_EVENT(LOG_LEVEL_WARNING, "migration_index_repaired", NULL, log_text("table", table), log_text("name", name));
    char sql[SQL_SIZE];
    snprintf(sql, sizeof sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", name);
    return pg_query(connection, sql, 0, NULL, NULL);
}

static enum status create(struct pg_connection *connection, const char *table, const char *name, const char *columns)
{
    char sql[SQL_SIZE];
    snprintf(sql, sizeof sql, "CREATE INDEX CONCURRENTLY IF NOT EXISTS %s ON %s (%s)", name, table, columns);
    const enum status status = pg_query(connection, sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        LOG_EVENT(LOG_LEVEL_INFO, "migration_added", NULL, log_text("table", table), log_text("name", name));
    return status;
}

enum status index_build(struct pg_connection *connection, const char *table, const char *name, const char *columns)
{
    enum status status = be_patient(connection);
    if (status == STATUS_OK)
        status = wait_for_builders(connection, table);
    if (status == STATUS_OK)
        status = drop_invalid(connection, table, name);
    if (status == STATUS_OK)
        status = create(connection, table, name, columns);
    return status == STATUS_OK ? be_as_before(connection) : status;
}

enum status index_build_give_up(struct pg_connection *connection)
{
    const enum status status = pg_query(connection, "ROLLBACK", 0, NULL, NULL);
    return status == STATUS_OK ? be_as_before(connection) : status;
}
