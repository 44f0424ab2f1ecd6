/*
 * amqp_rig: a consumer and a publisher against a real broker, with the test's thread in the place of the one shard and
 * of the aggregator. with_rabbitmq.sh gives the broker; without PM_TEST_AMQP_PORT every test fails with that hint.
 *
 * rabbitmqctl (PM_TEST_RABBITMQCTL) is asked for what AMQP does not tell: unacknowledged messages, types of queues.
 * Tests disturb the whole broker (alarms, closed connections), so they run one at a time (-j1).
 */
#ifndef PM_AMQP_RIG_H
#define PM_AMQP_RIG_H

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "consumer.h"
#include "message.h"
#include "metrics.h"
#include "publisher.h"

#define RIG_MARKET "test.market"
#define RIG_ORDERS "test.orders"

enum { RIG_WAIT_MS = 60000 };

struct rig {
    struct board board;
    struct asset_pattern assets;
    struct mailbox *consumer_mailbox, *publisher_mailbox, *shard_mailbox, *aggregator_mailbox, *history_mailbox;
    struct consumer *consumer;
    struct publisher *publisher;
    amqp_connection_state_t driver; /* the test's own connection */
};

struct rig_options {
    uint16_t prefetch;
    uint32_t window;
    int heartbeat_s;
    enum queue_type queue_type;
    bool keep_queues; /* the test made them */
};

#define RIG_DEFAULTS .prefetch = 200, .window = 100, .heartbeat_s = 10, .queue_type = QUEUE_CLASSIC

static const char *const rig_orders[] = {RIG_ORDERS};

static inline int rig_port(void)
{
    const char *port = getenv("PM_TEST_AMQP_PORT");
    cr_assert_not_null(port, "PM_TEST_AMQP_PORT is not set: run under tests/integration/with_rabbitmq.sh");
    return (int)strtol(port, NULL, 10);
}

static inline amqp_connection_state_t rig_connect(void)
{
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    cr_assert_eq(amqp_socket_open(socket, "127.0.0.1", rig_port()), AMQP_STATUS_OK, "no broker at PM_TEST_AMQP_PORT");
    amqp_rpc_reply_t reply = amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    cr_assert_eq(reply.reply_type, AMQP_RESPONSE_NORMAL);
    amqp_channel_open(connection, 1);
    cr_assert_eq(amqp_get_rpc_reply(connection).reply_type, AMQP_RESPONSE_NORMAL);
    return connection;
}

/* After rabbitmqctl closed all connections. */
static inline void rig_reconnect_driver(struct rig *rig)
{
    amqp_destroy_connection(rig->driver);
    rig->driver = rig_connect();
}

static inline void rig_delete(struct rig *rig, const char *queue)
{
    amqp_queue_delete(rig->driver, 1, amqp_cstring_bytes(queue), 0, 0);
    cr_assert_eq(amqp_get_rpc_reply(rig->driver).reply_type, AMQP_RESPONSE_NORMAL);
}

static inline void rig_send(struct rig *rig, const char *queue, const char *body, size_t len,
                            const amqp_basic_properties_t *properties)
{
    amqp_bytes_t bytes = {.len = len, .bytes = (void *)(uintptr_t)body};
    cr_assert_eq(
        amqp_basic_publish(rig->driver, 1, amqp_cstring_bytes(""), amqp_cstring_bytes(queue), 0, 0, properties, bytes),
        AMQP_STATUS_OK);
}

static inline void rig_send_execution(struct rig *rig, int number)
{
    char body[400];
    int len =
        snprintf(body, sizeof body,
                 "{\"event_type\":\"order_executed\",\"order_id\":\"o-%d\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\","
                 "\"execution_quantity\":\"1.5\",\"execution_price\":\"100\",\"executed_at\":"
                 "\"2026-01-01T00:00:00Z\",\"trace_id\":\"trace-%d\",\"execution_id\":\"e-%d\"}",
                 number, number, number);
    rig_send(rig, RIG_ORDERS, body, (size_t)len, NULL);
}

/* Waits for the answer to something harmless: then all that was sent before has been taken. */
static inline void rig_driver_sync(struct rig *rig)
{
    amqp_basic_qos(rig->driver, 1, 0, 0, 0);
    cr_assert_eq(amqp_get_rpc_reply(rig->driver).reply_type, AMQP_RESPONSE_NORMAL);
}

/* Runs rabbitmqctl -q with arguments; returns what it printed (static memory). */
static inline const char *rig_ctl(const char *arguments)
{
    static char out[8192];
    char command[600];
    const char *program = getenv("PM_TEST_RABBITMQCTL");
    cr_assert_not_null(program, "PM_TEST_RABBITMQCTL is not set: run under tests/integration/with_rabbitmq.sh");
    snprintf(command, sizeof command, "%s -q %s 2>&1", program, arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t len = fread(out, 1, sizeof out - 1, pipe);
    out[len] = '\0';
    cr_assert_eq(pclose(pipe), 0, "%s: %s", command, out);
    return out;
}

/* The line of a queue with the given columns, without its name; "" if there is none. */
static inline const char *rig_queue(const char *queue, const char *columns)
{
    static char line[256];
    char arguments[200];
    snprintf(arguments, sizeof arguments, "--no-table-headers list_queues name %s", columns);
    const char *at = rig_ctl(arguments);
    size_t len = strlen(queue);
    line[0] = '\0';
    while (at != NULL && *at != '\0') {
        const char *end = strchr(at, '\n');
        if (strncmp(at, queue, len) == 0 && at[len] == '\t') {
            size_t rest = end != NULL ? (size_t)(end - at) - len - 1 : strlen(at + len + 1);
            snprintf(line, sizeof line, "%.*s", (int)rest, at + len + 1);
        }
        at = end != NULL ? end + 1 : NULL;
    }
    return line;
}

static inline void rig_expect_queue(const char *queue, const char *columns, const char *expected)
{
    int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    const char *found;
    do {
        found = rig_queue(queue, columns);
    } while (strcmp(found, expected) != 0 && clock_steady_us() < until_us);
    cr_assert_str_eq(found, expected, "%s: %s are %s, not %s", queue, columns, found, expected);
}

/* Ready and unacknowledged. */
#define rig_expect_counts(queue, expected)                                                                             \
    rig_expect_queue((queue), "messages_ready messages_unacknowledged", (expected))

static inline void rig_wait_flag(atomic_bool *flag, bool expected, const char *what)
{
    int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (atomic_load(flag) != expected && clock_steady_us() < until_us)
        usleep(2000);
    cr_assert_eq(atomic_load(flag), expected, "%s", what);
}

static inline void rig_wait_metric(enum metric metric, uint64_t at_least, const char *what)
{
    int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (metric_value(metric) < at_least && clock_steady_us() < until_us)
        usleep(2000);
    cr_assert_geq(metric_value(metric), at_least, "%s", what);
}

static inline void rig_wait_outstanding(const struct consumer *consumer, size_t expected)
{
    int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    while (consumer_outstanding(consumer) != expected && clock_steady_us() < until_us)
        usleep(2000);
    cr_assert_eq(consumer_outstanding(consumer), expected);
}

/* The next message of a mailbox, NULL after timeout_ms. */
static inline struct message *rig_receive(struct mailbox *mailbox, int timeout_ms)
{
    struct message *message = NULL;
    int64_t until_us = clock_steady_us() + (int64_t)timeout_ms * 1000;
    while (mailbox_receive(mailbox, &message, 1) == 0) {
        int64_t left_ms = (until_us - clock_steady_us()) / 1000;
        if (left_ms <= 0)
            return NULL;
        mailbox_wait(mailbox, (int)left_ms);
    }
    return message;
}

static inline struct delivery *rig_receive_delivery(struct rig *rig)
{
    struct message *message = rig_receive(rig->shard_mailbox, RIG_WAIT_MS);
    cr_assert_not_null(message, "no delivery came");
    cr_assert_eq(message->type, MESSAGE_DELIVERY);
    return (struct delivery *)message;
}

static inline void rig_settle(struct rig *rig, struct delivery *delivery)
{
    delivery->head.type = MESSAGE_SETTLED;
    delivery->head.next = NULL;
    struct message *message = &delivery->head;
    mailbox_send_reserved(rig->consumer_mailbox, 0, &message);
}

static inline void rig_announce(struct rig *rig, struct announcement *announcement)
{
    announcement->head.type = MESSAGE_ANNOUNCEMENT;
    struct message *message = &announcement->head;
    mailbox_send_reserved(rig->publisher_mailbox, 1, &message);
}

static inline struct announcement rig_make_announcement(const char *trace_id, struct delivery *settles)
{
    struct announcement announcement = {.source = SOURCE_ORDER_EXECUTION, .settles = settles};
    announcement.message_id = uuid_generate();
    announcement.size_norm = DECIMAL_ZERO;
    announcement.at_us = clock_wall_us();
    snprintf(announcement.trace_id, sizeof announcement.trace_id, "%s", trace_id);
    position_init(&announcement.position, "BTCUSDT", POSITION_MODE_ONE_WAY, uuid_generate(), clock_wall_us());
    announcement.position.version = 1;
    return announcement;
}

/* Takes one message off a queue; false after the usual wait. Owns: the caller; amqp_destroy_message. */

static inline bool rig_get(struct rig *rig, const char *queue, amqp_message_t *out)
{
    int64_t until_us = clock_steady_us() + (int64_t)RIG_WAIT_MS * 1000;
    for (;;) {
        amqp_rpc_reply_t reply = amqp_basic_get(rig->driver, 1, amqp_cstring_bytes(queue), 1);
        cr_assert_eq(reply.reply_type, AMQP_RESPONSE_NORMAL);
        if (reply.reply.id == AMQP_BASIC_GET_OK_METHOD)
            return amqp_read_message(rig->driver, 1, out, 0).reply_type == AMQP_RESPONSE_NORMAL;
        if (clock_steady_us() > until_us)
            return false;
        usleep(10000);
    }
}

/* A header's text; "?" if it is not there. Static memory. */
static inline const char *rig_header(const amqp_message_t *message, const char *name)
{
    static char text[256];
    const amqp_table_t *headers = &message->properties.headers;
    for (int i = 0; i < headers->num_entries; i++) {
        const amqp_table_entry_t *entry = &headers->entries[i];
        if (entry->key.len == strlen(name) && memcmp(entry->key.bytes, name, entry->key.len) == 0) {
            snprintf(text, sizeof text, "%.*s", (int)entry->value.value.bytes.len,
                     (const char *)entry->value.value.bytes.bytes);
            return text;
        }
    }
    return "?";
}

static inline size_t rig_shard_of(void *context, const char *asset)
{
    (void)context;
    (void)asset;
    return 0;
}

static inline struct broker_settings rig_broker(const struct rig_options *options)
{
    return (struct broker_settings){.host = "127.0.0.1",
                                    .vhost = "/",
                                    .user = "guest",
                                    .password = "guest",
                                    .connection_name_prefix = "rig",
                                    .port = rig_port(),
                                    .heartbeat_s = options->heartbeat_s,
                                    .queue_type = options->queue_type};
}

static inline void rig_make_actors(struct rig *rig, const struct rig_options *options)
{
    const uint32_t prefetch = options->prefetch;
    const struct consumer_settings consumer_settings = {.broker = rig_broker(options),
                                                        .market_queue = RIG_MARKET,
                                                        .order_queues = rig_orders,
                                                        .order_queue_count = 1,
                                                        .prefetch = options->prefetch,
                                                        .assets = &rig->assets};
    const struct publisher_settings publisher_settings = {.broker = rig_broker(options), .window = options->window};
    /* shard: from the consumer, from the publisher. consumer: from the shard, from the publisher. publisher: dead
     * letters, shard, aggregator */
    rig->shard_mailbox = mailbox_create("shard", (uint32_t[]){prefetch, 4096}, 2);
    rig->consumer_mailbox = mailbox_create("consumer", (uint32_t[]){prefetch, prefetch}, 2);
    rig->publisher_mailbox = mailbox_create("publisher", (uint32_t[]){prefetch, 4096, 4, 4}, 4);
    rig->aggregator_mailbox = mailbox_create("aggregator", (uint32_t[]){4}, 1);
    rig->history_mailbox = mailbox_create("history", (uint32_t[]){4}, 1);
    const struct outlet shard_route = {.mailbox = rig->shard_mailbox, .lane = 0};
    const struct outlet dead_letters = {.mailbox = rig->publisher_mailbox, .lane = 0};
    rig->consumer = consumer_create(&consumer_settings, &rig->board, rig->consumer_mailbox, &shard_route, 1,
                                    rig_shard_of, NULL, dead_letters);
    const struct outlet to_consumer = {.mailbox = rig->consumer_mailbox, .lane = 1};
    const struct outlet to_shard = {.mailbox = rig->shard_mailbox, .lane = 1};
    const struct outlet to_aggregator = {.mailbox = rig->aggregator_mailbox, .lane = 0};
    rig->publisher = publisher_create(&publisher_settings, &rig->board, rig->publisher_mailbox, to_consumer, &to_shard,
                                      1, to_aggregator);
    publisher_set_history(rig->publisher, (struct outlet){.mailbox = rig->history_mailbox, .lane = 0});
}

/* Fresh queues, consumer and publisher started and connected. */
static inline void rig_start(struct rig *rig, struct rig_options options)
{
    static const char *const queues[] = {RIG_MARKET,
                                         RIG_ORDERS,
                                         QUEUE_POSITION_UPDATED,
                                         QUEUE_PORTFOLIO_UPDATED,
                                         QUEUE_DEAD_LETTER,
                                         QUEUE_SNAPSHOT_CREATED};
    memset(rig, 0, sizeof *rig);
    rig->driver = rig_connect();
    for (size_t i = 0; !options.keep_queues && i < sizeof queues / sizeof queues[0]; i++)
        rig_delete(rig, queues[i]);
    cr_assert_eq(asset_pattern_init(&rig->assets, ASSET_PATTERN_DEFAULT), STATUS_OK);
    rig_make_actors(rig, &options);
    cr_assert_eq(consumer_start(rig->consumer), STATUS_OK);
    cr_assert_eq(publisher_start(rig->publisher), STATUS_OK);
    rig_wait_flag(&rig->board.inbound_connected, true, "the consumer connects");
    rig_wait_flag(&rig->board.outbound_connected, true, "the publisher connects");
    rig_wait_metric(METRIC_BROKER_CONNECTS, 2, "both are counted"); /* a moment later than they are told */
}

/* Whatever the test still holds of the shard's mailbox is taken out; deliveries belong to the consumer's pool. */
static inline void rig_finish(struct rig *rig)
{
    struct message *message;
    publisher_stop(rig->publisher, 5000);
    consumer_stop(rig->consumer, 5000);
    while (mailbox_receive(rig->shard_mailbox, &message, 1) == 1)
        ;
    consumer_destroy(rig->consumer);
    publisher_destroy(rig->publisher);
    mailbox_destroy(rig->consumer_mailbox);
    mailbox_destroy(rig->publisher_mailbox);
    mailbox_destroy(rig->shard_mailbox);
    mailbox_destroy(rig->aggregator_mailbox);
    mailbox_destroy(rig->history_mailbox);
    asset_pattern_finish(&rig->assets);
    amqp_destroy_connection(rig->driver);
}

#endif
