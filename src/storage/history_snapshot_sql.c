/*
 * The statement that inserts snapshots, for the table that is there: an older one's further columns are filled, with
 * the position's figure of that name where there is one.
 */
#include "history_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"

/* name, quoted name, type, category, must be filled, what fills it if nothing better does, takes our decimals, type of
 * positions.id, may not be null */
static const char table_query[] =
    "SELECT a.attname, quote_ident(a.attname), format_type(a.atttypid, NULL), t.typcategory::text, "
    "((a.attnotnull OR t.typnotnull) AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '')::text, "
    "CASE WHEN t.typname IN ('json', 'jsonb') THEN '''{}''::' || t.typname "
    "WHEN t.typname = 'uuid' THEN 'gen_random_uuid()' "
    "WHEN t.typname = 'bytea' THEN '''''::bytea' "
    "WHEN t.typcategory = 'N' THEN '0::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'S' THEN '''''::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'B' THEN 'false' "
    "WHEN t.typcategory = 'D' THEN '$7::timestamp::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'T' THEN '''0''::interval' "
    "WHEN t.typcategory = 'A' THEN '''{}''::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'E' THEN '(enum_range(NULL::' || format_type(a.atttypid, NULL) || '))[1]' END, "
    "(t.typcategory <> 'N' OR t.typname = 'float8' OR t.typname = 'numeric' AND (a.atttypmod = -1 OR "
    "(((a.atttypmod - 4) >> 16) & 65535) - ((a.atttypmod - 4) & 2047) >= 12))::text, "
    "(SELECT format_type(p.atttypid, NULL) FROM pg_attribute p WHERE p.attrelid = to_regclass('positions') "
    "AND p.attname = 'id' AND NOT p.attisdropped), (a.attnotnull OR t.typnotnull)::text "
    "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = to_regclass('position_snapshots') AND a.attnum > 0 AND NOT a.attisdropped "
    "AND a.attgenerated = '' AND a.attidentity <> 'a' ORDER BY a.attnum";

enum { AT_NAME, AT_QUOTED, AT_TYPE, AT_CATEGORY, AT_NEEDED, AT_FILLER, AT_ROOMY, AT_POSITION_ID, AT_NOT_NULL };

/* Ours, and what of the statement's parameters they hold. */
static const struct {
    const char *name, *value;
} ours[] = {
    {"id", "g.id"},     {"position_id", "g.position_id"},   {"asset", "g.asset"},
    {"mode", "g.mode"}, {"snapshot_data", "g.data::jsonb"}, {"created_at", "$7::timestamp"},
};

static const char *const position_fields[] = {
    "size",        "average_entry_price", "current_price",     "unrealized_pnl",     "realized_pnl",
    "fees_paid",   "long_size",           "short_size",        "long_avg_price",     "short_avg_price",
    "version",     "unrealized_pnl_pct",  "time_held_minutes", "position_size_norm", "price_updated_at",
    "price_stale", "last_updated",        "last_snapshot_at",  "opened_at",          "closed_at",
};

static const char *const time_names[] = {"snapshot_timestamp", "snapshot_time", "snapshot_at", "timestamp", "taken_at"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static const char *our_value(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(ours); i++) {
        if (strcmp(ours[i].name, name) == 0)
            return ours[i].value;
    }
    return NULL;
}

/* How a member of snapshot_data becomes a value of this category; NULL: it does not. */
static const char *through_type(char category)
{
    switch (category) {
    case 'N':
        return "::numeric";
    case 'D':
        return "::timestamptz";
    case 'B':
        return "::boolean";
    case 'S':
        return "";
    default:
        return NULL;
    }
}

static enum status refuse(const char *name, const char *type)
{
    LOG_EVENT(LOG_LEVEL_ERROR, "snapshots_table_unusable", NULL, log_text("column", name), log_text("type", type));
    return STATUS_INVALID;
}

/* The columns of an INSERT, and what it selects for them. */
struct lists {
    FILE *names, *values;
    size_t our_count;
};

static void add_start(const struct lists *lists, const char *quoted)
{
    const char *comma = ftell(lists->names) == 0 ? "" : ", ";
    fprintf(lists->names, "%s%s", comma, quoted);
    fputs(comma, lists->values);
}

static enum status add_foreign(const PGresult *result, int row, const struct lists *lists)
{
    const char *name = PQgetvalue(result, row, AT_NAME);
    const char *type = PQgetvalue(result, row, AT_TYPE);
    const char category = PQgetvalue(result, row, AT_CATEGORY)[0];
    const char *filler = PQgetisnull(result, row, AT_FILLER) ? NULL : PQgetvalue(result, row, AT_FILLER);
    const bool is_needed = strcmp(PQgetvalue(result, row, AT_NEEDED), "true") == 0;
    const bool is_roomy = strcmp(PQgetvalue(result, row, AT_ROOMY), "true") == 0;
    const bool is_not_null = strcmp(PQgetvalue(result, row, AT_NOT_NULL), "true") == 0;
    const char *through = through_type(category);
    const bool is_figure = is_among(name, position_fields, COUNT_OF(position_fields)) && through != NULL;
    const bool is_time = category == 'D' && is_among(name, time_names, COUNT_OF(time_names));
    if (is_needed && filler == NULL)
        return refuse(name, type);
    if (is_figure && is_not_null) {
        add_start(lists, PQgetvalue(result, row, AT_QUOTED));
        fprintf(lists->values, "coalesce((g.data::jsonb->>'%s')%s::%s, %s)", name, through, type, filler);
    } else if (is_figure && is_roomy) {
        add_start(lists, PQgetvalue(result, row, AT_QUOTED));
        fprintf(lists->values, "(g.data::jsonb->>'%s')%s::%s", name, through, type);
    } else if (is_needed || is_time) {
        add_start(lists, PQgetvalue(result, row, AT_QUOTED));
        fputs(filler, lists->values);
    }
    return STATUS_OK;
}

static enum status add_columns(const PGresult *result, struct lists *lists)
{
    for (int row = 0; row < PQntuples(result); row++) {
        const char *value = our_value(PQgetvalue(result, row, AT_NAME));
        if (value == NULL) {
            if (add_foreign(result, row, lists) != STATUS_OK)
                return STATUS_INVALID;
            continue;
        }
        lists->our_count++;
        add_start(lists, PQgetvalue(result, row, AT_QUOTED));
        fprintf(lists->values, "%s::%s", value, PQgetvalue(result, row, AT_TYPE));
    }
    return lists->our_count == COUNT_OF(ours) ? STATUS_OK : refuse("(missing)", "");
}

static char *write_statement(const char *names, const char *values, const char *id_type)
{
    char *sql;
    size_t size;
    FILE *out = open_memstream(&sql, &size);
    pm_assert(out != NULL);
    /* A position of which somebody has deleted the row gets no snapshot, and keeps nobody else from one. */
    fprintf(out,
            "WITH given AS (SELECT g.* FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], "
            "$6::text[]) AS g(id, position_id, asset, mode, data, message) "
            "JOIN positions p ON p.id = g.position_id::%s), "
            "kept AS (INSERT INTO position_snapshots (%s) SELECT %s FROM given g) "
            "INSERT INTO position_manager_outbox (snapshot_id, message, trace_id, created_at) "
            "SELECT g.id, g.message, $8::text, $7::timestamp FROM given g",
            id_type, names, values);
    fclose(out);
    return sql;
}

enum status snapshot_sql_open(struct pg_connection *connection, char **out)
{
    PGresult *result;
    enum status status = pg_query(connection, table_query, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    char *names, *values;
    size_t size;
    struct lists lists = {.names = open_memstream(&names, &size), .values = open_memstream(&values, &size)};
    pm_assert(lists.names != NULL && lists.values != NULL);
    status = add_columns(result, &lists);
    fclose(lists.names);
    fclose(lists.values);
    if (status == STATUS_OK)
        *out = write_statement(names, values, PQgetvalue(result, 0, AT_POSITION_ID));
    free(names);
    free(values);
    PQclear(result);
    return status;
}
