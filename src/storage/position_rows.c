/*
 * Positions to parameters, and rows to positions.
 */
#include "position_columns.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

/* ---- position to parameters ---- */

static const void *field_of(const struct position *position, size_t i)
{
    return (const char *)position + position_columns[i].offset;
}

/* As position_sql.c declares the parameters. */
static enum binary_type type_of(size_t i)
{
    switch (i == COLUMN_EXPECTED ? KIND_VERSION : position_columns[i].kind) {
    case KIND_ID:
        return BINARY_UUID;
    case KIND_DECIMAL:
        return BINARY_NUMERIC;
    case KIND_VERSION:
    case KIND_FLAG:
        return BINARY_INT4;
    case KIND_TIME:
        return BINARY_TIMESTAMP;
    case KIND_TEXT:
    case KIND_MODE:
    case KIND_WORDS:
        break;
    }
    return BINARY_TEXT;
}

void position_params_clear(struct position_params *params)
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        binary_array_clear(&params->arrays[i], type_of(i));
}

void position_params_add(struct position_params *params, const struct position *position, int32_t expected_version)
{
    for (size_t i = 0; i < POSITION_COLUMN_COUNT; i++) {
        struct binary_array *array = &params->arrays[i];
        if (position_columns[i].kind == KIND_DECIMAL)
            binary_array_decimal(array, *(const struct decimal *)field_of(position, i));
        else if (position_columns[i].kind == KIND_TIME)
            binary_array_time(array, *(const int64_t *)field_of(position, i));
    }
    binary_array_uuid(&params->arrays[COLUMN_ID], &position->id);
    binary_array_text(&params->arrays[COLUMN_ASSET], position->asset);
    binary_array_text(&params->arrays[COLUMN_MODE], position_mode_word((enum position_mode)position->mode));
    binary_array_int(&params->arrays[COLUMN_VERSION], position->version);
    binary_array_words(&params->arrays[COLUMN_DIGESTS], position->market_digests, position->market_digest_count);
    binary_array_int(&params->arrays[COLUMN_ANNOUNCEMENT_DUE], position->announcement_due);
    binary_array_int(&params->arrays[COLUMN_EXPECTED], expected_version);
}

size_t position_params_count(const struct position_params *params)
{
    return params->arrays[0].count;
}

void position_params_finish(struct position_params *params, struct pg_param values[POSITION_PARAM_COUNT])
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        values[i] = binary_array_param(&params->arrays[i]);
}

void position_params_for_confirm(struct position_params *params, struct pg_param values[2])
{
    values[0] = binary_array_param(&params->arrays[COLUMN_ID]);
    values[1] = binary_array_param(&params->arrays[COLUMN_VERSION]);
}

void position_params_free(struct position_params *params)
{
    for (size_t i = 0; i < POSITION_PARAM_COUNT; i++)
        binary_array_free(&params->arrays[i]);
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
    char *field = (char *)out + position_columns[i].offset;
    switch (position_columns[i].kind) {
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
    case KIND_FLAG:
        out->announcement_due = text[0] == '1';
        return STATUS_OK;
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
            misfit = position_columns[i].name;
    }
    if (misfit == NULL)
        misfit = make_fit(out);
    if (misfit == NULL)
        return STATUS_OK;
    LOG_EVENT(LOG_LEVEL_ERROR, "position_row_unusable", NULL, log_text("asset", PQgetvalue(result, row, COLUMN_ASSET)),
              log_text("mode", PQgetvalue(result, row, COLUMN_MODE)), log_text("column", misfit));
    const bool is_ours = misfit != position_columns[COLUMN_ASSET].name && misfit != position_columns[COLUMN_MODE].name;
    return is_ours ? STATUS_INVALID : STATUS_NOT_FOUND;
}
