#include "consumer_state.h"

#include <string.h>

#include "fail_point.h"
#include "log.h"
#include "metrics.h"
#include "uuid.h"

_Static_assert(sizeof((struct delivery *)0)->asset == sizeof((struct decoded *)0)->asset, "copied whole");
_Static_assert(sizeof((struct delivery *)0)->trace_id == sizeof((struct decoded *)0)->trace_id, "copied whole");
_Static_assert(sizeof((struct delivery *)0)->identity == sizeof((struct decoded *)0)->identity, "copied whole");
_Static_assert(sizeof((struct delivery *)0)->order_key == sizeof((struct decoded *)0)->order_key, "copied whole");

static bool is_key(const amqp_table_entry_t *entry, const char *name)
{
    return entry->key.len == strlen(name) && memcmp(entry->key.bytes, name, entry->key.len) == 0;
}

/* A trace id that came as a header stands in until the body names one. */
static void take_trace_header(struct delivery *delivery, const amqp_table_t *headers)
{
    for (int i = 0; i < headers->num_entries; i++) {
        const amqp_table_entry_t *entry = &headers->entries[i];
        bool is_text = entry->value.kind == AMQP_FIELD_KIND_UTF8 || entry->value.kind == AMQP_FIELD_KIND_BYTES;
        if (!is_text || (!is_key(entry, "trace_id") && !is_key(entry, "x-trace-id")))
            continue;
        size_t len = entry->value.value.bytes.len;
        len = len < TRACE_ID_LEN_MAX ? len : (size_t)TRACE_ID_LEN_MAX;
        memcpy(delivery->trace_id, entry->value.value.bytes.bytes, len);
        delivery->trace_id[len] = '\0';
        if (delivery->trace_id[0] != '\0')
            return;
    }
}

void consumer_arrival_properties(struct consumer *consumer, const amqp_basic_properties_t *properties)
{
    struct arrival *arrival = &consumer->arrival;
    arrival->message_id_len = 0;
    if (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) {
        arrival->message_id_len = properties->message_id.len;
        if (arrival->message_id_len > sizeof arrival->message_id)
            arrival->message_id_len = sizeof arrival->message_id;
        memcpy(arrival->message_id, properties->message_id.bytes, arrival->message_id_len);
    }
    if (properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG)
        consumer_pool_content_type(arrival->delivery, properties->content_type.bytes, properties->content_type.len);
    if (properties->_flags & AMQP_BASIC_HEADERS_FLAG)
        take_trace_header(arrival->delivery, &properties->headers);
}

/* 32 hexadecimal digits. */
static void make_trace_id(char out[TRACE_ID_LEN_MAX + 1])
{
    char text[UUID_TEXT_LEN];
    struct uuid uuid = uuid_generate();
    uuid_format(&uuid, text);
    size_t len = 0;
    for (size_t i = 0; i < sizeof text; i++) {
        if (text[i] != '-')
            out[len++] = text[i];
    }
    out[len] = '\0';
}

static enum status decode(const struct consumer *consumer, const struct delivery *delivery, struct decoded *out)
{
    const struct asset_pattern *assets = consumer->settings.assets;
    if (delivery->body_len > BODY_LEN_MAX)
        return STATUS_TOO_LARGE;
    if (delivery->kind == DELIVERY_MARKET)
        return decode_market(delivery->body, delivery->body_len, assets, out);
    const struct arrival *arrival = &consumer->arrival;
    const char *message_id = arrival->message_id_len > 0 ? arrival->message_id : NULL;
    return decode_execution(delivery->body, delivery->body_len, message_id, arrival->message_id_len,
                            delivery->received_wall_us, assets, out);
}

/* What the body says, into the delivery. */
static void fill(struct delivery *delivery, const struct decoded *decoded, enum status status)
{
    memcpy(delivery->asset, decoded->asset, sizeof delivery->asset);
    if (decoded->trace_id[0] != '\0')
        memcpy(delivery->trace_id, decoded->trace_id, sizeof delivery->trace_id);
    else if (delivery->trace_id[0] == '\0')
        make_trace_id(delivery->trace_id);
    if (status != STATUS_OK)
        return;
    if (delivery->kind == DELIVERY_MARKET) {
        delivery->said.market = decoded->said.market;
        return;
    }
    memcpy(delivery->identity, decoded->identity, sizeof delivery->identity);
    memcpy(delivery->order_key, decoded->order_key, sizeof delivery->order_key);
    delivery->fingerprint = decoded->fingerprint;
    delivery->said.execution = decoded->said.execution;
}

static void refuse(struct delivery *delivery, enum status reason, const char *field)
{
    delivery->refusal = reason;
    delivery->refusal_field = field;
    metric_refused(reason);
    LOG_EVENT(LOG_LEVEL_WARNING, "message_refused", delivery->trace_id, log_text("reason", status_word(reason)),
              log_text("field", field), log_text("queue", delivery->queue_name));
}

static void note_missing_identity(struct consumer *consumer, const struct delivery *delivery)
{
    if (delivery->kind != DELIVERY_EXECUTION || delivery->identity[0] != '\0')
        return;
    metric_add(METRIC_EXECUTIONS_WITHOUT_IDENTITY, 1);
    if (consumer->warned_of_missing_identity)
        return;
    consumer->warned_of_missing_identity = true;
    LOG_EVENT(LOG_LEVEL_WARNING, "execution_without_identity", delivery->trace_id,
              log_text("queue", delivery->queue_name), log_text("asset", delivery->asset));
}

static void send_off(struct consumer *consumer, struct delivery *delivery)
{
    const struct outlet *route = &consumer->dead_letters;
    delivery->head.type = MESSAGE_DEAD_LETTER;
    if (delivery->refusal == STATUS_OK) {
        size_t shard = consumer->shard_of(consumer->shard_of_context, delivery->asset);
        delivery->head.type = MESSAGE_DELIVERY;
        route = &consumer->shards[shard];
    }
    delivery->head.next = NULL;
    FAIL_POINT(FAIL_POINT_DELIVERY_TAKEN, consumer->link.fd);
    /* Counted before it leaves: whoever waits for the end must never see too few. */
    consumer->travelling++;
    consumer->travelling_of[delivery->queue_index]++;
    atomic_store_explicit(&consumer->outstanding, consumer->travelling, memory_order_release);
    struct message *message = &delivery->head;
    mailbox_send_reserved(route->mailbox, route->lane, &message);
}

void consumer_dispatch_waiting(struct consumer *consumer)
{
    while (consumer->travelling < consumer->settings.prefetch) {
        struct message *message = message_chain_take_first(&consumer->waiting);
        if (message == NULL)
            break;
        send_off(consumer, (struct delivery *)message);
    }
}

void consumer_arrival_complete(struct consumer *consumer)
{
    struct delivery *delivery = consumer->arrival.delivery;
    struct decoded decoded;
    decoded.asset[0] = '\0';
    decoded.trace_id[0] = '\0';
    decoded.field = NULL;
    enum status status = decode(consumer, delivery, &decoded);
    fill(delivery, &decoded, status);
    consumer->arrival.delivery = NULL;
    metric_add(METRIC_DELIVERIES, 1);
    if (delivery->redelivered)
        metric_add(METRIC_DELIVERIES_REDELIVERED, 1);
    if (status == STATUS_IGNORED) {
        metric_add(METRIC_EXECUTIONS_IGNORED, 1);
        consumer_settle(consumer, delivery);
        return;
    }
    if (status == STATUS_OK)
        note_missing_identity(consumer, delivery);
    else
        refuse(delivery, status, decoded.field);
    message_chain_append(&consumer->waiting, &delivery->head);
    consumer_dispatch_waiting(consumer);
}
