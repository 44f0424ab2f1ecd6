/*
 * publisher: the thread, its mailbox and its loop. In: ANNOUNCEMENT and DEAD_LETTER of every shard, DEAD_LETTER of the
 * consumer, PORTFOLIO, SNAPSHOT. Out: each of them home, once; SETTLED to the consumer: dead letters, and what a
 * confirmed announcement settles.
 *
 * Invariants: nothing can be acknowledged before the broker has confirmed what settles it; what a lost connection left
 * unconfirmed is published before anything new, in its old order; every lane has its turn.
 */
#define _GNU_SOURCE

#include "publisher_state.h"

#include <poll.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "fail_point.h"
#include "log.h"
#include "metrics.h"

enum { SLEEP_MAX_MS = 1000, LANE_BATCH_LEN = 64 };

struct publisher *publisher_create(const struct publisher_settings *settings, struct board *board,
                                   struct mailbox *mailbox, struct outlet consumer, const struct outlet *shards,
                                   size_t shard_count, struct outlet aggregator)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);
    pm_assert(publisher != NULL);
    publisher->settings = *settings;
    publisher->board = board;
    publisher->mailbox = mailbox;
    publisher->consumer = consumer;
    publisher->shards = calloc(shard_count, sizeof *publisher->shards);
    pm_assert(publisher->shards != NULL);
    for (size_t i = 0; i < shard_count; i++)
        publisher->shards[i] = shards[i];
    publisher->shard_count = shard_count;
    publisher->aggregator = aggregator;
    broker_link_init(&publisher->link);
    backoff_init(&publisher->backoff, (uint64_t)clock_wall_us());
    publisher_window_init(&publisher->window, settings->window);
    return publisher;
}

void publisher_set_history(struct publisher *publisher, struct outlet history)
{
    pm_assert(!publisher->is_started);
    publisher->history = history;
}

static void send_home(const struct outlet *home, struct message *message)
{
    message->next = NULL;
    mailbox_send_reserved(home->mailbox, home->lane, &message);
}

static void settle(const struct publisher *publisher, struct delivery *chain)
{
    if (chain == NULL)
        return;
    chain->head.type = MESSAGE_SETTLED;
    struct message *message = &chain->head;
    mailbox_send_reserved(publisher->consumer.mailbox, publisher->consumer.lane, &message);
}

static void send_announcement_home(const struct publisher *publisher, struct announcement *announcement)
{
    pm_assert(announcement->shard < publisher->shard_count);
    send_home(&publisher->shards[announcement->shard], &announcement->head);
}

void publisher_confirmed(struct publisher *publisher, struct message *message)
{
    if (message->type == MESSAGE_ANNOUNCEMENT) {
        FAIL_POINT(FAIL_POINT_AFTER_CONFIRM, publisher->link.fd);
        struct announcement *announcement = (struct announcement *)message;
        settle(publisher, announcement->settles);
        announcement->settles = NULL;
        announcement->confirmed = true;
        metric_add(METRIC_PUBLISHED, 1);
        send_announcement_home(publisher, announcement);
    } else if (message->type == MESSAGE_PORTFOLIO) {
        metric_add(METRIC_PUBLISHED_PORTFOLIO, 1);
        send_home(&publisher->aggregator, message);
    } else if (message->type == MESSAGE_SNAPSHOT) {
        metric_add(METRIC_PUBLISHED_SNAPSHOT, 1);
        send_home(&publisher->history, message);
    } else {
        FAIL_POINT(FAIL_POINT_DEAD_LETTER_CONFIRMED, publisher->link.fd);
        metric_add(METRIC_DEAD_LETTERS, 1);
        message->next = NULL;
        settle(publisher, (struct delivery *)message);
    }
}

/* At the end: nothing is acknowledged that the broker has not confirmed. */
static void send_home_unsettled(struct publisher *publisher, struct message *message)
{
    if (message->type == MESSAGE_ANNOUNCEMENT) {
        send_announcement_home(publisher, (struct announcement *)message);
    } else if (message->type == MESSAGE_PORTFOLIO) {
        send_home(&publisher->aggregator, message);
    } else if (message->type == MESSAGE_SNAPSHOT) {
        ((struct snapshot_announcement *)message)->snapshot_id = (struct uuid){0};
        send_home(&publisher->history, message);
    } else {
        struct delivery *delivery = (struct delivery *)message;
        delivery->generation = GENERATION_NONE;
        delivery->head.next = NULL;
        settle(publisher, delivery);
    }
}

static void send_all_home(struct publisher *publisher)
{
    struct message *message;
    publisher_window_take_all(&publisher->window, &publisher->again);
    while ((message = message_chain_take_first(&publisher->again)) != NULL)
        send_home_unsettled(publisher, message);
    while (mailbox_receive(publisher->mailbox, &message, 1) == 1)
        send_home_unsettled(publisher, message);
}

static bool may_publish(const struct publisher *publisher)
{
    return publisher->is_ready && !publisher->is_blocked &&
           frames_unsent_len(&publisher->link.out) < PUBLISHER_UNSENT_LEN_MAX &&
           publisher_window_room(&publisher->window) > 0;
}

/*
 * What is to be published again goes first. After a lost connection that is everything that was unconfirmed, in its old
 * order; what the broker refused waits a moment for itself alone, and is counted with the window, which bounds both.
 */
static bool may_take_lanes(const struct publisher *publisher)
{
    if (!may_publish(publisher))
        return false;
    return publisher->again.count == 0 || (publisher->now_us < publisher->again_after_us &&
                                           publisher->again.count < publisher_window_room(&publisher->window));
}

/* Of deliveries' news: what else is published (portfolio, snapshots) has its own points, or none. */
static void pass_fail_points(const struct publisher *publisher, const struct message *message)
{
    if (message->type == MESSAGE_ANNOUNCEMENT)
        FAIL_POINT(FAIL_POINT_BEFORE_ANNOUNCEMENT, publisher->link.fd);
    else if (message->type == MESSAGE_DEAD_LETTER)
        FAIL_POINT(FAIL_POINT_BEFORE_DEAD_LETTER, publisher->link.fd);
}

static void publish(struct publisher *publisher, struct message *message)
{
    pass_fail_points(publisher, message);
    publisher_encode(&publisher->link.out, message, publisher->wall_us);
    (void)publisher_window_push(&publisher->window, message);
}

static void publish_again(struct publisher *publisher)
{
    if (publisher->now_us < publisher->again_after_us)
        return;
    while (publisher->again.count > 0 && may_publish(publisher))
        publish(publisher, message_chain_take_first(&publisher->again));
}

/* A fair share from each lane, as much as fits. Returns what was taken. */
static size_t publish_lane(struct publisher *publisher, size_t lane)
{
    struct message *batch[LANE_BATCH_LEN];
    size_t room = publisher_window_room(&publisher->window);
    size_t count = mailbox_receive_lane(publisher->mailbox, lane, batch, room < LANE_BATCH_LEN ? room : LANE_BATCH_LEN);
    for (size_t i = 0; i < count; i++)
        publish(publisher, batch[i]);
    return count;
}

static void publish_lanes(struct publisher *publisher)
{
    size_t lanes = mailbox_lane_count(publisher->mailbox);
    size_t empty_in_a_row = 0;
    while (empty_in_a_row < lanes && may_take_lanes(publisher)) {
        size_t taken = publish_lane(publisher, publisher->next_lane);
        publisher->next_lane = (publisher->next_lane + 1) % lanes;
        empty_in_a_row = taken > 0 ? 0 : empty_in_a_row + 1;
    }
}

static void serve_connection(struct publisher *publisher)
{
    struct broker_link *link = &publisher->link;
    publisher_read(publisher);
    if (!publisher->is_ready)
        return;
    publish_again(publisher);
    publish_lanes(publisher);
    if (publisher->is_blocked)
        broker_link_excuse(link, publisher->now_us);
    bool has_news = !frames_is_empty(&link->out);
    if (broker_link_service(link, publisher->now_us) == STATUS_LOST) {
        publisher_fail(publisher);
        return;
    }
    if (has_news && frames_is_empty(&link->out))
        FAIL_POINT(FAIL_POINT_AFTER_ANNOUNCEMENT, link->fd);
    if (broker_link_silence_changed(link, "publisher", publisher->now_us))
        publisher_tell_board(publisher);
}

/* How long is left until the end; without an end, as long as one likes. */
static int64_t left_us(const struct publisher *publisher)
{
    if (!publisher->is_stopping)
        return INT64_MAX;
    return atomic_load_explicit(&publisher->stop_by_us, memory_order_relaxed) - publisher->now_us;
}

/* A connection that may take longer to open than is left is not begun. */
static bool may_connect(const struct publisher *publisher)
{
    return left_us(publisher) >= (int64_t)BROKER_OPEN_TIMEOUT_MS * 1000;
}

static void turn(struct publisher *publisher)
{
    publisher->is_stopping = atomic_load_explicit(&publisher->stop_asked, memory_order_acquire);
    if (publisher->is_ready)
        serve_connection(publisher);
    else if (publisher->now_us >= publisher->backoff.retry_at_us && may_connect(publisher))
        publisher_connect(publisher);
}

static int64_t next_due_us(const struct publisher *publisher)
{
    int64_t until_us = publisher->now_us + SLEEP_MAX_MS * 1000;
    int64_t due_us = publisher->is_ready ? publisher->again_after_us : publisher->backoff.retry_at_us;
    if (due_us < until_us && (!publisher->is_ready || (publisher->again.count > 0 && may_publish(publisher))))
        until_us = due_us;
    int64_t broker_us = broker_link_due_us(&publisher->link);
    if (broker_us < until_us)
        until_us = broker_us;
    return left_us(publisher) < until_us - publisher->now_us ? publisher->now_us + left_us(publisher) : until_us;
}

static int sleep_ms(const struct publisher *publisher)
{
    if (broker_link_has_input(&publisher->link))
        return 0;
    int64_t wait_us = next_due_us(publisher) - publisher->now_us;
    return wait_us <= 0 ? 0 : (int)((wait_us + 999) / 1000);
}

static void wait_for_work(struct publisher *publisher)
{
    struct broker_link *link = &publisher->link;
    struct pollfd fds[2] = {{.fd = mailbox_fd(publisher->mailbox), .events = POLLIN},
                            {.fd = link->fd, .events = POLLIN}};
    if (!frames_is_empty(&link->out))
        fds[1].events |= POLLOUT;
    uint64_t lanes_ignored = may_take_lanes(publisher) ? 0 : UINT64_MAX;
    int timeout_ms = mailbox_prepare_wait(publisher->mailbox, lanes_ignored) ? sleep_ms(publisher) : 0;
    int ready = poll(fds, broker_link_is_open(link) ? 2 : 1, timeout_ms);
    mailbox_finish_wait(publisher->mailbox);
    publisher->now_us = clock_steady_us();
    publisher->wall_us = clock_wall_us();
    if (ready > 0 && broker_link_is_open(link) && (fds[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
        publisher->is_readable = true;
        link->heard_at_us = publisher->now_us;
    }
}

static bool is_all_confirmed(const struct publisher *publisher)
{
    size_t lanes = mailbox_lane_count(publisher->mailbox);
    for (size_t lane = 0; lane < lanes; lane++) {
        if (mailbox_depth(publisher->mailbox, lane) > 0)
            return false;
    }
    return publisher->window.count == 0 && publisher->again.count == 0;
}

static bool is_finished(const struct publisher *publisher)
{
    if (!publisher->is_stopping)
        return false;
    bool is_cut_off = !publisher->is_ready && !may_connect(publisher);
    return is_all_confirmed(publisher) || left_us(publisher) <= 0 || is_cut_off;
}

static void *run(void *argument)
{
    struct publisher *publisher = argument;
    log_register_thread("publisher");
    publisher->now_us = clock_steady_us();
    publisher->wall_us = clock_wall_us();
    for (;;) {
        turn(publisher);
        if (is_finished(publisher))
            break;
        wait_for_work(publisher);
    }
    broker_link_close(&publisher->link, true);
    publisher->is_ready = false;
    publisher_tell_board(publisher);
    send_all_home(publisher);
    return NULL;
}

enum status publisher_start(struct publisher *publisher)
{
    pm_assert(!publisher->is_started);
    if (pthread_create(&publisher->thread, NULL, run, publisher) != 0)
        return STATUS_UNAVAILABLE;
    (void)pthread_setname_np(publisher->thread, "publisher");
    publisher->is_started = true;
    return STATUS_OK;
}

void publisher_stop(struct publisher *publisher, int deadline_ms)
{
    if (!publisher->is_started)
        return;
    atomic_store_explicit(&publisher->stop_by_us, clock_steady_us() + (int64_t)deadline_ms * 1000,
                          memory_order_relaxed);
    atomic_store_explicit(&publisher->stop_asked, true, memory_order_release);
    mailbox_wake(publisher->mailbox);
    (void)pthread_join(publisher->thread, NULL);
    publisher->is_started = false;
}

void publisher_destroy(struct publisher *publisher)
{
    if (publisher == NULL)
        return;
    pm_assert(!publisher->is_started);
    broker_link_finish(&publisher->link);
    publisher_window_finish(&publisher->window);
    free(publisher->shards);
    free(publisher);
}
