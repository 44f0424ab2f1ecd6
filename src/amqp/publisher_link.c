#include "publisher_state.h"

#include <amqp_framing.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"

void publisher_tell_board(struct publisher *publisher)
{
    bool can_publish = publisher->is_ready && !publisher->is_blocked && !publisher->link.is_silent;
    atomic_store_explicit(&publisher->board->outbound_connected, can_publish, memory_order_relaxed);
}

static enum status prepare(struct publisher *publisher)
{
    static const char *const queues[] = {QUEUE_POSITION_UPDATED, QUEUE_PORTFOLIO_UPDATED, QUEUE_SNAPSHOT_CREATED,
                                         QUEUE_DEAD_LETTER};
    struct broker_link *link = &publisher->link;
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        if (broker_link_declare(link, queues[i], publisher->settings.broker.queue_type) != STATUS_OK)
            return STATUS_LOST;
    }
    (void)amqp_confirm_select(link->state, FRAMES_CHANNEL);
    return broker_link_check(link, "confirm", amqp_get_rpc_reply(link->state));
}

void publisher_connect(struct publisher *publisher)
{
    struct broker_link *link = &publisher->link;
    enum status status = broker_link_open(link, &publisher->settings.broker, "publisher", publisher->now_us);
    if (status == STATUS_OK)
        status = prepare(publisher);
    if (status != STATUS_OK) {
        publisher_fail(publisher);
        return;
    }
    publisher->now_us = clock_steady_us();
    broker_link_listen_from(link, publisher->now_us);
    reminder_reset(&publisher->failures);
    publisher->generation++;
    publisher->is_ready = true;
    publisher->is_blocked = false;
    publisher->is_readable = true;
    publisher->again_after_us = 0;
    publisher_tell_board(publisher);
    metric_add(METRIC_BROKER_CONNECTS, 1);
    LOG_EVENT(LOG_LEVEL_INFO, "broker_connected", NULL, log_text("role", "publisher"),
              log_int("generation", publisher->generation), log_int("heartbeat_s", link->heartbeat_us / 1000000),
              log_int("published_again", (int64_t)publisher->again.count));
}

/* In the old order: what was unconfirmed was published before what was already to be published again. */
static void put_in_line_again(struct publisher *publisher)
{
    struct message_chain line = {0};
    struct message *message;
    publisher_window_take_all(&publisher->window, &line);
    while ((message = message_chain_take_first(&publisher->again)) != NULL)
        message_chain_append(&line, message);
    publisher->again = line;
}

void publisher_fail(struct publisher *publisher)
{
    struct broker_link *link = &publisher->link;
    publisher->now_us = clock_steady_us();
    if (publisher->is_ready)
        backoff_fail(&publisher->backoff, publisher->now_us - link->opened_at_us, publisher->now_us);
    else
        backoff_fail(&publisher->backoff, 0, link->opened_at_us);
    put_in_line_again(publisher);
    int64_t retry_ms = backoff_left_us(&publisher->backoff, publisher->now_us) / 1000;
    if (publisher->is_ready) {
        metric_add(METRIC_BROKER_LOSSES, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "broker_lost", NULL, log_text("role", "publisher"),
                  log_text("reason", link->reason), log_int("generation", publisher->generation),
                  log_int("unconfirmed", (int64_t)publisher->again.count), log_int("retry_ms", retry_ms));
    } else {
        bool must_tell = reminder_must_tell(&publisher->failures, link->reason, publisher->now_us);
        LOG_EVENT(must_tell ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "broker_unreachable", NULL,
                  log_text("role", "publisher"), log_text("reason", link->reason),
                  log_int("tries", publisher->failures.count), log_int("retry_ms", retry_ms));
    }
    broker_link_close(link, false);
    publisher->is_ready = false;
    publisher->is_blocked = false;
    publisher->is_readable = false;
    publisher_tell_board(publisher);
}

static enum status handle_ack(struct publisher *publisher, const amqp_basic_ack_t *ack)
{
    struct message_chain confirmed = {0};
    struct message *message;
    if (publisher_window_confirm(&publisher->window, ack->delivery_tag, ack->multiple != 0, &confirmed) != STATUS_OK)
        return broker_link_lost(&publisher->link, "confirm of what was not published", NULL, 0);
    while ((message = message_chain_take_first(&confirmed)) != NULL)
        publisher_confirmed(publisher, message);
    return STATUS_OK;
}

static enum status handle_nack(struct publisher *publisher, const amqp_basic_nack_t *nack)
{
    struct message_chain refused = {0};
    struct message *message;
    if (publisher_window_confirm(&publisher->window, nack->delivery_tag, nack->multiple != 0, &refused) != STATUS_OK)
        return broker_link_lost(&publisher->link, "confirm of what was not published", NULL, 0);
    metric_add(METRIC_PUBLISH_NACKED, refused.count);
    LOG_EVENT(LOG_LEVEL_WARNING, "publish_nacked", NULL, log_int("count", (int64_t)refused.count));
    publisher->again_after_us = publisher->now_us + PUBLISHER_NACK_PAUSE_MS * 1000;
    while ((message = message_chain_take_first(&refused)) != NULL)
        message_chain_append(&publisher->again, message);
    return STATUS_OK;
}

/* A queue is gone. The next connection declares it and publishes again; the confirm that would follow is not waited
 * for. */
static enum status handle_return(struct publisher *publisher, const amqp_basic_return_t *returned)
{
    return broker_link_lost(&publisher->link, "queue is gone", returned->routing_key.bytes, returned->routing_key.len);
}

static void handle_blocked(struct publisher *publisher, const amqp_connection_blocked_t *blocked)
{
    publisher->is_blocked = true;
    publisher_tell_board(publisher);
    metric_add(METRIC_BROKER_BLOCKED, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "broker_blocked", NULL,
              log_bytes("reason", blocked->reason.bytes, blocked->reason.len));
}

static void handle_unblocked(struct publisher *publisher)
{
    publisher->is_blocked = false;
    publisher_tell_board(publisher);
    LOG_EVENT(LOG_LEVEL_INFO, "broker_unblocked", NULL, log_int("unconfirmed", publisher->window.count));
}

static enum status handle_frame(struct publisher *publisher, const amqp_frame_t *frame)
{
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return STATUS_OK;
    const void *method = frame->payload.method.decoded;
    switch (frame->payload.method.id) {
    case AMQP_BASIC_ACK_METHOD:
        return handle_ack(publisher, method);
    case AMQP_BASIC_NACK_METHOD:
        return handle_nack(publisher, method);
    case AMQP_BASIC_RETURN_METHOD:
        return handle_return(publisher, method);
    case AMQP_CONNECTION_BLOCKED_METHOD:
        handle_blocked(publisher, method);
        return STATUS_OK;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        handle_unblocked(publisher);
        return STATUS_OK;
    default:
        return broker_link_handle_common(&publisher->link, frame);
    }
}

void publisher_read(struct publisher *publisher)
{
    struct broker_link *link = &publisher->link;
    bool readable = publisher->is_readable;
    publisher->is_readable = false;
    for (int i = 0; i < PUBLISHER_FRAMES_A_TURN; i++) {
        amqp_frame_t frame;
        enum status status = broker_link_read(link, readable, &frame);
        readable = false; /* the rest is in the library's buffer; the socket is asked again by poll(2) */
        if (status == STATUS_NOT_FOUND)
            return;
        if (status == STATUS_OK)
            status = handle_frame(publisher, &frame);
        if (status == STATUS_LOST) {
            publisher_fail(publisher);
            return;
        }
        broker_link_release(link);
    }
}
