#include <string.h>

#include "decode.h"
#include "fuzz.h"
#include "utf8.h"

#define ARRIVAL_US INT64_C(1800000000000000)

static const struct asset_pattern pattern = {.is_default = true};

static void check_texts(const struct decoded *out, const uint8_t *data, size_t len)
{
    size_t asset_len = strnlen(out->asset, sizeof out->asset), trace_len = strnlen(out->trace_id, sizeof out->trace_id);
    size_t identity_len = strnlen(out->identity, sizeof out->identity);
    size_t order_len = strnlen(out->order_key, sizeof out->order_key);
    char asset[ASSET_LEN_MAX + 1];
    fuzz_expect(asset_len < sizeof out->asset && trace_len < sizeof out->trace_id, data, len);
    fuzz_expect(identity_len < sizeof out->identity && order_len < sizeof out->order_key, data, len);
    fuzz_expect(utf8_is_plain(out->trace_id, trace_len), data, len);
    fuzz_expect(utf8_is_plain(out->identity, identity_len), data, len);
    fuzz_expect(utf8_is_plain(out->order_key, order_len), data, len);
    fuzz_expect(asset_len == 0 || asset_parse(&pattern, out->asset, asset_len, asset) == STATUS_OK, data, len);
    fuzz_expect(asset_len == 0 || strcmp(asset, out->asset) == 0, data, len);
}

/* A refusal names its field unless it is about the body; nothing else names one. */
static void check_status(enum status status, const struct decoded *out, const uint8_t *data, size_t len)
{
    bool is_of_body = status == STATUS_NOT_JSON || status == STATUS_TOO_DEEP || status == STATUS_TOO_LARGE;
    fuzz_expect(status == STATUS_OK || status == STATUS_IGNORED || status_is_refusal(status), data, len);
    fuzz_expect((out->field != NULL) == (status_is_refusal(status) && !is_of_body), data, len);
    fuzz_expect(status != STATUS_OK || out->asset[0] != '\0', data, len);
}

static void check_decimal(struct decimal value, bool may_be_none, const uint8_t *data, size_t len)
{
    fuzz_expect(decimal_is_none(value) ? may_be_none : decimal_is_in_range(value.units), data, len);
}

static void check_market(const struct market_event *event, const uint8_t *data, size_t len)
{
    check_decimal(event->size, true, data, len);
    check_decimal(event->average_price, true, data, len);
    check_decimal(event->mark_price, true, data, len);
    check_decimal(event->unrealized_pnl, true, data, len);
    check_decimal(event->realized_pnl, true, data, len);
    fuzz_expect(decimal_is_none(event->size) || event->size.units >= 0, data, len);
    fuzz_expect(decimal_is_none(event->average_price) || event->average_price.units > 0, data, len);
    fuzz_expect(decimal_is_none(event->mark_price) || event->mark_price.units > 0, data, len);
    fuzz_expect(event->mode <= POSITION_MODE_HEDGE && event->side <= SIDE_SELL && event->leg <= LEG_SHORT, data, len);
    fuzz_expect(event->mode == POSITION_MODE_HEDGE || event->leg == LEG_NONE, data, len);
    fuzz_expect(event->at_us == TIME_NONE || event->at_us >= 0, data, len);
}

static void check_execution(const struct decoded *out, const uint8_t *data, size_t len)
{
    const struct execution *execution = &out->said.execution;
    check_decimal(execution->quantity, false, data, len);
    check_decimal(execution->price, false, data, len);
    check_decimal(execution->fees, execution->cumulative, data, len);
    fuzz_expect(execution->quantity.units > 0 || (execution->cumulative && execution->quantity.units == 0), data, len);
    fuzz_expect(execution->price.units > 0 || (execution->quantity.units == 0 && execution->price.units == 0), data,
                len);
    fuzz_expect(execution->side == SIDE_BUY || execution->side == SIDE_SELL, data, len);
    fuzz_expect(execution->mode <= POSITION_MODE_HEDGE && execution->leg <= LEG_SHORT, data, len);
    fuzz_expect(execution->mode == POSITION_MODE_HEDGE || execution->leg == LEG_NONE, data, len);
    fuzz_expect(execution->executed_at_us >= 0, data, len);
    fuzz_expect(!execution->cumulative || out->order_key[0] != '\0', data, len);
    fuzz_expect(out->order_key[0] == '\0' || out->identity[0] != '\0', data, len);
}

void fuzz_decode(const uint8_t *data, size_t len)
{
    struct decoded out, again;
    enum status status = decode_market((const char *)data, len, &pattern, &out);
    check_status(status, &out, data, len);
    check_texts(&out, data, len);
    if (status == STATUS_OK)
        check_market(&out.said.market, data, len);
    fuzz_expect(status != STATUS_IGNORED, data, len);

    /* The first bytes serve as the message id as well: AMQP promises nothing about them. */
    const char *message_id = (const char *)data;
    size_t message_id_len = len < 100 ? len : 100;
    status = decode_execution((const char *)data, len, NULL, 0, ARRIVAL_US, &pattern, &out);
    check_status(status, &out, data, len);
    check_texts(&out, data, len);
    if (status == STATUS_OK)
        check_execution(&out, data, len);
    enum status status_again =
        decode_execution((const char *)data, len, message_id, message_id_len, ARRIVAL_US, &pattern, &again);
    check_texts(&again, data, len);
    fuzz_expect(status_again == status && again.fingerprint == out.fingerprint, data, len);
    fuzz_expect(status != STATUS_OK || again.identity[0] != '\0', data, len);
}
