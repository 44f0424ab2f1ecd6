/*
 * The statements for the table that is there.
 */
#include "position_columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"

#define DECIMAL_COLUMN(field) .name = #field, .kind = KIND_DECIMAL, .offset = offsetof(struct position, field)
#define TIME_COLUMN(field, leave)                                                                                      \
    .name = #field, .kind = KIND_TIME, .kept = (leave), .offset = offsetof(struct position, field##_us)

const struct column position_columns[POSITION_COLUMN_COUNT] = {
    {"id", KIND_ID, true, 0},
    {"asset", KIND_TEXT, true, 0},
    {"mode", KIND_MODE, true, 0},
    {DECIMAL_COLUMN(size)},
    {DECIMAL_COLUMN(average_entry_price)},
    {DECIMAL_COLUMN(current_price)},
    {DECIMAL_COLUMN(unrealized_pnl)},
    {DECIMAL_COLUMN(realized_pnl)},
    {DECIMAL_COLUMN(fees_paid)},
    {DECIMAL_COLUMN(long_size)},
    {DECIMAL_COLUMN(short_size)},
    {DECIMAL_COLUMN(long_avg_price)},
    {DECIMAL_COLUMN(short_avg_price)},
    {"version", KIND_VERSION, false, 0},
    {TIME_COLUMN(price_updated_at, false)},
    {TIME_COLUMN(last_updated, false)},
    {TIME_COLUMN(last_snapshot_at, false)},
    {TIME_COLUMN(created_at, true)},
    {TIME_COLUMN(opened_at, false)},
    {TIME_COLUMN(closed_at, false)},
    {TIME_COLUMN(last_execution_at, false)},
    {TIME_COLUMN(market_event_at, false)},
    {"market_event_digests", KIND_WORDS, false, 0},
    {"announcement_due", KIND_FLAG, false, 0},
};

struct table_shape {
    bool id_is_text;
    const char *mode_type;
    size_t ours; /* how many of our columns are there */
    char *foreign_names;
    char *foreign_values;
};

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        if (strcmp(position_columns[i].name, name) == 0)
            return true;
    }
    return false;
}

static void write_select_list(FILE *out)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        const char *name = position_columns[i].name;
        const char *comma = i == 0 ? "" : ", ";
        switch (position_columns[i].kind) {
        case KIND_ID:
        case KIND_TEXT:
            fprintf(out, "%sp.%s::text", comma, name);
            break;
        case KIND_MODE:
            fprintf(out, "%scoalesce(p.%s::text, 'one-way')", comma, name);
            break;
        case KIND_DECIMAL:
            fprintf(out, "%sp.%s::numeric::text", comma, name);
            break;
        case KIND_VERSION:
            fprintf(out, "%scoalesce(p.%s::integer, 0)::text", comma, name);
            break;
        case KIND_TIME:
            /* Right for timestamp (taken as UTC) and for timestamptz alike; infinity is no time. */
            fprintf(out, "%sCASE WHEN isfinite(p.%s) THEN (extract(epoch FROM p.%s) * 1000000)::bigint::text END",
                    comma, name, name);
            break;
        case KIND_WORDS:
            fprintf(out, "%sencode(p.%s, 'hex')", comma, name);
            break;
        case KIND_FLAG:
            fprintf(out, "%scoalesce(p.%s, false)::integer::text", comma, name);
            break;
        }
    }
}

/*
 * All parameters as one table u. As a list of the SELECT and not of its FROM, where the server would keep a copy of
 * each array for itself.
 */
static void write_unnest(FILE *out)
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++) {
        const enum column_kind kind = i == COLUMN_EXPECTED ? KIND_VERSION : position_columns[i].kind;
        const char *name = i == COLUMN_EXPECTED ? "expected" : position_columns[i].name;
        const char *type = kind == KIND_ID        ? "uuid"
                           : kind == KIND_DECIMAL ? "numeric"
                           : kind == KIND_VERSION ? "integer"
                           : kind == KIND_TIME    ? "timestamp"
                           : kind == KIND_FLAG    ? "integer"
                                                  : "text";
        fprintf(out, "%sunnest($%zu::%s[]) AS %s", i == 0 ? "(SELECT " : ", ", i + 1, type, name);
    }
    fputs(") AS u", out);
}

static void write_value(FILE *out, size_t i)
{
    const char *form = position_columns[i].kind == KIND_WORDS  ? "decode(u.%s, 'hex')"
                       : position_columns[i].kind == KIND_FLAG ? "u.%s <> 0"
                                                               : "u.%s";
    const char *percent = strchr(form, '%');
    fprintf(out, "%.*s%s%s", (int)(percent - form), form, position_columns[i].name, percent + 2);
}

static void write_update(FILE *out, bool id_is_text)
{
    fputs("UPDATE positions AS p SET ", out);
    const char *comma = "";
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        if (position_columns[i].kept)
            continue;
        fprintf(out, "%s%s = ", comma, position_columns[i].name);
        write_value(out, i);
        comma = ", ";
    }
    fputs(" FROM ", out);
    write_unnest(out);
    fprintf(out, " WHERE p.id = u.id%s AND coalesce(p.version::integer, 0) = u.expected", id_is_text ? "::text" : "");
}

/* Others' part begins with a comma, or is empty. A mode that is an enumeration takes no text without being told. */
static void write_insert(FILE *out, const struct table_shape *shape)
{
    fputs("INSERT INTO positions (", out);
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", position_columns[i].name);
    fprintf(out, "%s) SELECT ", shape->foreign_names);
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        fputs(i == 0 ? "" : ", ", out);
        write_value(out, i);
        if (i == COLUMN_MODE)
            fprintf(out, "::%s", shape->mode_type);
    }
    fprintf(out, "%s FROM ", shape->foreign_values);
    write_unnest(out);
    /* Without a target: whichever unique index an older table has, a row that is in the way is a conflict, not a
     * failure. */
    fputs(" ON CONFLICT DO NOTHING", out);
}

/* Others' columns that must not be null and have no default, and the type of ours. */
static const char table_query[] =
    "SELECT a.attname, quote_ident(a.attname), format_type(a.atttypid, NULL), "
    "CASE WHEN t.typname IN ('json', 'jsonb') THEN '''{}''::' || t.typname "
    "WHEN t.typname = 'uuid' THEN 'gen_random_uuid()' "
    "WHEN t.typname = 'bytea' THEN '''''::bytea' "
    "WHEN t.typcategory = 'N' THEN '0::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'S' THEN '''''::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'B' THEN 'false' "
    "WHEN t.typcategory = 'D' THEN 'now()::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'T' THEN '''0''::interval' "
    "WHEN t.typcategory = 'A' THEN '''{}''::' || format_type(a.atttypid, NULL) "
    "WHEN t.typcategory = 'E' THEN '(enum_range(NULL::' || format_type(a.atttypid, NULL) || '))[1]' END, "
    "(a.attnotnull OR t.typnotnull) AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' "
    "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = to_regclass('positions') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

static enum status refuse_column(const char *name, const char *type)
{
    LOG_EVENT(LOG_LEVEL_ERROR, "positions_table_unusable", NULL, log_text("column", name), log_text("type", type));
    return STATUS_INVALID;
}

static enum status read_id_type(const char *type, bool *is_text)
{
    *is_text = strcmp(type, "text") == 0 || strncmp(type, "character", 9) == 0;
    return *is_text || strcmp(type, "uuid") == 0 ? STATUS_OK : refuse_column("id", type);
}

static enum status read_shape_rows(const PGresult *result, struct table_shape *shape, FILE *names, FILE *values)
{
    for (int row = 0; row < PQntuples(result); row++) {
        const char *name = PQgetvalue(result, row, 0);
        const char *type = PQgetvalue(result, row, 2);
        if (is_ours(name)) {
            shape->ours++;
            if (strcmp(name, "id") == 0 && read_id_type(type, &shape->id_is_text) != STATUS_OK)
                return STATUS_INVALID;
            if (strcmp(name, "mode") == 0)
                shape->mode_type = type;
            continue;
        }
        if (PQgetvalue(result, row, 4)[0] != 't')
            continue;
        if (PQgetisnull(result, row, 3))
            return refuse_column(name, type);
        fprintf(names, ", %s", PQgetvalue(result, row, 1));
        fprintf(values, ", %s", PQgetvalue(result, row, 3));
    }
    return shape->ours == POSITION_COLUMN_COUNT ? STATUS_OK : refuse_column("(missing)", "");
}

static enum status read_shape(const PGresult *result, struct table_shape *shape)
{
    size_t size;
    FILE *names = open_memstream(&shape->foreign_names, &size);
    FILE *values = open_memstream(&shape->foreign_values, &size);
    pm_assert(names != NULL && values != NULL);
    const enum status status = read_shape_rows(result, shape, names, values);
    fclose(names);
    fclose(values);
    return status;
}

static void write_statements(const struct table_shape *shape, struct position_sql *sql)
{
    size_t size;
    FILE *load = open_memstream(&sql->load, &size);
    FILE *find = open_memstream(&sql->find, &size);
    FILE *update = open_memstream(&sql->update, &size);
    FILE *insert = open_memstream(&sql->insert, &size);
    FILE *confirm = open_memstream(&sql->confirm, &size);
    pm_assert(load != NULL && find != NULL && update != NULL && insert != NULL && confirm != NULL);
    fputs("SELECT ", load);
    write_select_list(load);
    fputs(" FROM positions p", load);
    fputs("SELECT ", find);
    write_select_list(find);
    fputs(", u.ordinal::text FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(asset, mode, ordinal) "
          "JOIN positions p ON p.asset = u.asset AND coalesce(p.mode::text, 'one-way') = u.mode",
          find);
    write_update(update, shape->id_is_text);
    write_insert(insert, shape);
    fprintf(confirm,
            "SELECT count(*) FROM unnest($1::uuid[], $2::integer[]) AS u(id, version) "
            "JOIN positions p ON p.id = u.id%s AND coalesce(p.version::integer, 0) >= u.version",
            shape->id_is_text ? "::text" : "");
    fclose(load);
    fclose(find);
    fclose(update);
    fclose(insert);
    fclose(confirm);
}

enum status position_sql_open(struct pg_connection *connection, struct position_sql *out)
{
    PGresult *result;
    enum status status = pg_query(connection, table_query, 0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    struct table_shape shape = {0};
    status = read_shape(result, &shape);
    if (status == STATUS_OK)
        write_statements(&shape, out);
    free(shape.foreign_names);
    free(shape.foreign_values);
    PQclear(result);
    return status;
}

void position_sql_close(struct position_sql *sql)
{
    free(sql->load);
    free(sql->find);
    free(sql->update);
    free(sql->insert);
    free(sql->confirm);
    *sql = (struct position_sql){0};
}
