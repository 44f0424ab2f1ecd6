/* The consumer against a real broker (contract §3, §3.4, §9). The test is the shard. */
#include "amqp_rig.h"

#include <signal.h>
#include <sys/resource.h>

static struct rig rig;

static void start(struct rig_options options)
{
    rig_start(&rig, options);
}

static void send_executions(int first, int count)
{
    for (int i = 0; i < count; i++)
        rig_send_execution(&rig, first + i);
    rig_driver_sync(&rig);
}

Test(amqp_consumer, delivery_is_decoded_and_acknowledged_only_when_settled, .timeout = 300)
{
    static const char market[] = "{\"event_type\":\"position\",\"channel\":\"position\",\"trace_id\":\"tm\",\"data\":{"
                                 "\"symbol\":\"ETHUSDT\",\"side\":\"Sell\",\"size\":\"2\",\"markPrice\":\"30.5\"}}";
    struct delivery *held[11];
    start((struct rig_options){RIG_DEFAULTS});
    send_executions(0, 10);
    for (int i = 0; i < 10; i++) {
        char expected[32];
        held[i] = rig_receive_delivery(&rig);
        cr_assert_eq(held[i]->kind, DELIVERY_EXECUTION);
        cr_assert_str_eq(held[i]->asset, "BTCUSDT");
        snprintf(expected, sizeof expected, "trace-%d", i);
        cr_assert_str_eq(held[i]->trace_id, expected);
        snprintf(expected, sizeof expected, "x:e-%d", i);
        cr_assert_str_eq(held[i]->identity, expected);
        cr_assert(held[i]->said.execution.quantity.units == 150000000);
        cr_assert_str_eq(held[i]->queue_name, RIG_ORDERS);
        cr_assert_not(held[i]->redelivered);
        cr_assert_eq(held[i]->generation, 1);
    }
    rig_send(&rig, RIG_MARKET, market, sizeof market - 1, NULL);
    held[10] = rig_receive_delivery(&rig);
    cr_assert_eq(held[10]->kind, DELIVERY_MARKET);
    cr_assert_str_eq(held[10]->asset, "ETHUSDT");
    cr_assert_eq(held[10]->said.market.side, SIDE_SELL);
    cr_assert_eq(consumer_outstanding(rig.consumer), 11);
    cr_assert_neq(atomic_load(&rig.board.oldest_unacked_at_us), 0);

    rig_expect_counts(RIG_ORDERS, "0\t10");
    rig_expect_counts(RIG_MARKET, "0\t1");
    for (int i = 10; i >= 0; i--)
        rig_settle(&rig, held[i]);
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_expect_counts(RIG_MARKET, "0\t0");
    cr_assert_eq(consumer_outstanding(rig.consumer), 0);
    consumer_quiesce(rig.consumer);
    rig_wait_flag(&rig.board.inbound_connected, false, "not consuming any more");
    rig_wait_outstanding(rig.consumer, 0);
    cr_assert_eq(metric_value(METRIC_DELIVERIES_ACKED), 11);
    cr_assert_eq(atomic_load(&rig.board.oldest_unacked_at_us), 0);
    rig_finish(&rig);
}

Test(amqp_consumer, chain_of_settled_deliveries_is_acknowledged_whole, .timeout = 300)
{
    start((struct rig_options){RIG_DEFAULTS});
    send_executions(0, 3);
    struct delivery *first = rig_receive_delivery(&rig);
    struct delivery *second = rig_receive_delivery(&rig);
    struct delivery *third = rig_receive_delivery(&rig);
    third->head.next = &first->head;
    first->head.next = &second->head;
    second->head.next = NULL;
    third->head.type = MESSAGE_SETTLED;
    struct message *chain = &third->head;
    mailbox_send_reserved(rig.consumer_mailbox, 0, &chain);
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, late_delivery_does_not_hold_up_the_others, .timeout = 300)
{
    start((struct rig_options){.prefetch = 20, .window = 10, .heartbeat_s = 10});
    send_executions(0, 500);
    struct delivery *late = rig_receive_delivery(&rig);
    for (int i = 1; i < 500; i++)
        rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_counts(RIG_ORDERS, "0\t1");
    rig_settle(&rig, late);
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, never_more_than_the_prefetch_travels, .timeout = 300)
{
    start((struct rig_options){.prefetch = 6, .window = 10, .heartbeat_s = 10});
    send_executions(0, 20);
    struct delivery *held[3];
    for (int i = 0; i < 3; i++)
        held[i] = rig_receive_delivery(&rig);
    cr_assert_null(rig_receive(rig.shard_mailbox, 300), "half of the prefetch is the market queue's");
    rig_expect_counts(RIG_ORDERS, "17\t3");
    for (int i = 0; i < 3; i++)
        rig_settle(&rig, held[i]);
    for (int i = 3; i < 20; i++)
        rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, lost_connection_brings_unsettled_ones_again_and_old_tickets_are_not_acknowledged, .timeout = 300)
{
    struct delivery *old[3];
    start((struct rig_options){RIG_DEFAULTS});
    send_executions(0, 3);
    for (int i = 0; i < 3; i++)
        old[i] = rig_receive_delivery(&rig);
    rig_ctl("close_all_connections test");
    for (int i = 0; i < 3; i++) {
        struct delivery *again = rig_receive_delivery(&rig);
        cr_assert(again->redelivered);
        cr_assert_eq(again->generation, 2);
        rig_settle(&rig, old[i]);
        old[i] = again;
    }
    rig_wait_metric(METRIC_STALE_SETTLEMENTS, 3, "old tickets are counted");
    rig_expect_counts(RIG_ORDERS, "0\t3");
    rig_wait_metric(METRIC_BROKER_LOSSES, 2, "of both connections");
    cr_assert_eq(metric_value(METRIC_DELIVERIES_REDELIVERED), 3);
    for (int i = 0; i < 3; i++)
        rig_settle(&rig, old[i]);
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_reconnect_driver(&rig);
    rig_finish(&rig);
}

Test(amqp_consumer, deliveries_of_an_old_connection_that_still_travel_leave_the_new_one_its_prefetch, .timeout = 300)
{
    struct delivery *old[2];
    start((struct rig_options){.prefetch = 4, .window = 10, .heartbeat_s = 10});
    send_executions(0, 10);
    for (int i = 0; i < 2; i++)
        old[i] = rig_receive_delivery(&rig);
    for (int round = 0; round < 3; round++) {
        uint64_t connects = metric_value(METRIC_BROKER_CONNECTS);
        rig_ctl("close_all_connections test");
        rig_wait_metric(METRIC_BROKER_CONNECTS, connects + 2, "both connect again");
    }
    rig_expect_counts(RIG_ORDERS, "8\t2");
    cr_assert_leq(consumer_outstanding(rig.consumer), 4);
    rig_settle(&rig, old[0]);
    rig_settle(&rig, old[1]);
    uint64_t acked = metric_value(METRIC_DELIVERIES_ACKED);
    while (metric_value(METRIC_DELIVERIES_ACKED) < acked + 10) {
        struct message *message = rig_receive(rig.shard_mailbox, 1000);
        if (message != NULL)
            rig_settle(&rig, (struct delivery *)message);
    }
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_reconnect_driver(&rig);
    rig_finish(&rig);
}

Test(amqp_consumer, deleted_queue_is_noticed_declared_again_and_consumed, .timeout = 300)
{
    start((struct rig_options){RIG_DEFAULTS});
    uint64_t connects = metric_value(METRIC_BROKER_CONNECTS);
    rig_delete(&rig, RIG_ORDERS);
    rig_wait_metric(METRIC_BROKER_CONNECTS, connects + 1, "the consumer connects again");
    send_executions(0, 1);
    rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_queue(RIG_ORDERS, "durable messages", "true\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, missing_queues_are_declared_as_quorum_when_so_set, .timeout = 300)
{
    start((struct rig_options){.prefetch = 10, .window = 10, .heartbeat_s = 10, .queue_type = QUEUE_QUORUM});
    rig_expect_queue(RIG_ORDERS, "type durable", "quorum\ttrue");
    rig_expect_queue(QUEUE_DEAD_LETTER, "type durable", "quorum\ttrue");
    send_executions(0, 20);
    for (int i = 0; i < 20; i++)
        rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, existing_queues_are_taken_as_they_are, .timeout = 300)
{
    amqp_table_entry_t quorum = {.key = amqp_cstring_bytes("x-queue-type")};
    quorum.value.kind = AMQP_FIELD_KIND_UTF8;
    quorum.value.value.bytes = amqp_cstring_bytes("quorum");
    amqp_table_entry_t limit = {.key = amqp_cstring_bytes("x-max-length")};
    limit.value.kind = AMQP_FIELD_KIND_I32;
    limit.value.value.i32 = 1000;
    amqp_table_t quorum_arguments = {.num_entries = 1, .entries = &quorum};
    amqp_table_t limit_arguments = {.num_entries = 1, .entries = &limit};
    rig.driver = rig_connect();
    rig_delete(&rig, RIG_ORDERS);
    rig_delete(&rig, RIG_MARKET);
    amqp_queue_declare(rig.driver, 1, amqp_cstring_bytes(RIG_ORDERS), 0, 1, 0, 0, quorum_arguments);
    cr_assert_eq(amqp_get_rpc_reply(rig.driver).reply_type, AMQP_RESPONSE_NORMAL);
    amqp_queue_declare(rig.driver, 1, amqp_cstring_bytes(RIG_MARKET), 0, 0, 0, 0, limit_arguments);
    cr_assert_eq(amqp_get_rpc_reply(rig.driver).reply_type, AMQP_RESPONSE_NORMAL);
    amqp_destroy_connection(rig.driver);

    start((struct rig_options){RIG_DEFAULTS, .keep_queues = true});
    rig_expect_queue(RIG_ORDERS, "type", "quorum");
    rig_expect_queue(RIG_MARKET, "durable", "false");
    send_executions(0, 1);
    rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, idle_connection_stays_by_heartbeats_and_costs_nothing, .timeout = 300)
{
    struct rusage before, after;
    /* Three seconds, so that a busy machine may be late: silence of twice that long would end a connection. */
    start((struct rig_options){.prefetch = 10, .window = 10, .heartbeat_s = 3});
    getrusage(RUSAGE_SELF, &before);
    usleep(8000000);
    getrusage(RUSAGE_SELF, &after);
    cr_assert_eq(metric_value(METRIC_BROKER_LOSSES), 0);
    cr_assert(atomic_load(&rig.board.inbound_connected) && atomic_load(&rig.board.outbound_connected));
    int64_t used_us =
        (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    cr_assert_lt(used_us, 80000, "%ld us in 8 s for both", (long)used_us);
    send_executions(0, 1);
    rig_settle(&rig, rig_receive_delivery(&rig));
    rig_expect_counts(RIG_ORDERS, "0\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, broker_that_stands_still_is_lost_after_two_heartbeats_and_found_again, .timeout = 300)
{
    const char *pid = getenv("PM_TEST_RABBITMQ_PID");
    cr_assert_not_null(pid);
    pid_t broker = (pid_t)strtol(pid, NULL, 10);
    start((struct rig_options){.prefetch = 10, .window = 10, .heartbeat_s = 1});
    cr_assert_eq(kill(broker, SIGSTOP), 0);
    rig_wait_flag(&rig.board.inbound_connected, false, "the consumer notices");
    rig_wait_flag(&rig.board.outbound_connected, false, "the publisher notices");
    rig_wait_metric(METRIC_BROKER_LOSSES, 2, "both connections are given up");
    cr_assert_eq(kill(broker, SIGCONT), 0);
    rig_wait_flag(&rig.board.inbound_connected, true, "the consumer connects again");
    rig_wait_flag(&rig.board.outbound_connected, true, "the publisher connects again");
    send_executions(0, 1);
    rig_settle(&rig, rig_receive_delivery(&rig));
    rig_finish(&rig);
}

Test(amqp_consumer, broker_that_pauses_is_told_and_its_connections_are_kept, .timeout = 300)
{
    const char *pid = getenv("PM_TEST_RABBITMQ_PID");
    cr_assert_not_null(pid);
    pid_t broker = (pid_t)strtol(pid, NULL, 10);
    start((struct rig_options){.prefetch = 10, .window = 10, .heartbeat_s = 30});
    /* A busy machine may have kept the broker from an answer just before, a few times. */
    bool is_too_early = true;
    for (int tries = 0; tries < 20 && is_too_early; tries++) {
        cr_assert_eq(kill(broker, SIGSTOP), 0);
        const int64_t stopped_us = clock_steady_us();
        rig_wait_flag(&rig.board.inbound_connected, false, "the consumer misses an answer");
        rig_wait_flag(&rig.board.outbound_connected, false, "the publisher misses an answer");
        is_too_early = clock_steady_us() - stopped_us < 900000;
        cr_assert_eq(kill(broker, SIGCONT), 0);
        rig_wait_flag(&rig.board.inbound_connected, true, "the consumer hears of it again");
        rig_wait_flag(&rig.board.outbound_connected, true, "the publisher hears of it again");
    }
    cr_assert_not(is_too_early, "any pause would be told");
    cr_assert_eq(metric_value(METRIC_BROKER_LOSSES), 0);
    cr_assert_geq(metric_value(METRIC_BROKER_SILENCES), 2);
    send_executions(0, 1);
    rig_settle(&rig, rig_receive_delivery(&rig));
    rig_finish(&rig);
}

Test(amqp_consumer, quiesced_consumer_takes_nothing_new_and_still_acknowledges, .timeout = 300)
{
    start((struct rig_options){RIG_DEFAULTS});
    send_executions(0, 2);
    struct delivery *first = rig_receive_delivery(&rig), *second = rig_receive_delivery(&rig);
    consumer_quiesce(rig.consumer);
    rig_wait_flag(&rig.board.inbound_connected, false, "not consuming any more");
    rig_expect_queue(RIG_ORDERS, "consumers", "0");
    send_executions(2, 3);
    cr_assert_null(rig_receive(rig.shard_mailbox, 300));
    rig_wait_outstanding(rig.consumer, 2);
    rig_settle(&rig, first);
    rig_expect_counts(RIG_ORDERS, "3\t1");
    rig_settle(&rig, second);
    /* Settled before the stop is acknowledged by it. */
    consumer_stop(rig.consumer, RIG_WAIT_MS);
    rig_expect_counts(RIG_ORDERS, "3\t0");
    rig_finish(&rig);
}

/* /health/ready says 503 from the same moment on; the consumer is asked to quiesce a little later. */
Test(amqp_consumer, nothing_is_taken_once_the_board_says_stopping, .timeout = 300)
{
    start((struct rig_options){RIG_DEFAULTS});
    atomic_store(&rig.board.stopping, true);
    send_executions(0, 2);
    cr_assert_null(rig_receive(rig.shard_mailbox, 300));
    consumer_stop(rig.consumer, 2000);
    rig_expect_counts(RIG_ORDERS, "2\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, stop_with_unsettled_deliveries_leaves_them_to_the_broker, .timeout = 300)
{
    start((struct rig_options){RIG_DEFAULTS});
    send_executions(0, 5);
    for (int i = 0; i < 5; i++) {
        struct delivery *delivery = rig_receive_delivery(&rig);
        if (i == 1 || i == 3)
            rig_settle(&rig, delivery);
    }
    int64_t began_us = clock_steady_us();
    consumer_stop(rig.consumer, RIG_WAIT_MS);
    cr_assert_lt(clock_steady_us() - began_us, RIG_WAIT_MS / 2 * 1000, "it does not wait for them");
    rig_expect_counts(RIG_ORDERS, "3\t0");
    rig_finish(&rig);
}

Test(amqp_consumer, what_is_of_no_concern_is_acknowledged_at_once, .timeout = 300)
{
    static const char body[] =
        "{\"event_type\":\"created\",\"event_id\":\"1\",\"timestamp\":\"2026-01-01T00:00:00Z\","
        "\"trace_id\":\"t\",\"order\":{\"order_id\":\"o\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\"}}";
    start((struct rig_options){RIG_DEFAULTS});
    rig_send(&rig, RIG_ORDERS, body, sizeof body - 1, NULL);
    rig_wait_metric(METRIC_EXECUTIONS_IGNORED, 1, "counted");
    rig_expect_counts(RIG_ORDERS, "0\t0");
    cr_assert_null(rig_receive(rig.shard_mailbox, 100));
    rig_finish(&rig);
}

Test(amqp_consumer, trace_id_comes_from_the_header_or_is_made, .timeout = 300)
{
    static const char body[] = "{\"event_type\":\"order_executed\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\","
                               "\"execution_quantity\":\"1\",\"execution_price\":\"1\"}";
    amqp_table_entry_t header = {.key = amqp_cstring_bytes("x-trace-id")};
    header.value.kind = AMQP_FIELD_KIND_UTF8;
    header.value.value.bytes = amqp_cstring_bytes("from-header");
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG};
    properties.headers = (amqp_table_t){.num_entries = 1, .entries = &header};
    start((struct rig_options){RIG_DEFAULTS});
    rig_send(&rig, RIG_ORDERS, body, sizeof body - 1, &properties);
    struct delivery *delivery = rig_receive_delivery(&rig);
    cr_assert_str_eq(delivery->trace_id, "from-header");
    cr_assert_eq(delivery->identity[0], '\0');
    cr_assert_eq(metric_value(METRIC_EXECUTIONS_WITHOUT_IDENTITY), 1);
    rig_settle(&rig, delivery);
    properties = (amqp_basic_properties_t){._flags = AMQP_BASIC_MESSAGE_ID_FLAG};
    properties.message_id = amqp_cstring_bytes("mid");
    rig_send(&rig, RIG_ORDERS, body, sizeof body - 1, &properties);
    delivery = rig_receive_delivery(&rig);
    cr_assert_eq(strlen(delivery->trace_id), 32);
    cr_assert_str_eq(delivery->identity, "m:mid");
    rig_settle(&rig, delivery);
    rig_finish(&rig);
}
