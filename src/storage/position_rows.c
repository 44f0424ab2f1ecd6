/*
 * The columns of `positions`, in the one order in which every statement here names them.
 */
#include "position_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"

enum column_kind { KIND_ID, KIND_TEXT, KIND_MODE, KIND_DECIMAL, KIND_VERSION, KIND_TIME, KIND_WORDS };

struct column {
    const char *name;
    enum column_kind kind;
    bool kept;     /* an update leaves it alone */
    size_t offset; /* of a decimal or a time in struct position */
};

enum {
    COLUMN_ID = 0,
    COLUMN_ASSET = 1,
    COLUMN_MODE = 2,
    COLUMN_VERSION = 13,
    COLUMN_DIGESTS = 22,
    COLUMN_EXPECTED = POSITION_COLUMN_COUNT,
};

#define DECIMAL_COLUMN(field)                                                                                          \
    {                                                                                                                  \
#field, KIND_DECIMAL, false, offsetof(struct position, field)                                                  \
    }
#define TIME_COLUMN(field, leave)                                                                                      \
    {                                                                                                                  \
#field, KIND_TIME, leave, offsetof(struct position, field##_us)                                                \
    }

static const struct column columns[POSITION_COLUMN_COUNT] = {
    {"id", KIND_ID, true, 0},
    {"asset", KIND_TEXT, true, 0},
    {"mode", KIND_MODE, true, 0},
    DECIMAL_COLUMN(size),
    DECIMAL_COLUMN(average_entry_price),
    DECIMAL_COLUMN(current_price),
    DECIMAL_COLUMN(unrealized_pnl),
    DECIMAL_COLUMN(realized_pnl),
    DECIMAL_COLUMN(fees_paid),
    DECIMAL_COLUMN(long_size),
    DECIMAL_COLUMN(short_size),
    DECIMAL_COLUMN(long_avg_price),
    DECIMAL_COLUMN(short_avg_price),
    {"version", KIND_VERSION, false, 0},
    TIME_COLUMN(price_updated_at, false),
    TIME_COLUMN(last_updated, false),
    TIME_COLUMN(last_snapshot_at, false),
    TIME_COLUMN(created_at, true),
    TIME_COLUMN(opened_at, false),
    TIME_COLUMN(closed_at, false),
    TIME_COLUMN(last_execution_at, false),
    TIME_COLUMN(market_event_at, false),
    {"market_event_digests", KIND_WORDS, false, 0},
};

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        if (strcmp(columns[i].name, name) == 0)
            return true;
    }
    return false;
}

/* ---- statements ---- */

static void write_select_list(FILE *out)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        const char *name = columns[i].name;
        const char *comma = i == 0 ? "" : ", ";
        switch (columns[i].kind) {
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
        }
    }
}

/* unnest(...) AS u(...): all parameters as one table. */
static void write_unnest(FILE *out)
{
    fputs("unnest(", out);
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++) {
        const enum column_kind kind = i == COLUMN_EXPECTED ? KIND_VERSION : columns[i].kind;
        const char *type = kind == KIND_ID        ? "uuid"
                           : kind == KIND_DECIMAL ? "numeric"
                           : kind == KIND_VERSION ? "integer"
                           : kind == KIND_TIME    ? "timestamp"
                                                  : "text";
        fprintf(out, "%s$%zu::%s[]", i == 0 ? "" : ", ", i + 1, type);
    }
    fputs(") AS u(", out);
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++)
        fprintf(out, "%s, ", columns[i].name);
    fputs("expected)", out);
}

static void write_value(FILE *out, size_t i)
{
    fprintf(out, columns[i].kind == KIND_WORDS ? "decode(u.%s, 'hex')" : "u.%s", columns[i].name);
}

static void write_update(FILE *out, bool id_is_text)
{
    fputs("UPDATE positions AS p SET ", out);
    const char *comma = "";
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        if (columns[i].kept)
            continue;
        fprintf(out, "%s%s = ", comma, columns[i].name);
        write_value(out, i);
        comma = ", ";
    }
    fputs(" FROM ", out);
    write_unnest(out);
    fprintf(out, " WHERE p.id = u.id%s AND coalesce(p.version::integer, 0) = u.expected", id_is_text ? "::text" : "");
}

/* foreign_names and foreign_values begin with a comma, or are empty. */
static void write_insert(FILE *out, const char *foreign_names, const char *foreign_values)
{
    fputs("INSERT INTO positions (", out);
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", columns[i].name);
    fprintf(out, "%s) SELECT ", foreign_names);
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        fputs(i == 0 ? "" : ", ", out);
        write_value(out, i);
    }
    fprintf(out, "%s FROM ", foreign_values);
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

struct table_shape {
    bool id_is_text;
    size_t ours; /* how many of our columns are there */
    char *foreign_names;
    char *foreign_values;
};

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
    pm_assert(load != NULL && find != NULL && update != NULL && insert != NULL);
    fputs("SELECT ", load);
    write_select_list(load);
    fputs(" FROM positions p", load);
    fputs("SELECT ", find);
    write_select_list(find);
    fputs(", u.ordinal::text FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u(asset, mode, ordinal) "
          "JOIN positions p ON p.asset = u.asset AND coalesce(p.mode::text, 'one-way') = u.mode",
          find);
    write_update(update, shape->id_is_text);
    write_insert(insert, shape->foreign_names, shape->foreign_values);
    fclose(load);
    fclose(find);
    fclose(update);
    fclose(insert);
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
    *sql = (struct position_sql){0};
}

/* ---- position to parameters ---- */

static const void *field_of(const struct position *position, size_t i)
{
    return (const char *)position + columns[i].offset;
}

void position_params_clear(struct position_params *params)
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        pg_array_clear(&params->arrays[i]);
}

void position_params_add(struct position_params *params, const struct position *position, int32_t expected_version)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        struct pg_array *array = &params->arrays[i];
        if (columns[i].kind == KIND_DECIMAL)
            pg_array_decimal(array, *(const struct decimal *)field_of(position, i));
        else if (columns[i].kind == KIND_TIME)
            pg_array_time(array, *(const int64_t *)field_of(position, i));
    }
    pg_array_uuid(&params->arrays[COLUMN_ID], &position->id);
    pg_array_text(&params->arrays[COLUMN_ASSET], position->asset);
    pg_array_text(&params->arrays[COLUMN_MODE], position_mode_word((enum position_mode)position->mode));
    pg_array_int(&params->arrays[COLUMN_VERSION], position->version);
    pg_array_words(&params->arrays[COLUMN_DIGESTS], position->market_digests, position->market_digest_count);
    pg_array_int(&params->arrays[COLUMN_EXPECTED], expected_version);
}

size_t position_params_count(const struct position_params *params)
{
    return params->arrays[0].count;
}

void position_params_finish(struct position_params *params, const char *values[POSITION_PARAM_COUNT])
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        values[i] = pg_array_finish(&params->arrays[i]);
}

void position_params_free(struct position_params *params)
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        pg_array_free(&params->arrays[i]);
}

/* ---- row to position ---- */

static enum status read_int(const char *text, int64_t *out)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return *end == '\0' && end != text ? STATUS_OK : STATUS_INVALID;
}

static enum status read_words(const char *text, size_t len, struct position *out)
{
    if (len % 16 != 0 || len / 16 > MARKET_DIGESTS_MAX)
        return STATUS_INVALID;
    for (size_t i = 0; i < len / 16; i++) {
        char digits[17] = {0};
        memcpy(digits, text + i * 16, 16);
        out->market_digests[i] = strtoull(digits, NULL, 16);
    }
    out->market_digest_count = (uint8_t)(len / 16);
    return STATUS_OK;
}

static enum status read_asset(const char *text, size_t len, struct position *out)
{
    if (len == 0 || len > ASSET_LEN_MAX)
        return STATUS_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || (text[i] >= 'a' && text[i] <= 'z'))
            return STATUS_INVALID;
    }
    memcpy(out->asset, text, len + 1);
    return STATUS_OK;
}

static enum status read_mode(const char *text, size_t len, struct position *out)
{
    enum position_mode mode;
    if (position_mode_parse(text, len, &mode) != STATUS_OK || strcmp(text, position_mode_word(mode)) != 0)
        return STATUS_INVALID;
    out->mode = (uint8_t)mode;
    return STATUS_OK;
}

static enum status read_id(const char *text, size_t len, struct position *out)
{
    char again[UUID_TEXT_LEN];
    if (uuid_parse(text, len, &out->id) != STATUS_OK)
        return STATUS_INVALID;
    /* Where the column is a text, an upper-case identifier would never be found again. */
    uuid_format(&out->id, again);
    return memcmp(again, text, sizeof again) == 0 ? STATUS_OK : STATUS_INVALID;
}

static enum status read_version(const char *text, struct position *out)
{
    int64_t version;
    if (read_int(text, &version) != STATUS_OK || version < 0 || version > INT32_MAX)
        return STATUS_INVALID;
    out->version = (int32_t)version;
    return STATUS_OK;
}

static enum status read_column(size_t i, const char *text, size_t len, bool is_null, struct position *out)
{
    char *field = (char *)out + columns[i].offset;
    switch (columns[i].kind) {
    case KIND_ID:
        return read_id(text, len, out);
    case KIND_TEXT:
        return read_asset(text, len, out);
    case KIND_MODE:
        return read_mode(text, len, out);
    case KIND_VERSION:
        return read_version(text, out);
    case KIND_DECIMAL:
        if (is_null)
            *(struct decimal *)(void *)field = DECIMAL_NONE;
        return is_null ? STATUS_OK : decimal_parse(text, len, DECIMAL_EXCESS_ROUND, (struct decimal *)(void *)field);
    case KIND_TIME:
        if (is_null)
            *(int64_t *)(void *)field = TIME_NONE;
        return is_null ? STATUS_OK : read_int(text, (int64_t *)(void *)field);
    case KIND_WORDS:
        return read_words(text, len, out);
    }
    return STATUS_INVALID;
}

/* An exchange and older services write 0 where there is no average. */
static bool make_average_fit(struct decimal *average, bool is_flat)
{
    if (is_flat || (!decimal_is_none(*average) && average->units == 0))
        *average = DECIMAL_NONE;
    return decimal_is_none(*average) || decimal_sign(*average) > 0;
}

static const char *make_one_way_fit(struct position *position)
{
    position->long_size = position->short_size = DECIMAL_NONE;
    position->long_avg_price = position->short_avg_price = DECIMAL_NONE;
    return make_average_fit(&position->average_entry_price, position->size.units == 0) ? NULL : "average_entry_price";
}

/* The legs are the truth; an older row without legs has the one that its size says. */
static const char *make_hedge_fit(struct position *position)
{
    if (decimal_is_none(position->long_size) && decimal_is_none(position->short_size)) {
        const bool is_long = position->size.units > 0;
        position->long_size = is_long ? position->size : DECIMAL_ZERO;
        position->short_size = is_long ? DECIMAL_ZERO : decimal_negate(position->size);
        *(is_long ? &position->long_avg_price : &position->short_avg_price) = position->average_entry_price;
    }
    position->long_size = decimal_or_zero(position->long_size);
    position->short_size = decimal_or_zero(position->short_size);
    if (decimal_sign(position->long_size) < 0)
        return "long_size";
    if (decimal_sign(position->short_size) < 0)
        return "short_size";
    if (decimal_subtract(position->long_size, position->short_size, &position->size) != STATUS_OK)
        return "size";
    const bool no_long = position->long_size.units == 0;
    const bool no_short = position->short_size.units == 0;
    if (!make_average_fit(&position->long_avg_price, no_long))
        return "long_avg_price";
    if (!make_average_fit(&position->short_avg_price, no_short))
        return "short_avg_price";
    position->average_entry_price = no_long == no_short ? DECIMAL_NONE
                                    : no_short          ? position->long_avg_price
                                                        : position->short_avg_price;
    return NULL;
}

/* Returns the column that cannot be made to fit, or NULL. */
static const char *make_fit(struct position *position)
{
    position->size = decimal_or_zero(position->size);
    position->unrealized_pnl = decimal_or_zero(position->unrealized_pnl);
    position->realized_pnl = decimal_or_zero(position->realized_pnl);
    position->fees_paid = decimal_or_zero(position->fees_paid);
    if (position->created_at_us == TIME_NONE)
        position->created_at_us = position->last_updated_us;
    if (!decimal_is_none(position->current_price)) {
        if (decimal_sign(position->current_price) < 0)
            return "current_price";
        if (position->current_price.units == 0)
            position->current_price = DECIMAL_NONE;
    }
    const char *misfit = position->mode == POSITION_MODE_HEDGE ? make_hedge_fit(position) : make_one_way_fit(position);
    if (position_is_open(position))
        position->closed_at_us = TIME_NONE;
    return misfit;
}

enum status position_from_row(const PGresult *result, int row, struct position *out)
{
    *out = (struct position){0};
    const char *misfit = NULL;
    for (size_t i = 0; i < POSITION_COLUMN_COUNT && misfit == NULL; i++) {
        const int column = (int)i;
        if (read_column(i, PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column),
                        PQgetisnull(result, row, column) == 1, out) != STATUS_OK)
            misfit = columns[i].name;
    }
    if (misfit == NULL)
        misfit = make_fit(out);
    if (misfit == NULL)
        return STATUS_OK;
    LOG_EVENT(LOG_LEVEL_ERROR, "position_row_unusable", NULL, log_text("asset", PQgetvalue(result, row, COLUMN_ASSET)),
              log_text("mode", PQgetvalue(result, row, COLUMN_MODE)), log_text("column", misfit));
    return STATUS_INVALID;
}
