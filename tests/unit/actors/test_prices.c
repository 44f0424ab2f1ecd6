/* The prices actor in its own thread against a server of the test's; the test plays the shards by their mailboxes. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "prices.h"
#include "prices_server.h"

enum {
    SHARDS = 2,
    SECOND_US = 20 * 1000, /* of the actor's own waits */
    STALENESS_US = 600 * 1000 * 1000,
    PATIENCE_US = 60 * 1000 * 1000,
    AT_ONCE_US = 20 * 1000 * 1000, /* where the wait that must not be would be longer still */
    A_WHILE_MS = 200,              /* ten scans */
};

/* What a test has the server do; the default is to answer 50000.5 at once. */
struct behaviour {
    size_t failures; /* so many requests first get .failing */
    struct served failing;
    const char *body;
    int delay_ms;
};

static struct behaviour behaviour;
static struct prices_server *server;
static struct directory *directory;
static struct mailbox *shard_mailboxes[SHARDS];
static struct mailbox *mailbox;
static struct prices *prices;
static struct prices_settings settings;
static char url[128];

static void serve(void *context, const char *request, struct served *out)
{
    struct behaviour *how = context;
    (void)request;
    out->delay_ms = how->delay_ms;
    out->body = how->body;
    if (how->failures > 0) {
        how->failures--;
        *out = how->failing;
    }
}

static void start(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    behaviour = (struct behaviour){.body = "{\"result\":{\"list\":[{\"markPrice\":\"50000.5\"}]}}"};
    server = prices_server_create(serve, &behaviour);
    (void)snprintf(url, sizeof url, "%s/v5/market/tickers", prices_server_url(server));
    directory = directory_create(SHARDS);
    uint32_t capacities[SHARDS];
    static struct outlet shards[SHARDS];
    for (size_t i = 0; i < SHARDS; i++)
        capacities[i] = PRICES_DELIVERIES_MAX;
    mailbox = mailbox_create("prices", capacities, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        shard_mailboxes[i] = mailbox_create("shard", capacities, 1);
        shards[i] = (struct outlet){shard_mailboxes[i], 0};
    }
    settings = (struct prices_settings){.url = url,
                                        .timeout_ms = 60 * 1000,
                                        .tries = 3,
                                        .staleness_us = STALENESS_US,
                                        .second_us = SECOND_US,
                                        .directory = directory,
                                        .shards = shards,
                                        .shard_count = SHARDS};
}

static void begin(void)
{
    prices = prices_create(&settings, mailbox);
    cr_assert_eq(prices_start(prices), STATUS_OK);
}

static void stop(void)
{
    prices_stop(prices);
    for (size_t i = 0; i < SHARDS; i++) {
        struct message *left;
        while (mailbox_receive(shard_mailboxes[i], &left, 1) == 1) {
            struct outlet home = ((struct delivery *)left)->home;
            mailbox_send_reserved(home.mailbox, home.lane, &left);
        }
        mailbox_destroy(shard_mailboxes[i]);
    }
    prices_destroy(prices);
    prices = NULL;
    mailbox_destroy(mailbox);
    directory_destroy(directory);
    prices_server_destroy(server);
}

TestSuite(prices, .init = start, .fini = stop, .timeout = 300);

/* price: units of 1, 0: none. age_us: of the price. */
static void publish(const char *asset, enum position_mode mode, int price, int64_t age_us)
{
    int64_t now_us = clock_wall_us();
    struct position position;
    position_init(&position, asset, mode, uuid_generate(), now_us);
    position.version = 1;
    position.last_updated_us = now_us;
    if (price != 0) {
        position.current_price = decimal_from_units((int128)price * DECIMAL_ONE);
        position.price_updated_at_us = now_us - age_us;
    }
    (void)directory_publish(directory_part(directory, directory_part_index(directory, asset)), &position);
}

static void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* The next wish at any shard, and at which; NULL if none comes in time. */
static struct delivery *take_within(int64_t us, size_t *shard)
{
    int64_t until_us = clock_steady_us() + us;
    do {
        for (size_t i = 0; i < SHARDS; i++) {
            struct message *message;
            if (mailbox_receive(shard_mailboxes[i], &message, 1) == 1) {
                if (shard != NULL)
                    *shard = i;
                return (struct delivery *)message;
            }
        }
        pause_ms(1);
    } while (clock_steady_us() < until_us);
    return NULL;
}

static struct delivery *take(void)
{
    struct delivery *delivery = take_within(PATIENCE_US, NULL);
    cr_assert_not_null(delivery, "no price came");
    cr_assert_eq(delivery->head.type, MESSAGE_DELIVERY);
    cr_assert_eq(delivery->kind, DELIVERY_PRICE);
    return delivery;
}

static void send_home(struct delivery *delivery, enum status outcome)
{
    delivery->refusal = outcome;
    struct outlet home = delivery->home;
    struct message *message = &delivery->head;
    mailbox_send_reserved(home.mailbox, home.lane, &message);
}

/* What the shard does: commits the price, shows it, and sends the wish home. */
static void commit(struct delivery *delivery)
{
    publish(delivery->asset, (enum position_mode)delivery->said.price.mode, 50000, 0);
    send_home(delivery, STATUS_OK);
}

static void await_requests(size_t count)
{
    int64_t until_us = clock_steady_us() + PATIENCE_US;
    while (prices_server_count(server) < count && clock_steady_us() < until_us)
        pause_ms(1);
    cr_assert_geq(prices_server_count(server), count);
}

static void await_failures(uint64_t count)
{
    int64_t until_us = clock_steady_us() + PATIENCE_US;
    while (metric_value(METRIC_PRICE_FAILURES) < count && clock_steady_us() < until_us)
        pause_ms(1);
    cr_assert_geq(metric_value(METRIC_PRICE_FAILURES), count);
}

Test(prices, a_missing_price_is_asked_for_and_goes_to_the_shard_of_its_asset)
{
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    size_t shard = SIZE_MAX;
    struct delivery *delivery = take_within(PATIENCE_US, &shard);
    cr_assert_not_null(delivery);
    cr_expect_eq(shard, directory_part_index(directory, "AUSDT"));
    cr_expect_eq(delivery->kind, DELIVERY_PRICE);
    cr_expect_str_eq(delivery->asset, "AUSDT");
    cr_expect_eq(strlen(delivery->trace_id), UUID_TEXT_LEN);
    cr_expect_eq(delivery->said.price.mode, POSITION_MODE_ONE_WAY);
    cr_expect(delivery->said.price.price.units == (int128)500005 * (DECIMAL_ONE / 10));
    cr_expect_eq(delivery->home.mailbox, mailbox);
    cr_expect_eq(delivery->home.lane, shard);
    const char *request = prices_server_request(server, 0, NULL);
    const char *line = "GET /v5/market/tickers?category=linear&symbol=AUSDT HTTP/1.1\r\n";
    cr_expect_eq(strncmp(request, line, strlen(line)), 0, "%s", request);
    cr_expect_eq(metric_value(METRIC_PRICE_REQUESTS), 1);
    cr_expect_eq(metric_value(METRIC_PRICE_FAILURES), 0);
    commit(delivery);
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), 1, "a fresh price is not asked for");
}

Test(prices, a_position_that_appears_later_is_found)
{
    begin();
    pause_ms(A_WHILE_MS / 2);
    cr_expect_eq(prices_server_count(server), 0);
    publish("AUSDT", POSITION_MODE_HEDGE, 0, 0);
    struct delivery *delivery = take();
    cr_expect_eq(delivery->said.price.mode, POSITION_MODE_HEDGE);
    commit(delivery);
}

Test(prices, last_price_serves_where_no_mark_price_is_said)
{
    behaviour.body = "{\"result\":{\"list\":[{\"lastPrice\":\"7\"}]}}";
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    struct delivery *delivery = take();
    cr_expect(delivery->said.price.price.units == (int128)7 * DECIMAL_ONE);
    commit(delivery);
}

Test(prices, one_request_serves_both_modes)
{
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    publish("AUSDT", POSITION_MODE_HEDGE, 5, 0); /* this one is fresh; the newer price is its too */
    begin();
    struct delivery *first = take();
    struct delivery *second = take();
    cr_expect_neq(first->said.price.mode, second->said.price.mode);
    commit(first);
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), 1, "not asked for while one of them is out");
    commit(second);
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), 1);
}

Test(prices, an_asset_is_not_asked_for_again_while_its_price_is_on_its_way)
{
    behaviour.delay_ms = A_WHILE_MS;
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    struct delivery *delivery = take();
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), 1);
    commit(delivery);
}

Test(prices, a_price_is_stale_by_its_own_arrival)
{
    publish("OLDUSDT", POSITION_MODE_ONE_WAY, 5, STALENESS_US + 1);
    publish("NEWUSDT", POSITION_MODE_ONE_WAY, 5, STALENESS_US / 2);
    publish("AHEADUSDT", POSITION_MODE_ONE_WAY, 5, -(int64_t)STALENESS_US);
    begin();
    struct delivery *delivery = take();
    cr_expect_str_eq(delivery->asset, "OLDUSDT");
    commit(delivery);
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), 1);
}

Test(prices, a_price_that_grows_old_is_asked_for_then)
{
    settings.staleness_us = 300 * 1000;
    int64_t from_us = clock_steady_us();
    publish("AUSDT", POSITION_MODE_ONE_WAY, 5, 0);
    begin();
    commit(take());
    cr_expect_geq(clock_steady_us() - from_us, 300 * 1000 - 1000);
    commit(take());
    cr_expect_geq(clock_steady_us() - from_us, 600 * 1000 - 2000);
}

Test(prices, every_kind_of_failure_is_tried_three_times_and_leaves_the_last_price)
{
    static const struct {
        const char *name;
        struct served answer;
        uint32_t timeout_ms; /* 0: that of all */
    } rows[] = {
        {"server error", {.code = 500, .body = "{\"result\":{\"list\":[{\"markPrice\":\"1\"}]}}"}, 0},
        {"not found", {.code = 404}, 0},
        {"redirect", {.code = 302}, 0},
        {"garbage", {.code = 200, .body = "<html>"}, 0},
        {"unknown symbol", {.code = 200, .body = "{\"retCode\":10001,\"result\":{\"list\":[]}}"}, 0},
        {"zero", {.code = 200, .body = "{\"result\":{\"list\":[{\"markPrice\":\"0\"}]}}"}, 0},
        {"huge body", {.code = 200, .body = "                ", .repeat = 5000}, 0},
        {"dropped", {.is_dropped = true}, 0},
        {"silent", {.code = 200, .delay_ms = 60000}, 500},
    };
    const uint32_t timeout_ms = settings.timeout_ms;
    publish("AUSDT", POSITION_MODE_ONE_WAY, 5, STALENESS_US + 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t failures = metric_value(METRIC_PRICE_FAILURES);
        size_t requests = prices_server_count(server);
        behaviour.failures = 3;
        behaviour.failing = rows[i].answer;
        settings.timeout_ms = rows[i].timeout_ms == 0 ? timeout_ms : rows[i].timeout_ms;
        begin();
        await_failures(failures + 3);
        await_requests(requests + 3); /* a silent server may be slow to hear, too */
        cr_expect_null(take_within(2 * SECOND_US, NULL), "%s", rows[i].name);
        cr_expect_eq(prices_server_count(server), requests + 3, "%s: %zu", rows[i].name,
                     prices_server_count(server) - requests);
        cr_expect_eq(metric_value(METRIC_PRICE_FAILURES), failures + 3, "%s", rows[i].name);
        /* One and two seconds between, from the failure on. A silent server may hear late. */
        int64_t at_us[3];
        for (size_t j = 0; j < 3; j++)
            (void)prices_server_request(server, requests + j, &at_us[j]);
        if (rows[i].timeout_ms == 0) {
            cr_expect_geq(at_us[1] - at_us[0], SECOND_US, "%s", rows[i].name);
            cr_expect_geq(at_us[2] - at_us[1], 2 * SECOND_US, "%s", rows[i].name);
        }
        prices_stop(prices);
        prices_destroy(prices);
        prices = NULL;
    }
    struct directory_reader *reader = directory_reader_register(directory);
    directory_begin(reader);
    const struct position *position = directory_find(reader, "AUSDT", POSITION_MODE_ONE_WAY);
    cr_expect(position->current_price.units == (int128)5 * DECIMAL_ONE);
    directory_end(reader);
    directory_reader_unregister(reader);
}

Test(prices, what_cannot_be_asked_is_a_failure_too)
{
    static char long_url[4000];
    memset(long_url, 'a', sizeof long_url - 1);
    memcpy(long_url, "http://", 7);
    const char *urls[] = {"http://127.0.0.1:1/", "ftp://127.0.0.1/x", "file:///etc/passwd?", "no url at all", long_url};
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        uint64_t failures = metric_value(METRIC_PRICE_FAILURES);
        settings.url = urls[i];
        begin();
        await_failures(failures + 3);
        cr_expect_null(take_within(2 * SECOND_US, NULL), "%s", urls[i]);
        prices_stop(prices);
        prices_destroy(prices);
        prices = NULL;
    }
}

Test(prices, a_later_try_succeeds)
{
    behaviour.failures = 2;
    behaviour.failing = (struct served){.code = 503};
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    commit(take());
    cr_expect_eq(prices_server_count(server), 3);
    cr_expect_eq(metric_value(METRIC_PRICE_FAILURES), 2);
    cr_expect_eq(metric_value(METRIC_PRICE_REQUESTS), 3);
}

Test(prices, after_a_rest_a_failed_asset_is_asked_for_again)
{
    settings.tries = 1;
    settings.staleness_us = 10 * SECOND_US; /* a rest is a quarter of it */
    behaviour.failures = 2;
    behaviour.failing = (struct served){.code = 503};
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    commit(take());
    int64_t at_us[3];
    for (size_t i = 0; i < 3; i++)
        (void)prices_server_request(server, i, &at_us[i]);
    cr_expect_geq(at_us[1] - at_us[0], 10 * SECOND_US / 4);
    cr_expect_geq(at_us[2] - at_us[1], 10 * SECOND_US / 4);
}

Test(prices, rests_double_while_the_service_knows_no_price)
{
    settings.tries = 1;
    settings.staleness_us = 10 * SECOND_US;
    behaviour.failures = 3;
    behaviour.failing = (struct served){.code = 200, .body = "{\"retCode\":10001}"};
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    commit(take());
    int64_t at_us[4];
    for (size_t i = 0; i < 4; i++)
        (void)prices_server_request(server, i, &at_us[i]);
    cr_expect_geq(at_us[1] - at_us[0], 10 * SECOND_US / 4);
    cr_expect_geq(at_us[2] - at_us[1], 2 * 10 * SECOND_US / 4);
    cr_expect_geq(at_us[3] - at_us[2], 4 * 10 * SECOND_US / 4);
}

Test(prices, a_price_that_its_shard_refuses_is_not_sent_again_at_once)
{
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    send_home(take(), STATUS_OUT_OF_RANGE);
    cr_expect_null(take_within(3 * A_WHILE_MS * 1000, NULL));
    cr_expect_eq(prices_server_count(server), 1);
}

static void publish_many(size_t count)
{
    char asset[ASSET_LEN_MAX + 1];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(asset, sizeof asset, "A%03zuUSDT", i);
        publish(asset, POSITION_MODE_ONE_WAY, 0, 0);
    }
}

Test(prices, every_one_of_many_assets_gets_its_turn_and_no_more_than_eight_are_asked_for_at_once)
{
    enum { MANY = 200 };
    behaviour.delay_ms = 5;
    publish_many(MANY);
    begin();
    for (size_t i = 0; i < MANY; i++)
        commit(take());
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), MANY);
    cr_expect_leq(prices_server_most_at_once(server), 8);
    cr_expect_gt(prices_server_most_at_once(server), 1);
}

Test(prices, assets_that_fail_do_not_starve_those_behind_them)
{
    enum { MANY = 150, FAILING = 100 };
    settings.tries = 1;
    behaviour.failures = FAILING;
    behaviour.failing = (struct served){.code = 500};
    publish_many(MANY);
    begin();
    for (size_t i = FAILING; i < MANY; i++)
        commit(take());
    cr_expect_eq(prices_server_count_with(server, "symbol=A149USDT"), 1);
    cr_expect_eq(prices_server_count_with(server, "symbol=A000USDT"), 1);
}

Test(prices, nothing_more_is_asked_while_nothing_is_committed)
{
    publish_many(2 * PRICES_ASKS_MAX);
    begin();
    await_requests(PRICES_ASKS_MAX);
    pause_ms(A_WHILE_MS);
    cr_expect_eq(prices_server_count(server), PRICES_ASKS_MAX);
    for (size_t i = 0; i < 2 * PRICES_ASKS_MAX; i++)
        commit(take());
}

Test(prices, requests_are_slowed_down_while_they_fail)
{
    settings.tries = 1;
    behaviour.failures = SIZE_MAX;
    behaviour.failing = (struct served){.code = 500};
    publish_many(40);
    int64_t from_us = clock_steady_us();
    begin();
    await_requests(20);
    cr_expect_geq(clock_steady_us() - from_us, 8 * SECOND_US, "%ld", (long)(clock_steady_us() - from_us));
}

Test(prices, an_unusual_asset_cannot_change_the_request)
{
    publish("A&B=C D/", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    commit(take());
    cr_expect_not_null(strstr(prices_server_request(server, 0, NULL), "symbol=A%26B%3DC%20D%2F HTTP"));
}

Test(prices, without_a_url_nothing_is_asked)
{
    settings.url = "";
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    cr_expect_null(take_within(A_WHILE_MS * 1000, NULL));
    cr_expect_eq(metric_value(METRIC_PRICE_REQUESTS), 0);
}

Test(prices, a_stop_waits_for_no_answer_and_wishes_come_home_afterwards)
{
    settings.second_us = 10 * 1000 * 1000;
    behaviour.failures = 1; /* the first is answered at once, the second not */
    behaviour.failing = (struct served){.code = 200, .body = behaviour.body};
    behaviour.delay_ms = 60 * 1000;
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    publish("BUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    struct delivery *delivery = take();
    await_requests(2);
    int64_t from_us = clock_steady_us();
    prices_stop(prices);
    cr_expect_lt(clock_steady_us() - from_us, AT_ONCE_US);
    commit(delivery);
    cr_expect_eq(mailbox_depth(mailbox, directory_part_index(directory, "AUSDT")), 1);
}

Test(prices, assets_that_are_stale_again_before_all_had_their_turn_starve_nobody)
{
    enum { MANY = 100 };
    settings.staleness_us = 1;
    publish_many(MANY);
    begin();
    for (size_t i = 0; i < 4 * MANY; i++)
        commit(take());
    cr_expect_geq(prices_server_count_with(server, "symbol=A099USDT"), 2);
    cr_expect_geq(prices_server_count_with(server, "symbol=A000USDT"), 2);
}

/*
 * Ten seconds after a look there is another in any case, here after ten real ones. What is found earlier was found
 * because somebody noted when it would be due.
 */
enum { SLOW_SECOND_US = 1000 * 1000, EARLY_US = 9 * 1000 * 1000 };

Test(prices, a_new_position_is_found_at_the_next_look)
{
    settings.second_us = SLOW_SECOND_US;
    begin();
    pause_ms(A_WHILE_MS);
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    struct delivery *delivery = take_within(EARLY_US, NULL);
    cr_assert_not_null(delivery);
    commit(delivery);
}

Test(prices, the_end_of_a_rest_and_of_a_price_are_not_overslept)
{
    settings.second_us = SLOW_SECOND_US;
    settings.tries = 1;
    settings.staleness_us = SLOW_SECOND_US;
    behaviour.failures = 1;
    behaviour.failing = (struct served){.code = 500};
    publish("AUSDT", POSITION_MODE_ONE_WAY, 0, 0);
    begin();
    for (size_t i = 0; i < 3; i++) {
        struct delivery *delivery = take_within(EARLY_US, NULL);
        cr_assert_not_null(delivery, "%zu", i);
        commit(delivery);
    }
}

Test(prices, those_that_found_no_room_are_taken_as_soon_as_there_is_some)
{
    settings.second_us = SLOW_SECOND_US;
    publish_many(PRICES_ASKS_MAX + 1);
    int64_t from_us = clock_steady_us();
    begin();
    for (size_t i = 0; i <= PRICES_ASKS_MAX; i++)
        commit(take());
    cr_expect_lt(clock_steady_us() - from_us, EARLY_US);
}

Test(prices, an_idle_one_stops_at_once)
{
    settings.second_us = 10 * 1000 * 1000;
    begin();
    pause_ms(A_WHILE_MS);
    int64_t from_us = clock_steady_us();
    prices_stop(prices);
    cr_expect_lt(clock_steady_us() - from_us, AT_ONCE_US);
    prices_stop(prices); /* again is nothing */
}
