#include "encode.h"

#include <string.h>

/* Fractional digits that are kept even if they are zero (contract §1). */
enum { DIGITS_SIZE = 1, DIGITS_MONEY = 2, DIGITS_RATIO = 2 };

/* The key of an object's first member, and of every further one. */
#define FIRST_KEY(text, name) TEXT_LITERAL((text), "\"" name "\":")
#define NEXT_KEY(text, name)  TEXT_LITERAL((text), ",\"" name "\":")

static void put_word(struct text *text, const char *word)
{
    text_string(text, word, strlen(word));
}

/* -1 is null, as position_time_held_minutes tells it. */
static void put_minutes(struct text *text, int64_t minutes)
{
    if (minutes < 0)
        TEXT_LITERAL(text, "null");
    else
        text_int(text, minutes);
}

bool position_price_is_stale(const struct position *position, int64_t now_us, int64_t staleness_us)
{
    return decimal_is_none(position->current_price) || position->price_updated_at_us == TIME_NONE ||
           now_us - position->price_updated_at_us > staleness_us;
}

static void put_figures(struct text *text, const struct position *position)
{
    NEXT_KEY(text, "size");
    text_decimal(text, position->size, DIGITS_SIZE);
    NEXT_KEY(text, "average_entry_price");
    text_decimal(text, position->average_entry_price, DIGITS_MONEY);
    NEXT_KEY(text, "current_price");
    text_decimal(text, position->current_price, DIGITS_MONEY);
    NEXT_KEY(text, "unrealized_pnl");
    text_decimal(text, position->unrealized_pnl, DIGITS_MONEY);
    NEXT_KEY(text, "realized_pnl");
    text_decimal(text, position->realized_pnl, DIGITS_MONEY);
}

static void put_fees_and_legs(struct text *text, const struct position *position)
{
    NEXT_KEY(text, "fees_paid");
    text_decimal(text, position->fees_paid, DIGITS_MONEY);
    NEXT_KEY(text, "long_size");
    text_decimal(text, position->long_size, DIGITS_SIZE);
    NEXT_KEY(text, "short_size");
    text_decimal(text, position->short_size, DIGITS_SIZE);
    NEXT_KEY(text, "long_avg_price");
    text_decimal(text, position->long_avg_price, DIGITS_MONEY);
    NEXT_KEY(text, "short_avg_price");
    text_decimal(text, position->short_avg_price, DIGITS_MONEY);
}

static void put_derived(struct text *text, const struct position *position, struct decimal size_norm, int64_t now_us)
{
    NEXT_KEY(text, "unrealized_pnl_pct");
    text_decimal(text, position_unrealized_pnl_pct(position), DIGITS_MONEY);
    NEXT_KEY(text, "time_held_minutes");
    put_minutes(text, position_time_held_minutes(position, now_us));
    NEXT_KEY(text, "position_size_norm");
    text_decimal(text, size_norm, DIGITS_RATIO);
    NEXT_KEY(text, "version");
    text_int(text, position->version);
}

static void put_times(struct text *text, const struct position *position, const struct position_context *context)
{
    NEXT_KEY(text, "price_updated_at");
    text_time(text, position->price_updated_at_us);
    NEXT_KEY(text, "price_stale");
    text_bool(text, position_price_is_stale(position, context->now_us, context->staleness_us));
    NEXT_KEY(text, "last_updated");
    text_time(text, position->last_updated_us);
    NEXT_KEY(text, "last_snapshot_at");
    text_time(text, position->last_snapshot_at_us);
    NEXT_KEY(text, "created_at");
    text_time(text, position->created_at_us);
    NEXT_KEY(text, "opened_at");
    text_time(text, position->opened_at_us);
    NEXT_KEY(text, "closed_at");
    text_time(text, position->closed_at_us);
}

void encode_position_members(struct text *text, const struct position *position, const struct position_context *context)
{
    FIRST_KEY(text, "id");
    text_uuid(text, &position->id);
    NEXT_KEY(text, "asset");
    put_word(text, position->asset);
    NEXT_KEY(text, "mode");
    put_word(text, position_mode_word((enum position_mode)position->mode));
    put_figures(text, position);
    put_fees_and_legs(text, position);
    put_derived(text, position, position_size_norm(position, context->total_exposure), context->now_us);
    put_times(text, position, context);
}

void encode_position(struct text *text, const struct position *position, const struct position_context *context)
{
    text_char(text, '{');
    encode_position_members(text, position, context);
    text_char(text, '}');
}

void encode_position_updated(struct text *text, const struct position *position, struct decimal size_norm,
                             const char *source, const char *trace_id, int64_t now_us)
{
    TEXT_LITERAL(text, "{\"event_type\":\"position_updated\"");
    NEXT_KEY(text, "position_id");
    text_uuid(text, &position->id);
    NEXT_KEY(text, "asset");
    put_word(text, position->asset);
    NEXT_KEY(text, "mode");
    put_word(text, position_mode_word((enum position_mode)position->mode));
    put_figures(text, position);
    put_derived(text, position, size_norm, now_us);
    NEXT_KEY(text, "update_source");
    put_word(text, source);
    NEXT_KEY(text, "trace_id");
    put_word(text, trace_id);
    NEXT_KEY(text, "timestamp");
    text_time(text, now_us);
    text_char(text, '}');
}

void encode_portfolio_members(struct text *text, const struct portfolio_totals *totals, bool limit_exceeded)
{
    int128 net_exposure = portfolio_round(totals->net_exposure);
    FIRST_KEY(text, "total_exposure_usdt");
    text_units(text, portfolio_round(totals->exposure), DIGITS_MONEY);
    NEXT_KEY(text, "total_unrealized_pnl_usdt");
    text_units(text, totals->unrealized_pnl, DIGITS_MONEY);
    NEXT_KEY(text, "total_realized_pnl_usdt");
    text_units(text, totals->realized_pnl, DIGITS_MONEY);
    /* Value and net exposure are the same sum (contract §2.4). */
    NEXT_KEY(text, "portfolio_value_usdt");
    text_units(text, net_exposure, DIGITS_MONEY);
    NEXT_KEY(text, "net_exposure_usdt");
    text_units(text, net_exposure, DIGITS_MONEY);
    NEXT_KEY(text, "open_positions_count");
    text_int(text, totals->open);
    NEXT_KEY(text, "long_positions_count");
    text_int(text, totals->longs);
    NEXT_KEY(text, "short_positions_count");
    text_int(text, totals->shorts);
    NEXT_KEY(text, "limit_exceeded");
    text_bool(text, limit_exceeded);
    NEXT_KEY(text, "unpriced_positions_count");
    text_int(text, totals->unpriced);
}

void encode_portfolio_updated(struct text *text, const struct portfolio_totals *totals, bool limit_exceeded,
                              const char *trace_id, int64_t now_us)
{
    TEXT_LITERAL(text, "{\"event_type\":\"portfolio_updated\",");
    encode_portfolio_members(text, totals, limit_exceeded);
    NEXT_KEY(text, "calculated_at");
    text_time(text, now_us);
    NEXT_KEY(text, "trace_id");
    put_word(text, trace_id);
    NEXT_KEY(text, "timestamp");
    text_time(text, now_us);
    text_char(text, '}');
}

void encode_by_asset_member(struct text *text, const char *asset, const struct portfolio_totals *totals,
                            int128 size_units)
{
    put_word(text, asset);
    TEXT_LITERAL(text, ":{");
    FIRST_KEY(text, "exposure_usdt");
    text_units(text, portfolio_round(totals->exposure), DIGITS_MONEY);
    NEXT_KEY(text, "unrealized_pnl_usdt");
    text_units(text, totals->unrealized_pnl, DIGITS_MONEY);
    NEXT_KEY(text, "realized_pnl_usdt");
    text_units(text, totals->realized_pnl, DIGITS_MONEY);
    NEXT_KEY(text, "size");
    text_units(text, size_units, DIGITS_SIZE);
    text_char(text, '}');
}

void encode_snapshot(struct text *text, const struct snapshot_head *head, const char *data, size_t data_len)
{
    text_char(text, '{');
    FIRST_KEY(text, "id");
    text_uuid(text, &head->id);
    NEXT_KEY(text, "position_id");
    text_uuid(text, &head->position_id);
    NEXT_KEY(text, "asset");
    put_word(text, head->asset);
    NEXT_KEY(text, "mode");
    put_word(text, position_mode_word(head->mode));
    NEXT_KEY(text, "snapshot_data");
    text_raw(text, data, data_len);
    NEXT_KEY(text, "created_at");
    text_time(text, head->created_at_us);
    text_char(text, '}');
}

void encode_snapshot_created(struct text *text, const struct snapshot_head *head, const struct position *position,
                             const struct position_context *context, const char *trace_id)
{
    TEXT_LITERAL(text, "{\"event_type\":\"position_snapshot_created\"");
    NEXT_KEY(text, "snapshot_id");
    text_uuid(text, &head->id);
    NEXT_KEY(text, "position_id");
    text_uuid(text, &head->position_id);
    text_char(text, ',');
    encode_position_members(text, position, context);
    NEXT_KEY(text, "snapshot_timestamp");
    text_time(text, head->created_at_us);
    NEXT_KEY(text, "trace_id");
    put_word(text, trace_id);
    NEXT_KEY(text, "timestamp");
    text_time(text, context->now_us);
    text_char(text, '}');
}

static void put_finding(struct text *text, const struct validation_finding *finding, const char *field,
                        unsigned digits_min, bool *is_first)
{
    if (!finding->differs)
        return;
    if (!*is_first)
        text_char(text, ',');
    *is_first = false;
    text_char(text, '{');
    FIRST_KEY(text, "field");
    put_word(text, field);
    NEXT_KEY(text, "stored");
    text_decimal(text, finding->stored, digits_min);
    NEXT_KEY(text, "computed");
    text_decimal(text, finding->computed, digits_min);
    text_char(text, '}');
}

void encode_validation(struct text *text, const struct validation_result *result,
                       const struct position_context *context)
{
    text_char(text, '{');
    FIRST_KEY(text, "is_valid");
    text_bool(text, result->is_valid);
    NEXT_KEY(text, "error_message");
    if (result->error_message == NULL)
        TEXT_LITERAL(text, "null");
    else
        put_word(text, result->error_message);
    NEXT_KEY(text, "discrepancies");
    text_char(text, '[');
    bool is_first = true;
    put_finding(text, &result->size, "size", DIGITS_SIZE, &is_first);
    put_finding(text, &result->average_entry_price, "average_entry_price", DIGITS_MONEY, &is_first);
    text_char(text, ']');
    NEXT_KEY(text, "updated_position");
    if (result->updated_position == NULL)
        TEXT_LITERAL(text, "null");
    else
        encode_position(text, result->updated_position, context);
    text_char(text, '}');
}

void encode_error(struct text *text, const char *error_code, const char *message, const char *trace_id,
                  const char *details)
{
    text_char(text, '{');
    FIRST_KEY(text, "error_code");
    put_word(text, error_code);
    NEXT_KEY(text, "message");
    put_word(text, message);
    NEXT_KEY(text, "trace_id");
    put_word(text, trace_id);
    NEXT_KEY(text, "details");
    if (details != NULL)
        text_raw(text, details, strlen(details));
    else
        TEXT_LITERAL(text, "null");
    text_char(text, '}');
}
