/* Market events (contract §3.1): the exchange's own view of a position. */
#include <string.h>

#include "decode_fields.h"
#include "xhash.h"

/* Members looked for. Aliases stand next to each other; the first that is said wins. */
enum { ROOT_EVENT_TYPE, ROOT_TRACE_ID, ROOT_DATA, ROOT_PAYLOAD, ROOT_COUNT };
static const char *const root_names[ROOT_COUNT] = {"event_type", "trace_id", "data", "payload"};

enum {
    INNER_SYMBOL,
    INNER_SIDE = INNER_SYMBOL + 2,
    INNER_SIZE,
    INNER_AVERAGE_PRICE,
    INNER_MARK_PRICE = INNER_AVERAGE_PRICE + 2,
    INNER_UNREALIZED_PNL,
    INNER_REALIZED_PNL = INNER_UNREALIZED_PNL + 2,
    INNER_MODE = INNER_REALIZED_PNL + 4,
    INNER_POSITION_INDEX,
    INNER_TIMESTAMP,
    INNER_TRACE_ID = INNER_TIMESTAMP + 2,
    INNER_COUNT
};
static const char *const inner_names[INNER_COUNT] = {
    [INNER_SYMBOL] = "symbol",
    [INNER_SYMBOL + 1] = "asset",
    [INNER_SIDE] = "side",
    [INNER_SIZE] = "size",
    [INNER_AVERAGE_PRICE] = "avgPrice",
    [INNER_AVERAGE_PRICE + 1] = "entryPrice",
    [INNER_MARK_PRICE] = "markPrice",
    [INNER_UNREALIZED_PNL] = "unrealisedPnl",
    [INNER_UNREALIZED_PNL + 1] = "unrealizedPnl",
    [INNER_REALIZED_PNL] = "realisedPnl",
    [INNER_REALIZED_PNL + 1] = "realizedPnl",
    [INNER_REALIZED_PNL + 2] = "cumRealisedPnl",
    [INNER_REALIZED_PNL + 3] = "cumRealizedPnl",
    [INNER_MODE] = "mode",
    [INNER_POSITION_INDEX] = "positionIdx",
    [INNER_TIMESTAMP] = "timestamp",
    [INNER_TIMESTAMP + 1] = "updatedTime",
    [INNER_TRACE_ID] = "trace_id",
};

/* The inner object, under either of its names; NULL if there is none. */
static const struct json_value *inner_object(const struct json_value root[ROOT_COUNT])
{
    if (root[ROOT_DATA].kind == JSON_OBJECT)
        return &root[ROOT_DATA];
    return root[ROOT_PAYLOAD].kind == JSON_OBJECT ? &root[ROOT_PAYLOAD] : NULL;
}

static enum status check_event_type(struct field field, struct decoded *out)
{
    static const struct word words[] = {{"position", 0}};
    uint8_t meaning;
    if (!field_is_said(field))
        return decoded_refuse(out, STATUS_MISSING_FIELD, field.label);
    return decode_word(field, words, 1, STATUS_WRONG_EVENT_TYPE, out, &meaning);
}

/* Reads a decimal if it is said; else it stays none. */
static enum status optional_decimal(struct field field, enum decimal_excess excess, struct decoded *out,
                                    struct decimal *value)
{
    *value = DECIMAL_NONE;
    return field_is_said(field) ? decode_decimal(field, excess, out, value) : STATUS_OK;
}

/* The same where a value below zero makes no sense. */
static enum status optional_unsigned(struct field field, enum decimal_excess excess, struct decoded *out,
                                     struct decimal *value)
{
    enum status status = optional_decimal(field, excess, out, value);
    if (status == STATUS_OK && !decimal_is_none(*value) && decimal_sign(*value) < 0)
        return decoded_refuse(out, STATUS_NOT_POSITIVE, field.label);
    return status;
}

static enum status read_figures(const struct fields *inner, struct decoded *out)
{
    struct market_event *event = &out->said.market;
    struct field mark_price = fields_pick(inner, INNER_MARK_PRICE, 1);
    enum status status = optional_unsigned(fields_pick(inner, INNER_SIZE, 1), DECIMAL_EXCESS_REFUSE, out, &event->size);
    if (status == STATUS_OK)
        status = optional_unsigned(fields_pick(inner, INNER_AVERAGE_PRICE, 2), DECIMAL_EXCESS_ROUND, out,
                                   &event->average_price);
    if (status == STATUS_OK)
        status = optional_unsigned(mark_price, DECIMAL_EXCESS_ROUND, out, &event->mark_price);
    if (status == STATUS_OK)
        status = optional_decimal(fields_pick(inner, INNER_UNREALIZED_PNL, 2), DECIMAL_EXCESS_ROUND, out,
                                  &event->unrealized_pnl);
    if (status == STATUS_OK)
        status = optional_decimal(fields_pick(inner, INNER_REALIZED_PNL, 4), DECIMAL_EXCESS_ROUND, out,
                                  &event->realized_pnl);
    if (status != STATUS_OK)
        return status;
    /* So exchanges report the average of a flat position; a price of zero is none at all. */
    if (decimal_is_equal(event->average_price, DECIMAL_ZERO))
        event->average_price = DECIMAL_NONE;
    if (decimal_is_equal(event->mark_price, DECIMAL_ZERO))
        return decoded_refuse(out, STATUS_NOT_POSITIVE, mark_price.label);
    return STATUS_OK;
}

/* Mode, side and leg. */
static enum status read_stance(const struct fields *inner, struct decoded *out)
{
    static const struct word sides[] = {{"buy", SIDE_BUY}, {"sell", SIDE_SELL}, {"none", SIDE_NONE}};
    struct market_event *event = &out->said.market;
    enum status status = decode_mode(fields_pick(inner, INNER_MODE, 1), fields_pick(inner, INNER_POSITION_INDEX, 1),
                                     out, &event->mode, &event->leg);
    if (status != STATUS_OK)
        return status;
    struct field side = fields_pick(inner, INNER_SIDE, 1);
    event->side = SIDE_NONE;
    if (field_is_said(side)) {
        status = decode_word(side, sides, sizeof sides / sizeof sides[0], STATUS_BAD_SIDE, out, &event->side);
        if (status != STATUS_OK)
            return status;
    }
    if (event->mode == POSITION_MODE_HEDGE && event->leg == LEG_NONE && event->side != SIDE_NONE)
        event->leg = event->side == SIDE_BUY ? LEG_LONG : LEG_SHORT;
    return STATUS_OK;
}

/* Of what was said, not of how: another spelling of a number or another trace id is still the same event. */
static uint64_t digest(const struct market_event *event)
{
    struct {
        int128 figures[5];
        uint8_t stance[16];
    } said = {{event->size.units, event->average_price.units, event->mark_price.units, event->unrealized_pnl.units,
               event->realized_pnl.units},
              {event->side, event->leg, event->mode}};
    return xhash64(&said, sizeof said);
}

enum status decode_market(const char *body, size_t len, const struct asset_pattern *pattern, struct decoded *out)
{
    struct json_value root_object, root_values[ROOT_COUNT], inner_values[INNER_COUNT];
    enum status status = decode_open(body, len, out, &root_object);
    if (status != STATUS_OK)
        return status;
    json_members(&root_object, root_names, ROOT_COUNT, root_values);
    const struct json_value *object = inner_object(root_values);
    if (object != NULL)
        json_members(object, inner_names, INNER_COUNT, inner_values);
    else
        memset(inner_values, 0, sizeof inner_values);
    struct fields root = {root_values, root_names}, inner = {inner_values, inner_names};

    decode_trace_id(field_or(fields_pick(&root, ROOT_TRACE_ID, 1), fields_pick(&inner, INNER_TRACE_ID, 1)), out);
    /* Read before its turn, so that a dead letter can be told by its asset; it is judged in its turn. */
    enum status asset_status = decode_asset(fields_pick(&inner, INNER_SYMBOL, 2), pattern, out);
    const char *asset_field = out->field;
    out->field = NULL;

    status = check_event_type(fields_pick(&root, ROOT_EVENT_TYPE, 1), out);
    if (status != STATUS_OK)
        return status;
    if (object == NULL)
        return decoded_refuse(out, STATUS_MISSING_FIELD, root_names[ROOT_DATA]);
    if (asset_status != STATUS_OK)
        return decoded_refuse(out, asset_status, asset_field);
    status = read_stance(&inner, out);
    if (status == STATUS_OK)
        status = read_figures(&inner, out);
    if (status != STATUS_OK)
        return status;
    struct field timestamp = fields_pick(&inner, INNER_TIMESTAMP, 2);
    out->said.market.at_us = TIME_NONE;
    if (field_is_said(timestamp)) {
        status = decode_time(timestamp, out, &out->said.market.at_us);
        if (status != STATUS_OK)
            return status;
    }
    out->said.market.digest = digest(&out->said.market);
    return STATUS_OK;
}
