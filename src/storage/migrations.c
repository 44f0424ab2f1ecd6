/*
 * The schema, as a list of steps, and what makes it so. A step once released is never changed: a new column or table is
 * a new step at the end. Every start looks at all of them, so that what somebody dropped is found too.
 */
#include "migrations.h"

#include <stdio.h>
#include <string.h>

#include "index_build.h"
#include "log.h"

/* Any number that no other user of advisory locks is likely to take: "position" in ASCII. */
#define MIGRATIONS_LOCK_KEY "8101250823046197102"

/*
 * ITEM_LATE_INDEX: of a shared table that may be large and is written by others. Where it is, the index is built after
 * the transaction and without holding anybody up; it serves speed only, so the start goes on without it if need be.
 */
enum item_kind { ITEM_TABLE, ITEM_COLUMN, ITEM_INDEX, ITEM_LATE_INDEX, ITEM_UNIQUE };

/* A table of 16 MiB is indexed within a moment. */
#define LARGE_BYTES "16777216"
/*
 * An ALTER TABLE that waits for a lock holds up everyone behind it, and while it holds another table it may be in a
 * deadlock with who writes to both: rather give up, before the server picks a victim, and try again.
 */
#define DDL_LOCK_TIMEOUT_SQL                                                                                           \
    "SELECT set_config('lock_timeout', least(400, setting::integer / 2)::text, true) FROM pg_settings "                \
    "WHERE name = 'deadlock_timeout'"

struct item {
    enum item_kind kind;
    const char *table;
    const char *name; /* of the column; of the index to be made */
    const char
        *definition; /* table: what stands between the parentheses; column: type and default; index: its columns */
};

struct step {
    const char *version;
    const char *name;
    const struct item *items;
    size_t count;
};

#define POSITIONS "positions"
#define SNAPSHOTS "position_snapshots"
#define JOURNAL   "position_manager_journal"
#define ORDERS    "position_manager_orders"
#define OUTBOX    "position_manager_outbox"
#define INSTANCE  "position_manager_instance"
#define APPLIED   "position_manager_migrations"
#define UTC_NOW   "(now() AT TIME ZONE 'UTC')"

static const struct item shared_items[] = {
    {ITEM_TABLE, POSITIONS, NULL, "id uuid PRIMARY KEY DEFAULT gen_random_uuid()"},
    {ITEM_COLUMN, POSITIONS, "id", "uuid NOT NULL DEFAULT gen_random_uuid()"},
    {ITEM_COLUMN, POSITIONS, "asset", "varchar(20) NOT NULL"},
    {ITEM_COLUMN, POSITIONS, "mode", "varchar(20) NOT NULL DEFAULT 'one-way'"},
    {ITEM_COLUMN, POSITIONS, "size", "numeric(20,8) NOT NULL DEFAULT 0"},
    {ITEM_COLUMN, POSITIONS, "average_entry_price", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "current_price", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "unrealized_pnl", "numeric(20,8) DEFAULT 0"},
    {ITEM_COLUMN, POSITIONS, "realized_pnl", "numeric(20,8) DEFAULT 0"},
    {ITEM_COLUMN, POSITIONS, "fees_paid", "numeric(20,8) DEFAULT 0"},
    {ITEM_COLUMN, POSITIONS, "long_size", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "short_size", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "long_avg_price", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "short_avg_price", "numeric(20,8)"},
    {ITEM_COLUMN, POSITIONS, "version", "integer DEFAULT 0"},
    {ITEM_COLUMN, POSITIONS, "price_updated_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "last_updated", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "last_snapshot_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "created_at", "timestamp DEFAULT " UTC_NOW},
    {ITEM_COLUMN, POSITIONS, "opened_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "closed_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "last_execution_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "market_event_at", "timestamp"},
    {ITEM_COLUMN, POSITIONS, "market_event_digests", "bytea"},
    {ITEM_COLUMN, POSITIONS, "announcement_due", "boolean"},
    {ITEM_UNIQUE, POSITIONS, "position_manager_positions_id", "id"},
    {ITEM_UNIQUE, POSITIONS, "position_manager_positions_asset_mode", "asset, mode"},
    {ITEM_TABLE, SNAPSHOTS, NULL, "id uuid PRIMARY KEY DEFAULT gen_random_uuid()"},
    {ITEM_COLUMN, SNAPSHOTS, "id", "uuid NOT NULL DEFAULT gen_random_uuid()"},
    {ITEM_COLUMN, SNAPSHOTS, "position_id", NULL}, /* a reference where the type of positions.id allows it */
    {ITEM_COLUMN, SNAPSHOTS, "asset", "varchar(20)"},
    {ITEM_COLUMN, SNAPSHOTS, "mode", "varchar(20)"},
    {ITEM_COLUMN, SNAPSHOTS, "snapshot_data", "jsonb"},
    {ITEM_COLUMN, SNAPSHOTS, "created_at", "timestamp DEFAULT " UTC_NOW},
    {ITEM_LATE_INDEX, SNAPSHOTS, "position_manager_snapshots_position_created", "position_id, created_at DESC"},
};

static const struct item own_items[] = {
    {ITEM_TABLE, JOURNAL, NULL,
     "seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, position_id uuid NOT NULL, asset varchar(20) NOT NULL, "
     "mode varchar(20) NOT NULL, version integer NOT NULL, source text NOT NULL, identity text, fingerprint bigint, "
     "order_id text, quantity numeric(20,8), price numeric(20,8), fees numeric(20,8), at timestamp, "
     "size numeric(20,8) NOT NULL, average_entry_price numeric(20,8), realized_pnl numeric(20,8) NOT NULL, "
     "fees_paid numeric(20,8) NOT NULL, long_size numeric(20,8), short_size numeric(20,8), "
     "long_avg_price numeric(20,8), short_avg_price numeric(20,8), recorded_at timestamp NOT NULL DEFAULT " UTC_NOW},
    {ITEM_UNIQUE, JOURNAL, "position_manager_journal_identity", "identity"},
    {ITEM_INDEX, JOURNAL, "position_manager_journal_position", "position_id, seq"},
    {ITEM_TABLE, ORDERS, NULL,
     "order_id text NOT NULL, asset varchar(20) NOT NULL, mode varchar(20) NOT NULL, "
     "filled_quantity numeric(38,8) NOT NULL, notional numeric(60,16) NOT NULL, fees numeric(38,8) NOT NULL, "
     "updated_at timestamp NOT NULL DEFAULT " UTC_NOW ", PRIMARY KEY (order_id, asset, mode)"},
    {ITEM_TABLE, APPLIED, NULL,
     "version integer PRIMARY KEY, name text NOT NULL, applied_at timestamp NOT NULL DEFAULT " UTC_NOW},
};

/* Snapshots whose announcement the broker has not confirmed. */
static const struct item history_items[] = {
    {ITEM_TABLE, OUTBOX, NULL,
     "snapshot_id uuid PRIMARY KEY, message text NOT NULL, trace_id text NOT NULL, created_at timestamp NOT NULL"},
    {ITEM_INDEX, OUTBOX, "position_manager_outbox_created", "created_at, snapshot_id"},
};

/* Which taking of the tables is the newest one: one row (instance.h). */
static const struct item instance_items[] = {
    {ITEM_TABLE, INSTANCE, NULL,
     "id integer PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL, taken_at timestamp NOT NULL DEFAULT " UTC_NOW},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct step steps[] = {
    {"1", "positions and snapshots", shared_items, COUNT_OF(shared_items)},
    {"2", "journal, orders, migrations", own_items, COUNT_OF(own_items)},
    {"3", "outbox of snapshots", history_items, COUNT_OF(history_items)},
    {"4", "one instance at a time", instance_items, COUNT_OF(instance_items)},
};

/* ---- what is there ---- */

static const char table_query[] = "SELECT to_regclass($1) IS NOT NULL";
static const char column_query[] = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) "
                                   "AND attname = $2 AND attnum > 0 AND NOT attisdropped)";
/* Whatever its name: a valid index over all rows whose first columns are these ($2; in order) ... */
static const char index_query[] =
    "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL "
    "AND regexp_split_to_array(regexp_replace($2, ' DESC', '', 'g'), ', ') = "
    "(SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k(number, "
    "place) "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number "
    "WHERE k.place <= cardinality(regexp_split_to_array($2, ', '))))";
/* ... or a unique one over just these, in any order. */
static const char unique_query[] =
    "SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indisunique "
    "AND i.indpred IS NULL AND (SELECT array_agg(n ORDER BY n) FROM regexp_split_to_table($2, ', ') n) = "
    "(SELECT array_agg(a.attname::text ORDER BY a.attname::text) "
    "FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k(number, place) "
    "LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts))";

static enum status ask_yes_no(struct pg_connection *connection, const char *sql, int count,
                              const struct pg_param *params, bool *out)
{
    PGresult *result;
    const enum status status = pg_query(connection, sql, count, params, &result);
    if (status != STATUS_OK)
        return status;
    *out = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return STATUS_OK;
}

static enum status is_present(struct pg_connection *connection, const struct item *item, bool *out)
{
    const struct pg_param column[] = {pg_text(item->table), pg_text(item->name)};
    const struct pg_param index[] = {pg_text(item->table), pg_text(item->definition)};
    switch (item->kind) {
    case ITEM_TABLE:
        return ask_yes_no(connection, table_query, 1, column, out);
    case ITEM_COLUMN:
        return ask_yes_no(connection, column_query, 2, column, out);
    case ITEM_INDEX:
    case ITEM_LATE_INDEX:
        return ask_yes_no(connection, index_query, 2, index, out);
    case ITEM_UNIQUE:
        return ask_yes_no(connection, unique_query, 2, index, out);
    }
    return STATUS_INVALID;
}

/* ---- check ---- */

static void log_missing(const struct item *item)
{
    static const char *const words[] = {"table", "column", "index", "index", "unique index"};
    const char *name = item->kind == ITEM_TABLE    ? item->table
                       : item->kind == ITEM_COLUMN ? item->name
                                                   : item->definition;
    LOG_EVENT(LOG_LEVEL_ERROR, "migration_missing", NULL, log_text("kind", words[item->kind]),
              log_text("table", item->table), log_text("name", name));
}

static enum status check_step(struct pg_connection *connection, const struct step *step, size_t *missing)
{
    const char *missing_table = "";
    for (size_t i = 0; i < step->count; i++) {
        const struct item *item = &step->items[i];
        bool present;
        if (strcmp(missing_table, item->table) == 0)
            continue; /* one line says it */
        const enum status status = is_present(connection, item, &present);
        if (status != STATUS_OK)
            return status;
        if (present)
            continue;
        log_missing(item);
        ++*missing;
        if (item->kind == ITEM_TABLE)
            missing_table = item->table;
    }
    return STATUS_OK;
}

static enum status check(struct pg_connection *connection)
{
    size_t missing = 0;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        const enum status status = check_step(connection, &steps[i], &missing);
        if (status != STATUS_OK)
            return status;
    }
    return missing == 0 ? STATUS_OK : STATUS_INVALID;
}

/* ---- apply ---- */

/* A reference needs a column of the same type with a unique index on the other side; the index was made before. */
static enum status position_reference(struct pg_connection *connection, const char **out)
{
    bool is_uuid;
    const enum status status =
        ask_yes_no(connection,
                   "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('positions') "
                   "AND attname = 'id' AND atttypid = 'uuid'::regtype)",
                   0, NULL, &is_uuid);
    if (status == STATUS_OK)
        *out = is_uuid ? "uuid REFERENCES positions (id)" : "uuid";
    return status;
}

static enum status refuse_duplicates(struct pg_connection *connection)
{
    PGresult *result;
    const enum status status =
        pg_query(connection,
                 "SELECT asset::text, mode::text, count(*)::text FROM positions WHERE mode IS NOT NULL "
                 "GROUP BY asset, mode HAVING count(*) > 1 ORDER BY asset, mode LIMIT 50",
                 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    const int count = PQntuples(result);
    for (int row = 0; row < count; row++) {
        LOG_EVENT(LOG_LEVEL_ERROR, "positions_duplicated", NULL, log_text("asset", PQgetvalue(result, row, 0)),
                  log_text("mode", PQgetvalue(result, row, 1)), log_text("rows", PQgetvalue(result, row, 2)));
    }
    PQclear(result);
    return count == 0 ? STATUS_OK : STATUS_INVALID;
}

static enum status add_item(struct pg_connection *connection, const struct item *item)
{
    const char *definition = item->definition;
    if (definition == NULL) {
        const enum status status = position_reference(connection, &definition);
        if (status != STATUS_OK)
            return status;
    }
    if (item->kind == ITEM_UNIQUE && strcmp(definition, "asset, mode") == 0) {
        const enum status status = refuse_duplicates(connection);
        if (status != STATUS_OK)
            return status;
    }
    char sql[2048];
    if (item->kind == ITEM_TABLE)
        snprintf(sql, sizeof sql, "CREATE TABLE IF NOT EXISTS %s (%s)", item->table, definition);
    else if (item->kind == ITEM_COLUMN)
        snprintf(sql, sizeof sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s", item->table, item->name, definition);
    else
        snprintf(sql, sizeof sql, "CREATE %s INDEX IF NOT EXISTS %s ON %s (%s)",
                 item->kind == ITEM_UNIQUE ? "UNIQUE" : "", item->name, item->table, definition);
    const enum status status = pg_query(connection, sql, 0, NULL, NULL);
    if (status == STATUS_OK)
        LOG_EVENT(LOG_LEVEL_INFO, "migration_added", NULL, log_text("table", item->table),
                  log_text("name", item->name));
    return status;
}

static enum status is_left_for_later(struct pg_connection *connection, const struct item *item, bool *out)
{
    const struct pg_param params[] = {pg_text(item->table), pg_text(item->name)};
    *out = false;
    if (item->kind != ITEM_LATE_INDEX)
        return STATUS_OK;
    /* An invalid one of that name is repaired there, too. */
    return ask_yes_no(connection,
                      "SELECT pg_table_size(to_regclass($1)) > " LARGE_BYTES " OR to_regclass($2) IS NOT NULL", 2,
                      params, out);
}

static enum status apply_step(struct pg_connection *connection, const struct step *step, size_t *added)
{
    for (size_t i = 0; i < step->count; i++) {
        bool present, is_later = false;
        enum status status = is_present(connection, &step->items[i], &present);
        if (status == STATUS_OK && !present)
            status = is_left_for_later(connection, &step->items[i], &is_later);
        if (status == STATUS_OK && !present && !is_later) {
            status = add_item(connection, &step->items[i]);
            ++*added;
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status note_steps(struct pg_connection *connection)
{
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        const struct pg_param params[] = {pg_text(steps[i].version), pg_text(steps[i].name)};
        const enum status status = pg_query(
            connection, "INSERT INTO " APPLIED " (version, name) VALUES ($1::integer, $2) ON CONFLICT DO NOTHING", 2,
            params, NULL);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status apply_all(struct pg_connection *connection, size_t *added)
{
    enum status status = pg_query(connection, "BEGIN", 0, NULL, NULL);
    if (status == STATUS_OK)
        status = pg_query(connection, "SELECT pg_advisory_xact_lock(" MIGRATIONS_LOCK_KEY ")", 0, NULL, NULL);
    if (status == STATUS_OK)
        status = pg_query(connection, DDL_LOCK_TIMEOUT_SQL, 0, NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(steps) && status == STATUS_OK; i++)
        status = apply_step(connection, &steps[i], added);
    /* A service that may read and write but not create must be able to start on tables that are complete. */
    if (status == STATUS_OK && *added > 0)
        status = note_steps(connection);
    return status;
}

/* What may be better in a while: connections, disk space, locks, a server that is read-only for now. */
static bool is_passing_error(const struct pg_connection *connection)
{
    static const char *const prefixes[] = {"08", "25006", "40", "53", "55", "57"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        if (pg_error_is(connection, prefixes[i]))
            return true;
    }
    return false;
}

static enum status apply(struct pg_connection *connection)
{
    size_t added = 0;
    connection->sqlstate[0] = '\0';
    enum status status = apply_all(connection, &added);
    if (status == STATUS_OK)
        status = pg_query(connection, "COMMIT", 0, NULL, NULL);
    if (status == STATUS_OK) {
        LOG_EVENT(LOG_LEVEL_INFO, "migrations_applied", NULL, log_int("added", (int64_t)added));
        return STATUS_OK;
    }
    if (status == STATUS_INVALID && connection->sqlstate[0] != '\0') {
        if (is_passing_error(connection))
            status = STATUS_UNAVAILABLE;
        /* What is tried again is told by whoever does so, with the same reason and not every time. */
        LOG_EVENT(status == STATUS_UNAVAILABLE ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "migrations_failed", NULL,
                  log_text("sqlstate", connection->sqlstate), log_text("reason", connection->error));
    }
    /* Where even this fails the connection is gone, and the transaction with it. */
    if (status == STATUS_INVALID || status == STATUS_UNAVAILABLE)
        (void)!pg_query(connection, "ROLLBACK", 0, NULL, NULL);
    return status;
}

/* ---- apply, afterwards: indexes of large tables ---- */

static enum status add_later(struct pg_connection *connection, const struct item *item)
{
    bool present;
    const enum status status = is_present(connection, item, &present);
    if (status != STATUS_OK || present)
        return status;
    LOG_EVENT(LOG_LEVEL_INFO, "migration_index_building", NULL, log_text("table", item->table),
              log_text("name", item->name));
    return index_build(connection, item->table, item->name, item->definition);
}

static enum status add_all_later(struct pg_connection *connection)
{
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        for (size_t j = 0; j < steps[i].count; j++) {
            if (steps[i].items[j].kind != ITEM_LATE_INDEX)
                continue;
            const enum status status = add_later(connection, &steps[i].items[j]);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

/* The next start tries again; until then reading by the index is slow, and nothing is wrong. */
static enum status apply_later(struct pg_connection *connection)
{
    const enum status status = add_all_later(connection);
    if (status != STATUS_INVALID)
        return status;
    LOG_EVENT(LOG_LEVEL_WARNING, "migration_index_postponed", NULL, log_text("sqlstate", connection->sqlstate),
              log_text("reason", connection->error));
    return index_build_give_up(connection);
}

enum status migrations_run(struct pg_connection *connection, enum migrations_mode mode)
{
    switch (mode) {
    case MIGRATIONS_APPLY: {
        const enum status status = apply(connection);
        return status == STATUS_OK ? apply_later(connection) : status;
    }
    case MIGRATIONS_CHECK:
        return check(connection);
    case MIGRATIONS_OFF:
        break;
    }
    return STATUS_OK;
}
