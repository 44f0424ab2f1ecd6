#include "consumer_state.h"

#include <amqp_framing.h>
#include <string.h>

#include "clock.h"
#include "fail_point.h"
#include "log.h"
#include "metrics.h"

/* Consumer tags: a prefix and the queue's index, in letters from 'A' so that they need no formatting: "pm-BA". */
enum { TAG_LEN = 5, TAG_LETTERS = 26 };

static void format_tag(size_t queue_index, char out[TAG_LEN + 1])
{
    memcpy(out, "pm-", 3);
    out[3] = (char)('A' + queue_index / TAG_LETTERS % TAG_LETTERS);
    out[4] = (char)('A' + queue_index % TAG_LETTERS);
    out[TAG_LEN] = '\0';
}

/* Returns queue_count for a tag that is none of ours. */
static size_t parse_tag(const struct consumer *consumer, amqp_bytes_t tag)
{
    const char *text = tag.bytes;
    if (tag.len != TAG_LEN || text[3] < 'A' || text[3] > 'Z' || text[4] < 'A' || text[4] > 'Z')
        return consumer->queue_count;
    size_t index = (size_t)(text[3] - 'A') * TAG_LETTERS + (size_t)(text[4] - 'A');
    return index < consumer->queue_count ? index : consumer->queue_count;
}

static enum status consume(struct consumer *consumer, size_t queue_index)
{
    struct broker_link *link = &consumer->link;
    const struct consumer_settings *settings = &consumer->settings;
    const uint16_t prefetch = consumer_queue_prefetch(settings->prefetch, settings->order_queue_count);
    char tag[TAG_LEN + 1];
    format_tag(queue_index, tag);
    (void)amqp_basic_qos(link->state, FRAMES_CHANNEL, 0, prefetch, 0);
    enum status status = broker_link_check(link, "prefetch", amqp_get_rpc_reply(link->state));
    if (status != STATUS_OK)
        return status;
    (void)amqp_basic_consume(link->state, FRAMES_CHANNEL, amqp_cstring_bytes(consumer->queues[queue_index]),
                             amqp_cstring_bytes(tag), 0, 0, 0, amqp_empty_table);
    return broker_link_check(link, "consume", amqp_get_rpc_reply(link->state));
}

/* All are declared before any is consumed: a missing queue costs the channel. */
static enum status consume_all(struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->queue_count; i++) {
        enum queue_type type = consumer->settings.broker.queue_type;
        if (broker_link_declare(&consumer->link, consumer->queues[i], type) != STATUS_OK)
            return STATUS_LOST;
    }
    for (size_t i = 0; i < consumer->queue_count; i++) {
        if (consume(consumer, i) != STATUS_OK)
            return STATUS_LOST;
    }
    return STATUS_OK;
}

void consumer_tell_connected(const struct consumer *consumer)
{
    bool is_connected = consumer->is_consuming && !consumer->is_cancelled && !consumer->link.is_silent;
    atomic_store_explicit(&consumer->board->inbound_connected, is_connected, memory_order_relaxed);
}

void consumer_connect(struct consumer *consumer)
{
    struct broker_link *link = &consumer->link;
    enum status status = broker_link_open(link, &consumer->settings.broker, "consumer", consumer->now_us);
    if (status == STATUS_OK)
        status = consume_all(consumer);
    if (status != STATUS_OK) {
        consumer_fail(consumer);
        return;
    }
    consumer->now_us = clock_steady_us();
    broker_link_listen_from(link, consumer->now_us);
    reminder_reset(&consumer->failures);
    consumer->generation++;
    consumer->is_consuming = true;
    consumer->is_readable = true;
    consumer_tell_connected(consumer);
    metric_add(METRIC_BROKER_CONNECTS, 1);
    LOG_EVENT(LOG_LEVEL_INFO, "broker_connected", NULL, log_text("role", "consumer"),
              log_int("generation", consumer->generation), log_int("heartbeat_s", link->heartbeat_us / 1000000));
}

void consumer_fail(struct consumer *consumer)
{
    struct broker_link *link = &consumer->link;
    consumer->now_us = clock_steady_us();
    if (consumer->is_consuming)
        backoff_fail(&consumer->backoff, consumer->now_us - link->opened_at_us, consumer->now_us);
    else
        backoff_fail(&consumer->backoff, 0, link->opened_at_us);
    int64_t retry_ms = backoff_left_us(&consumer->backoff, consumer->now_us) / 1000;
    if (consumer->is_consuming) {
        metric_add(METRIC_BROKER_LOSSES, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "broker_lost", NULL, log_text("role", "consumer"),
                  log_text("reason", link->reason), log_int("generation", consumer->generation),
                  log_int("retry_ms", retry_ms));
    } else {
        bool must_tell = reminder_must_tell(&consumer->failures, link->reason, consumer->now_us);
        LOG_EVENT(must_tell ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "broker_unreachable", NULL,
                  log_text("role", "consumer"), log_text("reason", link->reason),
                  log_int("tries", consumer->failures.count), log_int("retry_ms", retry_ms));
    }
    broker_link_close(link, false);
    consumer->is_consuming = false;
    consumer->is_readable = false;
    consumer_tell_connected(consumer);
    /* What has not left comes again; what travels comes home under an old generation. */
    consumer_drop_unsent(consumer);
    consumer_window_clear(&consumer->window);
}

void consumer_cancel(struct consumer *consumer)
{
    consumer->is_cancelled = true;
    consumer_tell_connected(consumer);
    consumer_drop_unsent(consumer);
    atomic_store_explicit(&consumer->quiesced, true, memory_order_release);
    if (!consumer->is_consuming)
        return;
    char tag[TAG_LEN + 1];
    for (size_t i = 0; i < consumer->queue_count; i++) {
        format_tag(i, tag);
        frames_cancel(&consumer->link.out, tag);
    }
}

bool consumer_may_read(const struct consumer *consumer)
{
    /* One that has begun is finished, or the bodies of others could keep it from ever going on. */
    return consumer->pool.bodies_len < CONSUMER_BODIES_LEN_MAX || consumer->arrival.delivery != NULL;
}

static enum status handle_deliver(struct consumer *consumer, const amqp_basic_deliver_t *deliver)
{
    struct broker_link *link = &consumer->link;
    if (consumer->is_cancelled || consumer_must_quiesce(consumer))
        return STATUS_OK;
    size_t queue_index = parse_tag(consumer, deliver->consumer_tag);
    if (consumer->arrival.delivery != NULL || queue_index == consumer->queue_count)
        return broker_link_lost(link, "delivery out of turn", NULL, 0);
    uint32_t slot = consumer_window_add(&consumer->window, deliver->delivery_tag, consumer->now_us);
    struct delivery *delivery = slot != WINDOW_NONE ? consumer_pool_get(&consumer->pool) : NULL;
    if (delivery == NULL)
        return broker_link_lost(link, "more deliveries than the prefetch allows, or no memory", NULL, 0);
    consumer->taken_this_turn++;
    delivery->tag = deliver->delivery_tag;
    delivery->generation = consumer->generation;
    delivery->queue_index = (uint16_t)queue_index;
    delivery->queue_name = consumer->queues[queue_index];
    delivery->kind = queue_index == 0 ? DELIVERY_MARKET : DELIVERY_EXECUTION;
    delivery->redelivered = deliver->redelivered != 0;
    delivery->received_wall_us = consumer->wall_us;
    delivery->received_steady_us = consumer->now_us;
    ((struct pooled_delivery *)delivery)->slot = slot;
    consumer->arrival.delivery = delivery;
    consumer->arrival.has_header = false;
    consumer->arrival.filled_len = 0;
    return STATUS_OK;
}

static enum status handle_header(struct consumer *consumer, const amqp_frame_t *frame)
{
    struct arrival *arrival = &consumer->arrival;
    if (arrival->delivery == NULL)
        return STATUS_OK; /* of one that is dropped */
    if (arrival->has_header)
        return broker_link_lost(&consumer->link, "content header out of turn", NULL, 0);
    arrival->has_header = true;
    uint64_t body_len = frame->payload.properties.body_size;
    if (consumer_pool_body(&consumer->pool, arrival->delivery, body_len) != STATUS_OK)
        return broker_link_lost(&consumer->link, "no memory for a body", NULL, 0);
    consumer_arrival_properties(consumer, frame->payload.properties.decoded);
    if (body_len == 0)
        consumer_arrival_complete(consumer);
    return STATUS_OK;
}

static enum status handle_body(struct consumer *consumer, const amqp_frame_t *frame)
{
    struct arrival *arrival = &consumer->arrival;
    struct delivery *delivery = arrival->delivery;
    if (delivery == NULL)
        return STATUS_OK;
    amqp_bytes_t part = frame->payload.body_fragment;
    if (!arrival->has_header || part.len > delivery->body_len - arrival->filled_len)
        return broker_link_lost(&consumer->link, "content body out of turn", NULL, 0);
    memcpy(delivery->body + arrival->filled_len, part.bytes, part.len);
    arrival->filled_len += part.len;
    if (arrival->filled_len == delivery->body_len)
        consumer_arrival_complete(consumer);
    return STATUS_OK;
}

/* The broker ended a consumer: its queue was deleted, or moved. */
static enum status handle_cancel(struct consumer *consumer, const amqp_basic_cancel_t *cancel)
{
    size_t queue_index = parse_tag(consumer, cancel->consumer_tag);
    const char *queue = queue_index < consumer->queue_count ? consumer->queues[queue_index] : "?";
    LOG_EVENT(LOG_LEVEL_WARNING, "consumer_cancelled", NULL, log_text("queue", queue));
    if (consumer->is_cancelled)
        return STATUS_OK;
    return broker_link_lost(&consumer->link, "consumer cancelled", queue, strlen(queue));
}

static enum status handle_frame(struct consumer *consumer, const amqp_frame_t *frame)
{
    if (frame->frame_type == AMQP_FRAME_HEADER)
        return handle_header(consumer, frame);
    if (frame->frame_type == AMQP_FRAME_BODY)
        return handle_body(consumer, frame);
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return STATUS_OK;
    if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD)
        return handle_deliver(consumer, frame->payload.method.decoded);
    if (frame->payload.method.id == AMQP_BASIC_CANCEL_METHOD)
        return handle_cancel(consumer, frame->payload.method.decoded);
    return broker_link_handle_common(&consumer->link, frame);
}

void consumer_read(struct consumer *consumer)
{
    struct broker_link *link = &consumer->link;
    bool readable = consumer->is_readable;
    consumer->is_readable = false;
    for (int i = 0; i < CONSUMER_FRAMES_A_TURN && consumer_may_read(consumer); i++) {
        amqp_frame_t frame;
        enum status status = broker_link_read(link, readable, &frame);
        readable = false; /* the rest is in the library's buffer; the socket is asked again by poll(2) */
        if (status == STATUS_NOT_FOUND)
            return;
        if (status == STATUS_OK)
            status = handle_frame(consumer, &frame);
        if (status == STATUS_LOST) {
            consumer_fail(consumer);
            return;
        }
        broker_link_release(link);
    }
}

static void count_acknowledged(const struct consumer *consumer, const struct window_slot *slot)
{
    metric_add(METRIC_DELIVERIES_ACKED, 1);
    histogram_observe(HISTOGRAM_EVENT_ACKED_SECONDS, (uint64_t)(consumer->now_us - slot->added_at_us));
}

void consumer_acknowledge(struct consumer *consumer, bool all)
{
    struct consumer_window *window = &consumer->window;
    struct frames *out = &consumer->link.out;
    struct window_slot slot = {0};
    if (frames_unsent_len(out) > CONSUMER_ACKS_UNSENT_LEN_MAX)
        return;
    if (all || consumer_window_front_is_due(window, consumer->now_us)) {
        FAIL_POINT(FAIL_POINT_BEFORE_ACKNOWLEDGE, consumer->link.fd);
        size_t count = 0;
        for (; consumer_window_take_front(window, &slot, consumer->now_us); count++)
            count_acknowledged(consumer, &slot);
        if (count > 0)
            frames_ack(out, slot.tag, count > 1);
    }
    if (all || consumer_window_behind_is_due(window, consumer->now_us)) {
        uint32_t cursor = WINDOW_FRONT;
        while (consumer_window_take_behind(window, &cursor, &slot, consumer->now_us)) {
            count_acknowledged(consumer, &slot);
            frames_ack(out, slot.tag, false);
        }
    }
}
