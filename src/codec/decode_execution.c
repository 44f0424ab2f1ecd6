/*
 * Order executions (contract §3.2), flat and nested. Both shapes are brought to one set of fields (struct places), and
 * from there on read by the same functions.
 */
#include <string.h>

#include "decode_fields.h"
#include "identity.h"

/* Members looked for. Aliases stand next to each other; the first that is said wins. */
#define ROOT_FIELDS(FIELD)                                                                                             \
    FIELD(EVENT_TYPE, "event_type")                                                                                    \
    FIELD(ORDER, "order")                                                                                              \
    FIELD(TRACE_ID, "trace_id")                                                                                        \
    FIELD(EXECUTION_ID, "execution_id")                                                                                \
    FIELD(EVENT_ID, "event_id")                                                                                        \
    FIELD(ORDER_ID, "order_id")                                                                                        \
    FIELD(ASSET, "asset")                                                                                              \
    FIELD(ASSET_2, "symbol")                                                                                           \
    FIELD(SIDE, "side")                                                                                                \
    FIELD(QUANTITY, "execution_quantity")                                                                              \
    FIELD(QUANTITY_2, "filled_quantity")                                                                               \
    FIELD(QUANTITY_3, "filled_qty")                                                                                    \
    FIELD(PRICE, "execution_price")                                                                                    \
    FIELD(PRICE_2, "price")                                                                                            \
    FIELD(FEES, "execution_fees")                                                                                      \
    FIELD(FEES_2, "fees")                                                                                              \
    FIELD(MODE, "mode")                                                                                                \
    FIELD(POSITION_SIDE, "position_side")                                                                              \
    FIELD(POSITION_INDEX, "positionIdx")                                                                               \
    FIELD(REDUCE_ONLY, "reduce_only")                                                                                  \
    FIELD(IS_DRY_RUN, "is_dry_run")                                                                                    \
    FIELD(EXECUTED_AT, "executed_at")                                                                                  \
    FIELD(EXECUTED_AT_2, "timestamp")

#define ORDER_FIELDS(FIELD)                                                                                            \
    FIELD(TRACE_ID, "trace_id")                                                                                        \
    FIELD(EXECUTION_ID, "execution_id")                                                                                \
    FIELD(EVENT_ID, "event_id")                                                                                        \
    FIELD(ORDER_ID, "order_id")                                                                                        \
    FIELD(ASSET, "asset")                                                                                              \
    FIELD(ASSET_2, "symbol")                                                                                           \
    FIELD(SIDE, "side")                                                                                                \
    FIELD(QUANTITY, "filled_quantity")                                                                                 \
    FIELD(PRICE, "average_price")                                                                                      \
    FIELD(FEES, "fees")                                                                                                \
    FIELD(MODE, "mode")                                                                                                \
    FIELD(POSITION_SIDE, "position_side")                                                                              \
    FIELD(POSITION_INDEX, "positionIdx")                                                                               \
    FIELD(REDUCE_ONLY, "reduce_only")                                                                                  \
    FIELD(IS_DRY_RUN, "is_dry_run")                                                                                    \
    FIELD(EXECUTED_AT, "executed_at")

#define ROOT_INDEX(id, name)  ROOT_##id,
#define ORDER_INDEX(id, name) ORDER_##id,
#define NAME(id, name)        name,

enum { ROOT_FIELDS(ROOT_INDEX) ROOT_COUNT };
enum { ORDER_FIELDS(ORDER_INDEX) ORDER_COUNT };
static const char *const root_names[ROOT_COUNT] = {ROOT_FIELDS(NAME)};
static const char *const order_names[ORDER_COUNT] = {ORDER_FIELDS(NAME)};

/* What json_members found; the places point into it. */
struct members {
    struct json_value root[ROOT_COUNT];
    struct json_value order[ORDER_COUNT];
};

/* Where the parts of an execution stand in this message. */
struct places {
    struct field event_type, order, trace_id, execution_id, event_id, order_id, asset, side, quantity, price, fees,
        mode, position_side, position_index, reduce_only, executed_at;
    struct field is_dry_run, is_dry_run_outside; /* the order's own, and what stands beside a nested order */
    bool is_nested;
};

/* What an event_type means for a nested message. */
enum { EVENT_FILL, EVENT_NO_FILL };

/* Order states of common exchanges and of FIX that by themselves fill nothing. What is not listed is refused, lest a
 * fill be lost. */
static const struct word nested_event_types[] = {
    {"filled", EVENT_FILL},
    {"partially_filled", EVENT_FILL},
    {"created", EVENT_NO_FILL},
    {"cancelled", EVENT_NO_FILL},
    {"canceled", EVENT_NO_FILL},
    {"modified", EVENT_NO_FILL},
    {"amended", EVENT_NO_FILL},
    {"replaced", EVENT_NO_FILL},
    {"rejected", EVENT_NO_FILL},
    {"expired", EVENT_NO_FILL},
    {"new", EVENT_NO_FILL},
    {"pending", EVENT_NO_FILL},
    {"pending_new", EVENT_NO_FILL},
    {"pending_cancel", EVENT_NO_FILL},
    {"pending_replace", EVENT_NO_FILL},
    {"placed", EVENT_NO_FILL},
    {"open", EVENT_NO_FILL},
    {"opened", EVENT_NO_FILL},
    {"active", EVENT_NO_FILL},
    {"submitted", EVENT_NO_FILL},
    {"accepted", EVENT_NO_FILL},
    {"acknowledged", EVENT_NO_FILL},
    {"triggered", EVENT_NO_FILL},
    {"untriggered", EVENT_NO_FILL},
    {"deactivated", EVENT_NO_FILL},
    {"suspended", EVENT_NO_FILL},
    {"failed", EVENT_NO_FILL},
    {"cancel_rejected", EVENT_NO_FILL},
    {"modify_rejected", EVENT_NO_FILL},
    {"amend_rejected", EVENT_NO_FILL},
    {"replace_rejected", EVENT_NO_FILL},
};
static const struct word flat_event_types[] = {
    {"order_executed", EVENT_FILL},
    {"position_updated_from_order", EVENT_FILL},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void places_of_flat(const struct fields *root, struct places *places)
{
    *places = (struct places){
        .trace_id = fields_pick(root, ROOT_TRACE_ID, 1),
        .execution_id = fields_pick(root, ROOT_EXECUTION_ID, 1),
        .event_id = fields_pick(root, ROOT_EVENT_ID, 1),
        .order_id = fields_pick(root, ROOT_ORDER_ID, 1),
        .asset = fields_pick(root, ROOT_ASSET, 2),
        .side = fields_pick(root, ROOT_SIDE, 1),
        .quantity = fields_pick(root, ROOT_QUANTITY, 3),
        .price = fields_pick(root, ROOT_PRICE, 2),
        .fees = fields_pick(root, ROOT_FEES, 2),
        .mode = fields_pick(root, ROOT_MODE, 1),
        .position_side = fields_pick(root, ROOT_POSITION_SIDE, 1),
        .position_index = fields_pick(root, ROOT_POSITION_INDEX, 1),
        .reduce_only = fields_pick(root, ROOT_REDUCE_ONLY, 1),
        .executed_at = fields_pick(root, ROOT_EXECUTED_AT, 2),
        .is_dry_run = fields_pick(root, ROOT_IS_DRY_RUN, 1),
        .is_dry_run_outside = fields_pick(root, ROOT_IS_DRY_RUN, 1),
        .is_nested = false,
    };
}

/* The order says what was filled; what is about the message, or about the position, may stand in either place. */
static void places_of_nested(const struct fields *root, const struct fields *order, struct places *places)
{
    *places = (struct places){
        .trace_id = field_or(fields_pick(root, ROOT_TRACE_ID, 1), fields_pick(order, ORDER_TRACE_ID, 1)),
        .execution_id = field_or(fields_pick(root, ROOT_EXECUTION_ID, 1), fields_pick(order, ORDER_EXECUTION_ID, 1)),
        .event_id = field_or(fields_pick(root, ROOT_EVENT_ID, 1), fields_pick(order, ORDER_EVENT_ID, 1)),
        .order_id = fields_pick(order, ORDER_ORDER_ID, 1),
        .asset = fields_pick(order, ORDER_ASSET, 2),
        .side = fields_pick(order, ORDER_SIDE, 1),
        .quantity = fields_pick(order, ORDER_QUANTITY, 1),
        .price = fields_pick(order, ORDER_PRICE, 1),
        .fees = fields_pick(order, ORDER_FEES, 1),
        .mode = field_or(fields_pick(order, ORDER_MODE, 1), fields_pick(root, ROOT_MODE, 1)),
        .position_side = field_or(fields_pick(order, ORDER_POSITION_SIDE, 1), fields_pick(root, ROOT_POSITION_SIDE, 1)),
        .position_index =
            field_or(fields_pick(order, ORDER_POSITION_INDEX, 1), fields_pick(root, ROOT_POSITION_INDEX, 1)),
        .reduce_only = field_or(fields_pick(order, ORDER_REDUCE_ONLY, 1), fields_pick(root, ROOT_REDUCE_ONLY, 1)),
        .executed_at = field_or(fields_pick(order, ORDER_EXECUTED_AT, 1), fields_pick(root, ROOT_EXECUTED_AT_2, 1)),
        .is_dry_run = fields_pick(order, ORDER_IS_DRY_RUN, 1),
        .is_dry_run_outside = fields_pick(root, ROOT_IS_DRY_RUN, 1),
        .is_nested = true,
    };
}

/* Fails: STATUS_MISSING_FIELD, STATUS_WRONG_EVENT_TYPE; STATUS_IGNORED for a state that fills nothing. */
static enum status check_event_type(struct field field, bool is_nested, struct decoded *out)
{
    if (!field_is_said(field))
        return decoded_refuse(out, STATUS_MISSING_FIELD, field.label);
    uint8_t meaning = EVENT_FILL;
    const struct word *words = is_nested ? nested_event_types : flat_event_types;
    size_t count = is_nested ? COUNT_OF(nested_event_types) : COUNT_OF(flat_event_types);
    enum status status = decode_word(field, words, count, STATUS_WRONG_EVENT_TYPE, out, &meaning);
    if (status == STATUS_OK && meaning == EVENT_NO_FILL)
        return STATUS_IGNORED;
    return status;
}

/* Dry runs are ignored. Whether it is one has to be legible: else a trial would be counted, or a fill be lost. */
static enum status check_dry_run(const struct places *places, struct decoded *out)
{
    bool is_dry_run, outside;
    enum status status = decode_flag(places->is_dry_run, STATUS_WRONG_EVENT_TYPE, out, &is_dry_run);
    if (status == STATUS_OK)
        status = decode_flag(places->is_dry_run_outside, STATUS_WRONG_EVENT_TYPE, out, &outside);
    if (status != STATUS_OK)
        return status;
    return is_dry_run || outside ? STATUS_IGNORED : STATUS_OK;
}

/* All that is required is there; only then are values looked at. A cumulative price is required by its quantity. */
static enum status check_required(const struct places *places, struct decoded *out)
{
    const struct field required[] = {places->asset, places->side, places->quantity, places->price};
    size_t count = COUNT_OF(required) - (places->is_nested ? 1 : 0);
    if (places->is_nested && !field_is_id(places->order_id))
        return decoded_refuse(out, STATUS_MISSING_FIELD, places->order_id.label);
    for (size_t i = 0; i < count; i++) {
        if (!field_is_said(required[i]))
            return decoded_refuse(out, STATUS_MISSING_FIELD, required[i].label);
    }
    return STATUS_OK;
}

/* Mode, side, leg and reduce_only. */
static enum status read_stance(const struct places *places, struct decoded *out)
{
    static const struct word sides[] = {{"buy", SIDE_BUY}, {"sell", SIDE_SELL}};
    static const struct word legs[] = {{"long", LEG_LONG},  {"buy", LEG_LONG},  {"short", LEG_SHORT},
                                       {"sell", LEG_SHORT}, {"both", LEG_NONE}, {"net", LEG_NONE}};
    struct execution *execution = &out->said.execution;
    enum status status = decode_mode(places->mode, places->position_index, out, &execution->mode, &execution->leg);
    if (status != STATUS_OK)
        return status;
    status = decode_word(places->side, sides, COUNT_OF(sides), STATUS_BAD_SIDE, out, &execution->side);
    if (status != STATUS_OK)
        return status;
    if (field_is_said(places->position_side)) {
        uint8_t leg = LEG_NONE;
        status = decode_word(places->position_side, legs, COUNT_OF(legs), STATUS_BAD_SIDE, out, &leg);
        if (status != STATUS_OK)
            return status;
        /* The word is clearer than the index; one-way positions have no legs. */
        if (leg != LEG_NONE && execution->mode == POSITION_MODE_HEDGE)
            execution->leg = leg;
    }
    return decode_flag(places->reduce_only, STATUS_BAD_SIDE, out, &execution->reduce_only);
}

/* An order's total may still be zero, and then has no price; an execution of its own has both. */
static enum status read_price(const struct places *places, struct decoded *out)
{
    struct execution *execution = &out->said.execution;
    bool needs_price = decimal_sign(execution->quantity) > 0;
    execution->price = DECIMAL_ZERO;
    if (!field_is_said(places->price))
        return needs_price ? decoded_refuse(out, STATUS_MISSING_FIELD, places->price.label) : STATUS_OK;
    enum status status = decode_decimal(places->price, places->is_nested ? DECIMAL_EXCESS_ROUND : DECIMAL_EXCESS_REFUSE,
                                        out, &execution->price);
    if (status != STATUS_OK)
        return status;
    int sign = decimal_sign(execution->price);
    if (sign < 0 || (sign == 0 && needs_price))
        return decoded_refuse(out, STATUS_NOT_POSITIVE, places->price.label);
    return STATUS_OK;
}

/* Quantity, price and fees. */
static enum status read_figures(const struct places *places, struct decoded *out)
{
    struct execution *execution = &out->said.execution;
    enum status status = decode_decimal(places->quantity, DECIMAL_EXCESS_REFUSE, out, &execution->quantity);
    if (status != STATUS_OK)
        return status;
    int sign = decimal_sign(execution->quantity);
    if (sign < 0 || (sign == 0 && !places->is_nested))
        return decoded_refuse(out, STATUS_NOT_POSITIVE, places->quantity.label);
    status = read_price(places, out);
    if (status != STATUS_OK)
        return status;
    /* A total that is not said says nothing of the fees so far; an incremental one is none. */
    execution->fees = places->is_nested ? DECIMAL_NONE : DECIMAL_ZERO;
    return field_is_said(places->fees) ? decode_decimal(places->fees, DECIMAL_EXCESS_ROUND, out, &execution->fees)
                                       : STATUS_OK;
}

/* The order's key and the identity, by the first of the four that is there (contract §3.3). */
static void name_execution(const struct places *places, const struct json_value *message_id, const char *body,
                           size_t len, struct decoded *out)
{
    if (field_is_id(places->order_id))
        identity_put("", places->order_id.value, out->order_key, sizeof out->order_key);
    if (field_is_id(places->execution_id))
        identity_put("x:", places->execution_id.value, out->identity, sizeof out->identity);
    else if (field_is_id(places->event_id))
        identity_put("e:", places->event_id.value, out->identity, sizeof out->identity);
    else if (message_id->len > 0)
        identity_put("m:", message_id, out->identity, sizeof out->identity);
    else if (out->order_key[0] != '\0' || out->trace_id[0] != '\0')
        identity_put_digest(body, len, out->identity);
}

/* Everything behind the shape and the event_type. */
static enum status read_execution(const struct places *places, int64_t arrival_us, struct decoded *out)
{
    struct execution *execution = &out->said.execution;
    execution->cumulative = places->is_nested;
    execution->executed_at_us = arrival_us;
    enum status status = read_stance(places, out);
    if (status == STATUS_OK)
        status = read_figures(places, out);
    if (status == STATUS_OK && field_is_said(places->executed_at))
        status = decode_time(places->executed_at, out, &execution->executed_at_us);
    return status;
}

/* Finds the members of the message, of its order if it has one, and with them the places. */
static void find_places(const struct json_value *message, struct members *members, struct places *places)
{
    json_members(message, root_names, ROOT_COUNT, members->root);
    struct fields root = {members->root, root_names}, order = {members->order, order_names};
    struct field order_field = fields_pick(&root, ROOT_ORDER, 1);
    if (order_field.value->kind == JSON_OBJECT)
        json_members(order_field.value, order_names, ORDER_COUNT, members->order);
    else
        memset(members->order, 0, sizeof members->order);
    if (field_is_said(order_field))
        places_of_nested(&root, &order, places);
    else
        places_of_flat(&root, places);
    places->event_type = fields_pick(&root, ROOT_EVENT_TYPE, 1);
    places->order = order_field;
}

enum status decode_execution(const char *body, size_t len, const char *message_id, size_t message_id_len,
                             int64_t arrival_us, const struct asset_pattern *pattern, struct decoded *out)
{
    struct json_value message;
    struct members members;
    struct places places;
    enum status status = decode_open(body, len, out, &message);
    if (status != STATUS_OK)
        return status;
    find_places(&message, &members, &places);

    decode_trace_id(places.trace_id, out);
    /* Read before its turn, so that a dead letter can be told by its asset; it is judged in its turn. */
    enum status asset_status = decode_asset(places.asset, pattern, out);
    const char *asset_field = out->field;
    out->field = NULL;

    status = check_event_type(places.event_type, places.is_nested, out);
    if (status != STATUS_OK)
        return status;
    if (places.is_nested && places.order.value->kind != JSON_OBJECT)
        return decoded_refuse(out, STATUS_MISSING_FIELD, places.order.label);
    status = check_dry_run(&places, out);
    if (status == STATUS_OK)
        status = check_required(&places, out);
    if (status != STATUS_OK)
        return status;
    if (asset_status != STATUS_OK)
        return decoded_refuse(out, asset_status, asset_field);
    status = read_execution(&places, arrival_us, out);
    if (status != STATUS_OK)
        return status;
    struct json_value message_value = {JSON_STRING, false, message_id, message_id != NULL ? message_id_len : 0};
    name_execution(&places, &message_value, body, len, out);
    out->fingerprint = identity_fingerprint(out);
    return STATUS_OK;
}
