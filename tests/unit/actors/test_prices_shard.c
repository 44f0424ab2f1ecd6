/* Prices, shards and directory as they run in the service; the test plays committer, publisher and aggregator. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor.h"
#include "chain.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "prices.h"
#include "prices_server.h"
#include "shard.h"

enum {
    SHARDS = 2,
    LANE_COMMITTER = 0,
    LANE_PUBLISHER,
    LANE_AGGREGATOR,
    LANE_PRICES,
    LANE_COUNT,
    SECOND_US = 20 * 1000,
    STALENESS_US = 600 * 1000 * 1000,
    PATIENCE_US = 60 * 1000 * 1000,
    ANNOUNCEMENTS = 8,
};

static const char *body; /* what the price service says */
static struct prices_server *server;
static struct board board;
static struct directory *directory;
static struct directory_reader *reader;
static struct mailbox *shard_mailboxes[SHARDS];
static struct mailbox *committer_mailbox, *publisher_mailbox, *aggregator_mailbox, *consumer_mailbox, *prices_mailbox;
static struct shard *shards[SHARDS];
static struct actor_thread *threads[SHARDS];
static struct prices *prices;
static char url[128];

/* What was seen of the service. */
static size_t committed_items, journalled, announced, conflicts_left;
static uint8_t last_source;
static int32_t last_version;
static struct position found; /* what a conflict says is in the table */

static void serve(void *context, const char *request, struct served *out)
{
    (void)context;
    (void)request;
    out->body = body;
}

static struct uuid new_uuid(void *context)
{
    (void)context;
    return uuid_generate();
}

static struct mailbox *mailbox_of(const char *name, size_t lanes)
{
    uint32_t capacities[LANE_COUNT];
    for (size_t i = 0; i < LANE_COUNT; i++)
        capacities[i] = PRICES_DELIVERIES_MAX;
    return mailbox_create(name, capacities, lanes);
}

static void make_shard(size_t i)
{
    struct shard_settings settings = {
        .index = (uint32_t)i,
        .conflict_tries_max = 3,
        .conflict_backoff_us = 1000,
        .announcement_count = ANNOUNCEMENTS,
        .announce_hold_us = 1000,
        .commit_pace_us = 1000,
        .busy_count = 100,
        .commit_deliveries_max = 100,
        .full_count = 200,
        .committer = {committer_mailbox, i},
        .publisher = {publisher_mailbox, i},
        .consumer = {consumer_mailbox, i},
        .aggregator = {aggregator_mailbox, i},
        .part = directory_part(directory, i),
        .reader = directory_reader_register(directory),
        .board = &board,
        .new_uuid = new_uuid,
    };
    shards[i] = shard_create(&settings);
}

static void start(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    body = "{\"result\":{\"list\":[{\"markPrice\":\"110\"}]}}";
    server = prices_server_create(serve, NULL);
    (void)snprintf(url, sizeof url, "%s/tickers", prices_server_url(server));
    directory = directory_create(SHARDS);
    reader = directory_reader_register(directory);
    committer_mailbox = mailbox_of("committer", SHARDS);
    publisher_mailbox = mailbox_of("publisher", SHARDS);
    aggregator_mailbox = mailbox_of("aggregator", SHARDS);
    consumer_mailbox = mailbox_of("consumer", SHARDS);
    prices_mailbox = mailbox_of("prices", SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        shard_mailboxes[i] = mailbox_of("shard", LANE_COUNT);
        make_shard(i);
    }
}

static void load(const struct position *position)
{
    shard_load(shards[directory_part_index(directory, position->asset)], position);
}

static void begin(void)
{
    struct outlet lanes[SHARDS];
    for (size_t i = 0; i < SHARDS; i++) {
        threads[i] = actor_start("shard", shards[i], shard_receive, shard_mailboxes[i]);
        lanes[i] = (struct outlet){shard_mailboxes[i], LANE_PRICES};
    }
    struct prices_settings settings = {.url = url,
                                       .timeout_ms = 60 * 1000,
                                       .tries = 2,
                                       .staleness_us = STALENESS_US,
                                       .second_us = SECOND_US,
                                       .directory = directory,
                                       .shards = lanes,
                                       .shard_count = SHARDS};
    prices = prices_create(&settings, prices_mailbox);
    cr_assert_eq(prices_start(prices), STATUS_OK);
}

static void carry_out(struct commit_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        struct commit_item *item = &request->items[i];
        if (conflicts_left > 0) {
            conflicts_left--;
            item->outcome = COMMIT_CONFLICT;
            item->found_exists = true;
            item->found = found;
            continue;
        }
        item->outcome = COMMIT_DONE;
        committed_items++;
        journalled += item->external.wanted;
        for (const struct delivery *delivery = item->deliveries; delivery != NULL; delivery = delivery_next(delivery))
            journalled += delivery->journal.wanted;
    }
}

/* Answers whatever the shards have sent to the others. */
static void play(void)
{
    struct message *message;
    for (size_t i = 0; i < SHARDS; i++) {
        while (mailbox_receive_lane(committer_mailbox, i, &message, 1) == 1) {
            cr_assert_eq(message->type, MESSAGE_COMMIT);
            carry_out((struct commit_request *)message);
            mailbox_send_reserved(shard_mailboxes[i], LANE_COMMITTER, &message);
        }
        while (mailbox_receive_lane(publisher_mailbox, i, &message, 1) == 1) {
            cr_assert_eq(message->type, MESSAGE_ANNOUNCEMENT);
            const struct announcement *announcement = (const struct announcement *)message;
            cr_expect_null(announcement->settles);
            announced++;
            last_source = announcement->source;
            last_version = announcement->position.version;
            mailbox_send_reserved(shard_mailboxes[i], LANE_PUBLISHER, &message);
        }
        while (mailbox_receive_lane(aggregator_mailbox, i, &message, 1) == 1)
            mailbox_send_reserved(shard_mailboxes[i], LANE_AGGREGATOR, &message);
    }
}

static void play_for(int64_t us)
{
    int64_t until_us = clock_steady_us() + us;
    do {
        play();
        (void)poll(NULL, 0, 1);
    } while (clock_steady_us() < until_us);
}

static void stop(void)
{
    prices_stop(prices);
    play_for(20 * 1000);
    for (size_t i = 0; i < SHARDS; i++)
        actor_stop(threads[i]);
    play();
    struct message *left;
    for (size_t i = 0; i < SHARDS; i++) {
        while (mailbox_receive(shard_mailboxes[i], &left, 1) == 1) {
        }
        shard_destroy(shards[i]);
        mailbox_destroy(shard_mailboxes[i]);
    }
    prices_destroy(prices);
    mailbox_destroy(prices_mailbox);
    mailbox_destroy(committer_mailbox);
    mailbox_destroy(publisher_mailbox);
    mailbox_destroy(aggregator_mailbox);
    mailbox_destroy(consumer_mailbox);
    directory_destroy(directory);
    prices_server_destroy(server);
}

TestSuite(prices_shard, .init = start, .fini = stop, .timeout = 300);

static struct decimal whole(int number)
{
    return decimal_from_units((int128)number * DECIMAL_ONE);
}

/* Two bought at 100; price none, or of so long ago. */
static struct position long_position(enum position_mode mode, struct decimal price, int64_t age_us)
{
    int64_t now_us = clock_wall_us();
    struct position position;
    position_init(&position, "AUSDT", mode, uuid_generate(), now_us);
    position.size = whole(2);
    position.average_entry_price = whole(100);
    if (mode == POSITION_MODE_HEDGE) {
        position.long_size = whole(2);
        position.long_avg_price = whole(100);
    }
    position.opened_at_us = now_us;
    position.last_updated_us = now_us;
    position.version = 3;
    position.current_price = price;
    if (!decimal_is_none(price))
        position.price_updated_at_us = now_us - age_us;
    return position;
}

static struct position shown(enum position_mode mode)
{
    directory_begin(reader);
    const struct position *view = directory_find(reader, "AUSDT", mode);
    cr_assert_not_null(view);
    struct position position = *view;
    directory_end(reader);
    return position;
}

/* Plays until the position's price has come. */
static struct position await_price(enum position_mode mode, int64_t after_us)
{
    int64_t until_us = clock_steady_us() + PATIENCE_US;
    struct position position = shown(mode);
    while (position.price_updated_at_us < after_us && clock_steady_us() < until_us) {
        play_for(1000);
        position = shown(mode);
    }
    cr_assert_geq(position.price_updated_at_us, after_us, "no price came");
    return position;
}

Test(prices_shard, a_missing_price_is_committed_shown_and_announced_as_one_more_version)
{
    struct position position = long_position(POSITION_MODE_ONE_WAY, DECIMAL_NONE, 0);
    load(&position);
    int64_t from_us = clock_wall_us();
    begin();
    position = await_price(POSITION_MODE_ONE_WAY, from_us);
    play_for(10 * SECOND_US);
    cr_expect(decimal_is_equal(position.current_price, whole(110)));
    cr_expect(decimal_is_equal(position.unrealized_pnl, whole(20)));
    cr_expect(decimal_is_equal(position.size, whole(2)));
    cr_expect_eq(position.version, 4);
    cr_expect_eq(announced, 1);
    cr_expect_eq(last_source, SOURCE_PRICE_API);
    cr_expect_eq(last_version, 4);
    cr_expect_eq(journalled, 0, "mark prices are not journalled");
    cr_expect_eq(prices_server_count(server), 1, "fresh now");
}

Test(prices_shard, both_modes_take_the_price)
{
    struct position one_way = long_position(POSITION_MODE_ONE_WAY, DECIMAL_NONE, 0);
    struct position hedge = long_position(POSITION_MODE_HEDGE, whole(1), STALENESS_US + 1);
    load(&one_way);
    load(&hedge);
    int64_t from_us = clock_wall_us();
    begin();
    one_way = await_price(POSITION_MODE_ONE_WAY, from_us);
    hedge = await_price(POSITION_MODE_HEDGE, from_us);
    cr_expect(decimal_is_equal(one_way.current_price, whole(110)));
    cr_expect(decimal_is_equal(hedge.current_price, whole(110)));
    cr_expect(decimal_is_equal(hedge.unrealized_pnl, whole(20)));
    play_for(10 * SECOND_US);
    cr_expect_eq(prices_server_count(server), 1);
}

Test(prices_shard, the_same_price_again_refreshes_its_age_and_nothing_else)
{
    struct position position = long_position(POSITION_MODE_ONE_WAY, whole(110), STALENESS_US + 1);
    position.unrealized_pnl = whole(20);
    load(&position);
    int64_t from_us = clock_wall_us();
    begin();
    position = await_price(POSITION_MODE_ONE_WAY, from_us);
    play_for(10 * SECOND_US);
    cr_expect_eq(position.version, 3);
    cr_expect_eq(committed_items, 1);
    cr_expect_eq(announced, 0);
    cr_expect_eq(prices_server_count(server), 1);
}

Test(prices_shard, a_failing_service_leaves_the_last_price)
{
    body = "{\"retCode\":10001,\"result\":{}}";
    struct position position = long_position(POSITION_MODE_ONE_WAY, whole(90), STALENESS_US + 1);
    load(&position);
    begin();
    int64_t until_us = clock_steady_us() + PATIENCE_US;
    while (metric_value(METRIC_PRICE_FAILURES) < 2 && clock_steady_us() < until_us)
        play_for(1000);
    play_for(5 * SECOND_US);
    struct position after = shown(POSITION_MODE_ONE_WAY);
    cr_expect(decimal_is_equal(after.current_price, whole(90)));
    cr_expect_eq(after.price_updated_at_us, position.price_updated_at_us);
    cr_expect_eq(after.version, 3);
    cr_expect_eq(committed_items, 0);
}

Test(prices_shard, somebody_elses_change_meanwhile_is_kept_under_the_price)
{
    struct position position = long_position(POSITION_MODE_ONE_WAY, DECIMAL_NONE, 0);
    load(&position);
    found = position;
    found.size = whole(5);
    found.version = 9;
    conflicts_left = 1;
    int64_t from_us = clock_wall_us();
    begin();
    position = await_price(POSITION_MODE_ONE_WAY, from_us);
    cr_expect(decimal_is_equal(position.size, whole(5)));
    cr_expect(decimal_is_equal(position.unrealized_pnl, whole(50)));
    cr_expect_eq(position.version, 10);
    cr_expect_eq(journalled, 1, "their change is");
    play_for(10 * SECOND_US);
    cr_expect_eq(prices_server_count(server), 1);
}
