/* The publisher, and what consumer and publisher do together, against a real broker (contract §3.4, §4, §9). */
#include "amqp_rig.h"

static struct rig rig;
static struct announcement announcements[600];

static void announce(size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        char trace_id[32];
        snprintf(trace_id, sizeof trace_id, "trace-%zu", i);
        announcements[i] = rig_make_announcement(trace_id, NULL);
        announcements[i].position.version = (int32_t)i + 1;
        rig_announce(&rig, &announcements[i]);
    }
}

/* The announcements that come home, in any order; other messages are a failure. */
static void expect_home(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct message *message = rig_receive(rig.shard_mailbox, RIG_WAIT_MS);
        cr_assert_not_null(message, "announcement %zu of %zu did not come home", i + 1, count);
        cr_assert_eq(message->type, MESSAGE_ANNOUNCEMENT);
    }
    cr_assert_null(rig_receive(rig.shard_mailbox, 50), "more came home than was sent");
}

static void expect_body_contains(const amqp_message_t *message, const char *part)
{
    char body[2048];
    snprintf(body, sizeof body, "%.*s", (int)message->body.len, (const char *)message->body.bytes);
    cr_assert_not_null(strstr(body, part), "%s is not in %s", part, body);
}

Test(amqp_publisher, announcement_is_published_and_its_deliveries_are_settled_by_the_confirm, .timeout = 300)
{
    amqp_message_t message;
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    rig_send_execution(&rig, 1);
    rig_send_execution(&rig, 2);
    struct delivery *first = rig_receive_delivery(&rig), *second = rig_receive_delivery(&rig);
    second->head.next = &first->head;
    first->head.next = NULL;
    announcements[0] = rig_make_announcement("tr \"quoted\"", second);
    rig_announce(&rig, &announcements[0]);
    expect_home(1);
    cr_assert_null(announcements[0].settles);
    rig_expect_counts(RIG_ORDERS, "0\t0");

    cr_assert(rig_get(&rig, QUEUE_POSITION_UPDATED, &message));
    cr_assert_eq(message.properties.delivery_mode, 2);
    cr_assert_eq(strncmp(message.properties.content_type.bytes, "application/json", 16), 0);
    cr_assert_eq(message.properties.message_id.len, 36);
    cr_assert_str_eq(rig_header(&message, "trace_id"), "tr \"quoted\"");
    expect_body_contains(&message, "\"event_type\":\"position_updated\"");
    expect_body_contains(&message, "\"update_source\":\"order_execution\"");
    expect_body_contains(&message, "\"trace_id\":\"tr \\\"quoted\\\"\"");
    amqp_destroy_message(&message);
    cr_assert_eq(metric_value(METRIC_PUBLISHED), 1);
    rig_finish(&rig);
}

Test(amqp_publisher, portfolio_is_published_and_comes_home, .timeout = 300)
{
    static struct portfolio_announcement portfolio;
    amqp_message_t published;
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    portfolio.head.type = MESSAGE_PORTFOLIO;
    portfolio.message_id = uuid_generate();
    portfolio.at_us = clock_wall_us();
    snprintf(portfolio.trace_id, sizeof portfolio.trace_id, "tp");
    struct message *message = &portfolio.head;
    mailbox_send_reserved(rig.publisher_mailbox, 2, &message);
    cr_assert_eq(rig_receive(rig.aggregator_mailbox, RIG_WAIT_MS), &portfolio.head);
    cr_assert(rig_get(&rig, QUEUE_PORTFOLIO_UPDATED, &published));
    expect_body_contains(&published, "\"event_type\":\"portfolio_updated\"");
    amqp_destroy_message(&published);
    cr_assert_eq(metric_value(METRIC_PUBLISHED_PORTFOLIO), 1);
    rig_finish(&rig);
}

static struct snapshot_announcement snapshot;
static char snapshot_body[] = "{\"event_type\":\"position_snapshot_created\"}";

static void send_snapshot(void)
{
    snapshot.head.type = MESSAGE_SNAPSHOT;
    snapshot.snapshot_id = uuid_generate();
    snapshot.body = snapshot_body;
    snapshot.body_len = sizeof snapshot_body - 1;
    snprintf(snapshot.trace_id, sizeof snapshot.trace_id, "ts");
    struct message *message = &snapshot.head;
    mailbox_send_reserved(rig.publisher_mailbox, 3, &message);
}

Test(amqp_publisher, snapshot_is_published_under_its_identifier_and_comes_home, .timeout = 300)
{
    amqp_message_t published;
    char id[UUID_TEXT_LEN];
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    send_snapshot();
    cr_assert_eq(rig_receive(rig.history_mailbox, RIG_WAIT_MS), &snapshot.head);
    uuid_format(&snapshot.snapshot_id, id);
    cr_assert(rig_get(&rig, QUEUE_SNAPSHOT_CREATED, &published));
    cr_assert_eq(memcmp(published.properties.message_id.bytes, id, sizeof id), 0);
    cr_assert_str_eq(rig_header(&published, "trace_id"), "ts");
    expect_body_contains(&published, snapshot_body);
    amqp_destroy_message(&published);
    cr_assert_eq(metric_value(METRIC_PUBLISHED_SNAPSHOT), 1);
    rig_finish(&rig);
}

Test(amqp_publisher, more_than_the_window_is_published_in_order, .timeout = 300)
{
    rig_start(&rig, (struct rig_options){.prefetch = 10, .window = 7, .heartbeat_s = 10});
    announce(0, 500);
    expect_home(500);
    for (int i = 0; i < 500; i++) {
        amqp_message_t message;
        char expected[32];
        cr_assert(rig_get(&rig, QUEUE_POSITION_UPDATED, &message));
        snprintf(expected, sizeof expected, "trace-%d", i);
        cr_assert_str_eq(rig_header(&message, "trace_id"), expected);
        amqp_destroy_message(&message);
        amqp_maybe_release_buffers(rig.driver);
    }
    rig_finish(&rig);
}

Test(amqp_publisher, refused_message_is_in_the_dead_letters_unchanged_and_acknowledged, .timeout = 300)
{
    static const struct {
        const char *queue, *body, *reason, *field;
    } rows[] = {
        {RIG_ORDERS, "{\"a\":\xff\x00\x01", "not_json", ""},
        {RIG_MARKET, "no json", "not_json", ""},
        {RIG_MARKET,
         "{\"event_type\":\"position\",\"channel\":\"position\",\"data\":{\"symbol\":\"nonsense!\",\"size\":\"1\"}}",
         "bad_asset", "data.symbol"},
    };
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG};
    properties.content_type = amqp_cstring_bytes("text/odd");
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        amqp_message_t message;
        size_t len = i == 0 ? 8 : strlen(rows[i].body);
        rig_send(&rig, rows[i].queue, rows[i].body, len, i == 1 ? NULL : &properties);
        cr_assert(rig_get(&rig, QUEUE_DEAD_LETTER, &message), "row %zu", i);
        cr_assert_eq(message.body.len, len, "row %zu", i);
        cr_assert_eq(memcmp(message.body.bytes, rows[i].body, len), 0, "row %zu", i);
        cr_assert_str_eq(rig_header(&message, "x-reason"), rows[i].reason, "row %zu", i);
        cr_assert_str_eq(rig_header(&message, "x-source-queue"), rows[i].queue, "row %zu", i);
        cr_assert_eq(strlen(rig_header(&message, "x-trace-id")), 32, "row %zu", i);
        cr_assert_eq(rig_header(&message, "x-failed-at")[0], '2', "row %zu", i);
        cr_assert_eq((message.properties._flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0, i != 1, "row %zu", i);
        cr_assert_eq(message.properties.delivery_mode, 2);
        if (rows[i].field[0] != '\0')
            cr_assert_neq(rig_header(&message, "x-field")[0], '\0', "row %zu", i);
        else
            cr_assert_str_eq(rig_header(&message, "x-field"), "", "row %zu", i);
        amqp_destroy_message(&message);
    }
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_expect_counts(RIG_MARKET, "0\t0");
    cr_assert_eq(metric_refused_value(STATUS_NOT_JSON), 2);
    cr_assert_eq(metric_refused_value(STATUS_BAD_ASSET), 1);
    cr_assert_eq(metric_value(METRIC_DEAD_LETTERS), 3);
    cr_assert_null(rig_receive(rig.shard_mailbox, 50));
    rig_finish(&rig);
}

Test(amqp_publisher, body_beyond_the_limit_is_refused_and_kept_whole, .timeout = 300)
{
    enum { LEN = 300 * 1024 };
    amqp_message_t message;
    char *body = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        body[i] = (char)(i * 7 >> 2);
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    rig_send(&rig, RIG_MARKET, body, LEN, NULL);
    cr_assert(rig_get(&rig, QUEUE_DEAD_LETTER, &message));
    cr_assert_eq(message.body.len, LEN);
    cr_assert_eq(memcmp(message.body.bytes, body, LEN), 0);
    cr_assert_str_eq(rig_header(&message, "x-reason"), "too_large");
    amqp_destroy_message(&message);
    rig_expect_counts(RIG_MARKET, "0\t0");
    free(body);
    rig_finish(&rig);
}

Test(amqp_publisher, many_large_bodies_pass_although_not_all_fit_into_memory_at_once, .timeout = 300)
{
    enum { LEN = 4 * 1024 * 1024, COUNT = 24 };
    char *body = calloc(1, LEN);
    rig_start(&rig, (struct rig_options){.prefetch = 60, .window = 4, .heartbeat_s = 10});
    for (int i = 0; i < COUNT; i++)
        rig_send(&rig, RIG_ORDERS, body, LEN, NULL);
    rig_wait_metric(METRIC_DEAD_LETTERS, COUNT, "all are in the dead letters");
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_expect_counts(QUEUE_DEAD_LETTER, "24\t0");
    cr_assert_eq(metric_value(METRIC_BROKER_LOSSES), 0);
    free(body);
    rig_finish(&rig);
}

Test(amqp_publisher, alarm_blocks_publishing_and_the_end_of_it_confirms_everything, .timeout = 300)
{
    /* Three seconds, so that a busy machine may be late: silence of twice that long would end a connection. */
    rig_start(&rig, (struct rig_options){.prefetch = 10, .window = 50, .heartbeat_s = 3});
    rig_ctl("set_vm_memory_high_watermark 0");
    announce(0, 200);
    rig_wait_flag(&rig.board.outbound_connected, false, "blocked");
    cr_assert_null(rig_receive(rig.shard_mailbox, 8000), "nothing is confirmed, and heartbeats keep the connection");
    cr_assert_eq(metric_value(METRIC_BROKER_LOSSES), 0);
    cr_assert_eq(metric_value(METRIC_BROKER_BLOCKED), 1);
    rig_ctl("set_vm_memory_high_watermark 0.6");
    expect_home(200);
    rig_wait_flag(&rig.board.outbound_connected, true, "unblocked");
    rig_expect_queue(QUEUE_POSITION_UPDATED, "messages", "200");
    rig_finish(&rig);
}

Test(amqp_publisher, connection_lost_before_the_confirm_means_publishing_again_in_the_old_order, .timeout = 300)
{
    rig_start(&rig, (struct rig_options){.prefetch = 10, .window = 50, .heartbeat_s = 10});
    uint64_t connects = metric_value(METRIC_BROKER_CONNECTS);
    rig_ctl("set_vm_memory_high_watermark 0");
    announce(0, 120);
    rig_wait_flag(&rig.board.outbound_connected, false, "blocked");
    rig_ctl("close_all_connections test");
    rig_wait_metric(METRIC_BROKER_CONNECTS, connects + 2, "both connect again");
    rig_ctl("set_vm_memory_high_watermark 0.6");
    expect_home(120);
    rig_reconnect_driver(&rig);
    /* What was published twice may be there twice; the first of each are in order. */
    int next = 0;
    while (next < 120) {
        amqp_message_t message;
        char expected[32];
        cr_assert(rig_get(&rig, QUEUE_POSITION_UPDATED, &message), "number %d is missing", next);
        snprintf(expected, sizeof expected, "trace-%d", next);
        next += strcmp(rig_header(&message, "trace_id"), expected) == 0;
        amqp_destroy_message(&message);
        amqp_maybe_release_buffers(rig.driver);
    }
    rig_finish(&rig);
}

Test(amqp_publisher, deleted_queue_is_declared_again_and_nothing_is_lost, .timeout = 300)
{
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    announce(0, 1);
    expect_home(1);
    rig_delete(&rig, QUEUE_POSITION_UPDATED);
    announce(1, 3);
    expect_home(3);
    rig_expect_queue(QUEUE_POSITION_UPDATED, "durable messages", "true\t3");
    rig_finish(&rig);
}

Test(amqp_publisher, nacked_publication_is_published_again, .timeout = 300)
{
    amqp_table_entry_t arguments[2] = {{.key = amqp_cstring_bytes("x-max-length")},
                                       {.key = amqp_cstring_bytes("x-overflow")}};
    arguments[0].value.kind = AMQP_FIELD_KIND_I32;
    arguments[0].value.value.i32 = 2;
    arguments[1].value.kind = AMQP_FIELD_KIND_UTF8;
    arguments[1].value.value.bytes = amqp_cstring_bytes("reject-publish");
    rig.driver = rig_connect();
    rig_delete(&rig, QUEUE_POSITION_UPDATED);
    amqp_queue_declare(rig.driver, 1, amqp_cstring_bytes(QUEUE_POSITION_UPDATED), 0, 1, 0, 0,
                       (amqp_table_t){.num_entries = 2, .entries = arguments});
    cr_assert_eq(amqp_get_rpc_reply(rig.driver).reply_type, AMQP_RESPONSE_NORMAL);
    amqp_destroy_connection(rig.driver);
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS, .keep_queues = true});

    announce(0, 3);
    expect_home(2);
    rig_wait_metric(METRIC_PUBLISH_NACKED, 2, "the third is refused again and again");
    amqp_queue_purge(rig.driver, 1, amqp_cstring_bytes(QUEUE_POSITION_UPDATED));
    expect_home(1);
    rig_delete(&rig, QUEUE_POSITION_UPDATED);
    rig_finish(&rig);
}

Test(amqp_publisher, stop_sends_what_is_unconfirmed_home_unsettled, .timeout = 300)
{
    rig_start(&rig, (struct rig_options){RIG_DEFAULTS});
    rig_send_execution(&rig, 1);
    struct delivery *delivery = rig_receive_delivery(&rig);
    delivery->head.next = NULL;
    rig_ctl("set_vm_memory_high_watermark 0");
    announcements[0] = rig_make_announcement("t", delivery);
    rig_announce(&rig, &announcements[0]);
    rig_wait_flag(&rig.board.outbound_connected, false, "blocked");
    /* A dead letter that cannot be published any more. (The driver is not blocked: it has not published since the
     * alarm.) */
    struct mailbox *dead_letters = rig.publisher_mailbox;
    static struct delivery refused = {.refusal = STATUS_NOT_JSON, .generation = 1};
    refused.head.type = MESSAGE_DEAD_LETTER;
    struct message *message = &refused.head;
    mailbox_send_reserved(dead_letters, 0, &message);
    send_snapshot();

    int64_t began_us = clock_steady_us();
    consumer_stop(rig.consumer, 1000);
    publisher_stop(rig.publisher, 500);
    cr_assert_lt(clock_steady_us() - began_us, RIG_WAIT_MS / 2 * 1000, "they do not wait for the broker");
    cr_assert_eq(rig_receive(rig.shard_mailbox, 0), &announcements[0].head);
    cr_assert_eq(announcements[0].settles, delivery, "still attached");
    cr_assert_eq(rig_receive(rig.consumer_mailbox, 0), &refused.head);
    cr_assert_eq(refused.generation, 0, "no connection acknowledges it");
    cr_assert_eq(rig_receive(rig.history_mailbox, 0), &snapshot.head);
    cr_assert(uuid_is_equal(&snapshot.snapshot_id, &(struct uuid){0}), "no row of the outbox is deleted for it");
    rig_ctl("set_vm_memory_high_watermark 0.6");
    rig_expect_counts(RIG_ORDERS, "1\t0");
    rig_finish(&rig);
}
