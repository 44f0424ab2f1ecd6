/*
 * consumer: the thread, its mailbox and its loop. In: SETTLED, chains of deliveries that come home. Out: deliveries and
 * dead letters, sent on their way by consumer_arrival.c.
 *
 * Invariants: what comes home is acknowledged on the connection that brought it, or not at all; outstanding is never
 * too few once the consumer is asked to quiesce, and nothing new leaves after it has said that it is quiesced.
 */
#define _GNU_SOURCE

#include "consumer_state.h"

#include <poll.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "fail_point.h"
#include "log.h"
#include "metrics.h"

enum {
    SETTLED_A_TURN = 512,
    SLEEP_MAX_MS = 1000,
    CROWD = 8,       /* deliveries in one turn; after so many the next ones are let gather, in the socket's buffer */
    GATHER_US = 500, /* how long */
    BACKLOG = 2048,  /* deliveries out; with so many most shards are busy (shard.h), and a delivery waits anyway */
    BACKLOG_GATHER_US = 2000,
    QUEUES_MAX = 256, /* what a consumer tag can name */
};

uint16_t consumer_queue_prefetch(uint16_t prefetch, size_t order_queue_count)
{
    const size_t share = prefetch / (order_queue_count + 1);
    if (share == 0)
        return 1;
    return (uint16_t)share;
}

/*
 * The pool: at most `prefetch` travel, and a connection has at most its prefetch here (each queue's share is one at
 * least, hence the number of queues).
 */
static size_t window_capacity(const struct consumer *consumer)
{
    return (size_t)consumer->settings.prefetch + consumer->queue_count;
}

static void copy_queues(struct consumer *consumer, const struct consumer_settings *settings)
{
    consumer->queue_count = settings->order_queue_count + 1;
    pm_assert(consumer->queue_count <= QUEUES_MAX);
    consumer->queues = calloc(consumer->queue_count, sizeof *consumer->queues);
    pm_assert(consumer->queues != NULL);
    consumer->queues[0] = settings->market_queue;
    for (size_t i = 0; i < settings->order_queue_count; i++)
        consumer->queues[i + 1] = settings->order_queues[i];
    consumer->travelling_of = calloc(consumer->queue_count, sizeof *consumer->travelling_of);
    pm_assert(consumer->travelling_of != NULL);
}

struct consumer *consumer_create(const struct consumer_settings *settings, struct board *board, struct mailbox *mailbox,
                                 const struct outlet *shards, size_t shard_count, consumer_shard_fn *shard_of,
                                 void *shard_of_context, struct outlet dead_letters)
{
    pm_assert(settings->prefetch > 0 && shard_count > 0);
    struct consumer *consumer = calloc(1, sizeof *consumer);
    pm_assert(consumer != NULL);
    consumer->settings = *settings;
    consumer->board = board;
    consumer->mailbox = mailbox;
    consumer->shards = calloc(shard_count, sizeof *consumer->shards);
    pm_assert(consumer->shards != NULL);
    for (size_t i = 0; i < shard_count; i++)
        consumer->shards[i] = shards[i];
    consumer->shard_count = shard_count;
    consumer->shard_of = shard_of;
    consumer->shard_of_context = shard_of_context;
    consumer->dead_letters = dead_letters;
    copy_queues(consumer, settings);
    broker_link_init(&consumer->link);
    backoff_init(&consumer->backoff, (uint64_t)clock_wall_us());
    consumer_pool_init(&consumer->pool, settings->prefetch + window_capacity(consumer));
    /* Three quarters of what one queue may have about. */
    const uint32_t crowd = consumer_queue_prefetch(settings->prefetch, settings->order_queue_count) / 4u * 3 + 1;
    consumer_window_init(&consumer->window, (uint32_t)window_capacity(consumer), crowd);
    return consumer;
}

void consumer_settle(struct consumer *consumer, struct delivery *delivery)
{
    if (consumer->is_consuming && delivery->generation == consumer->generation)
        consumer_window_settle(&consumer->window, ((struct pooled_delivery *)delivery)->slot, consumer->now_us);
    else
        metric_add(METRIC_STALE_SETTLEMENTS, 1);
    consumer_pool_put(&consumer->pool, delivery);
}

void consumer_drop_unsent(struct consumer *consumer)
{
    consumer_pool_put(&consumer->pool, consumer->arrival.delivery);
    consumer->arrival.delivery = NULL;
    struct message *message;
    while ((message = message_chain_take_first(&consumer->waiting)) != NULL)
        consumer_pool_put(&consumer->pool, (struct delivery *)message);
}

static void handle_settled(struct consumer *consumer, struct message *chain)
{
    while (chain != NULL) {
        struct message *next = chain->next;
        struct delivery *delivery = (struct delivery *)chain;
        size_t *travelling_of = &consumer->travelling_of[delivery->queue_index];
        pm_assert(consumer->travelling > 0 && *travelling_of > 0);
        consumer->travelling--;
        --*travelling_of;
        consumer_settle(consumer, delivery);
        chain = next;
    }
}

/* Takes everything that has come home. Thread: the consumer's; after it has ended, the caller of stop or destroy. */
static void take_home(struct consumer *consumer)
{
    struct message *batch[SETTLED_A_TURN];
    size_t count;
    do {
        count = mailbox_receive(consumer->mailbox, batch, SETTLED_A_TURN);
        for (size_t i = 0; i < count; i++) {
            pm_assert(batch[i]->type == MESSAGE_SETTLED);
            handle_settled(consumer, batch[i]);
        }
    } while (count == SETTLED_A_TURN);
    atomic_store_explicit(&consumer->outstanding, consumer->travelling, memory_order_release);
    consumer_dispatch_waiting(consumer);
}

static void tell_fullest(struct consumer *consumer)
{
    size_t most = 0;
    for (size_t i = 0; i < consumer->queue_count; i++)
        most = consumer->travelling_of[i] > most ? consumer->travelling_of[i] : most;
    atomic_store_explicit(&consumer->fullest, most, memory_order_relaxed);
}

static void tell_board(const struct consumer *consumer)
{
    int64_t oldest_us = consumer_window_oldest_at_us(&consumer->window);
    if (atomic_load_explicit(&consumer->board->oldest_unacked_at_us, memory_order_relaxed) != oldest_us)
        atomic_store_explicit(&consumer->board->oldest_unacked_at_us, oldest_us, memory_order_relaxed);
}

static void serve_connection(struct consumer *consumer)
{
    struct broker_link *link = &consumer->link;
    if (!consumer_may_read(consumer)) {
        /* Not reading is our doing, so silence is no sign. Readable can only mean that the connection has ended. */
        if (consumer->is_readable) {
            broker_link_lost(link, "connection ended", NULL, 0);
            consumer_fail(consumer);
            return;
        }
        broker_link_listen_from(link, consumer->now_us);
    }
    consumer_read(consumer);
    if (!broker_link_is_open(link))
        return;
    consumer_acknowledge(consumer, consumer->is_stopping);
    bool has_acks = !frames_is_empty(&link->out);
    if (broker_link_service(link, consumer->now_us) == STATUS_LOST) {
        consumer_fail(consumer);
        return;
    }
    if (has_acks && frames_is_empty(&link->out))
        FAIL_POINT(FAIL_POINT_AFTER_ACKNOWLEDGE, link->fd);
    if (broker_link_silence_changed(link, "consumer", consumer->now_us))
        consumer_tell_connected(consumer);
}

static bool may_connect(const struct consumer *consumer)
{
    return !consumer->is_cancelled && consumer->now_us >= consumer->backoff.retry_at_us && consumer_may_read(consumer);
}

bool consumer_must_quiesce(const struct consumer *consumer)
{
    return atomic_load_explicit(&consumer->quiesce_asked, memory_order_acquire) ||
           atomic_load_explicit(&consumer->board->stopping, memory_order_relaxed);
}

static void turn(struct consumer *consumer)
{
    consumer->taken_this_turn = 0;
    /* Before the mailbox is emptied: what came home before the stop was asked for is acknowledged. */
    consumer->is_stopping = atomic_load_explicit(&consumer->stop_asked, memory_order_acquire);
    take_home(consumer);
    if (!consumer->is_cancelled && consumer_must_quiesce(consumer))
        consumer_cancel(consumer);
    if (broker_link_is_open(&consumer->link))
        serve_connection(consumer);
    else if (may_connect(consumer))
        consumer_connect(consumer);
    tell_board(consumer);
    tell_fullest(consumer);
}

/* How long nothing can be due. */
static int sleep_ms(const struct consumer *consumer)
{
    int64_t until_us = consumer->now_us + SLEEP_MAX_MS * 1000;
    if (broker_link_is_open(&consumer->link)) {
        if (consumer_may_read(consumer) && broker_link_has_input(&consumer->link))
            return 0;
        int64_t ack_at_us = consumer_window_deadline_us(&consumer->window);
        if (ack_at_us < until_us)
            until_us = ack_at_us;
        int64_t broker_at_us = broker_link_due_us(&consumer->link);
        if (broker_at_us < until_us)
            until_us = broker_at_us;
    } else if (!consumer->is_cancelled && consumer->backoff.retry_at_us < until_us && consumer_may_read(consumer)) {
        until_us = consumer->backoff.retry_at_us;
    }
    int64_t wait_us = until_us - consumer->now_us;
    return wait_us <= 0 ? 0 : (int)((wait_us + 999) / 1000);
}

static void wait_for_work(struct consumer *consumer)
{
    struct broker_link *link = &consumer->link;
    struct pollfd fds[2] = {{.fd = mailbox_fd(consumer->mailbox), .events = POLLIN}, {.fd = link->fd}};
    if (consumer_may_read(consumer))
        fds[1].events |= POLLIN;
    if (!frames_is_empty(&link->out))
        fds[1].events |= POLLOUT;
    int timeout_ms = mailbox_prepare_wait(consumer->mailbox, 0) ? sleep_ms(consumer) : 0;
    int ready = poll(fds, broker_link_is_open(link) ? 2 : 1, timeout_ms);
    mailbox_finish_wait(consumer->mailbox);
    consumer->now_us = clock_steady_us();
    consumer->wall_us = clock_wall_us();
    if (ready > 0 && broker_link_is_open(link) && (fds[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
        consumer->is_readable = true;
        link->heard_at_us = consumer->now_us;
    }
}

/* Nothing more to say to the broker, or no time left to say it. */
static bool is_finished(const struct consumer *consumer)
{
    return consumer->is_stopping &&
           (!broker_link_is_open(&consumer->link) || frames_is_empty(&consumer->link.out) ||
            consumer->now_us >= atomic_load_explicit(&consumer->stop_by_us, memory_order_relaxed));
}

static void *run(void *argument)
{
    struct consumer *consumer = argument;
    log_register_thread("consumer");
    consumer->now_us = clock_steady_us();
    consumer->wall_us = clock_wall_us();
    for (;;) {
        turn(consumer);
        if (is_finished(consumer))
            break;
        if (consumer->taken_this_turn >= CROWD)
            mailbox_gather(consumer->mailbox, consumer->travelling < BACKLOG ? GATHER_US : BACKLOG_GATHER_US);
        wait_for_work(consumer);
    }
    consumer_drop_unsent(consumer);
    broker_link_close(&consumer->link, true);
    consumer->is_consuming = false;
    consumer_tell_connected(consumer);
    atomic_store_explicit(&consumer->board->oldest_unacked_at_us, 0, memory_order_relaxed);
    return NULL;
}

enum status consumer_start(struct consumer *consumer)
{
    pm_assert(!consumer->is_started);
    if (pthread_create(&consumer->thread, NULL, run, consumer) != 0)
        return STATUS_UNAVAILABLE;
    (void)pthread_setname_np(consumer->thread, "consumer");
    consumer->is_started = true;
    return STATUS_OK;
}

void consumer_quiesce(struct consumer *consumer)
{
    atomic_store_explicit(&consumer->quiesce_asked, true, memory_order_release);
    mailbox_wake(consumer->mailbox);
}

size_t consumer_outstanding(const struct consumer *consumer)
{
    /* While the thread has not seen the request to quiesce, one more may be on its way. In this order: what was sent
     * before `quiesced` is in `outstanding`. */
    bool is_pending = atomic_load_explicit(&consumer->quiesce_asked, memory_order_acquire) &&
                      !atomic_load_explicit(&consumer->quiesced, memory_order_acquire);
    return atomic_load_explicit(&consumer->outstanding, memory_order_acquire) + (is_pending ? 1 : 0);
}

size_t consumer_fullest_queue(const struct consumer *consumer)
{
    return atomic_load_explicit(&consumer->fullest, memory_order_relaxed);
}

void consumer_stop(struct consumer *consumer, int deadline_ms)
{
    if (!consumer->is_started)
        return;
    consumer_quiesce(consumer);
    atomic_store_explicit(&consumer->stop_by_us, clock_steady_us() + (int64_t)deadline_ms * 1000, memory_order_relaxed);
    atomic_store_explicit(&consumer->stop_asked, true, memory_order_release);
    mailbox_wake(consumer->mailbox);
    (void)pthread_join(consumer->thread, NULL);
    consumer->is_started = false;
    take_home(consumer);
}

void consumer_destroy(struct consumer *consumer)
{
    if (consumer == NULL)
        return;
    pm_assert(!consumer->is_started);
    take_home(consumer);
    broker_link_finish(&consumer->link);
    consumer_window_finish(&consumer->window);
    consumer_pool_finish(&consumer->pool);
    free(consumer->queues);
    free(consumer->travelling_of);
    free(consumer->shards);
    free(consumer);
}
