/* The subscription inside the prices actor, against a server of the test's. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "prices.h"
#include "prices_server.h"

enum { SECOND_US = 10 * 1000, PATIENCE_US = 60 * 1000 * 1000, LOG_MAX = 64 * 1024 };

#define KEY "secret-key-of-the-gateway"

static struct served answers[8]; /* the last repeats */
static size_t answer_count, answered;
static struct prices_server *server;
static char logged[LOG_MAX];

static void serve(void *context, const char *request, struct served *out)
{
    (void)context;
    (void)request;
    *out = answers[answered < answer_count ? answered : answer_count - 1];
    answered++;
}

static void start(void)
{
    answer_count = answered = 0;
    server = prices_server_create(serve, NULL);
}

static void stop(void)
{
    prices_server_destroy(server);
}

TestSuite(subscription, .init = start, .fini = stop, .timeout = 300);

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* Adds what was logged meanwhile to logged. */
static void read_log(void)
{
    char name[] = "/tmp/pm-subscription-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    (void)unlink(name);
    (void)log_drain(fd, "test");
    size_t len = strlen(logged);
    ssize_t got = pread(fd, logged + len, sizeof logged - 1 - len, 0);
    (void)close(fd);
    logged[got < 0 ? len : len + (size_t)got] = '\0';
}

/* Runs the actor until so many lines were logged that tell of the gateway, and a little longer; logged is of it. */
static void run_until(const char *url, const char *key, size_t lines)
{
    struct directory *directory = directory_create(1);
    uint32_t capacity = PRICES_DELIVERIES_MAX;
    struct mailbox *mailbox = mailbox_create("prices", &capacity, 1);
    struct outlet shard = {mailbox, 0};
    struct prices_settings settings = {.tries = 1,
                                       .ws_gateway_url = url,
                                       .ws_gateway_api_key = key,
                                       .second_us = SECOND_US,
                                       .directory = directory,
                                       .shards = &shard,
                                       .shard_count = 1};
    logged[0] = '\0';
    struct prices *prices = prices_create(&settings, mailbox);
    cr_assert_eq(prices_start(prices), STATUS_OK);
    int64_t until_us = clock_steady_us() + PATIENCE_US;
    while (count_of(logged, "\"gateway_subscri") < lines && clock_steady_us() < until_us) {
        (void)poll(NULL, 0, 5);
        read_log();
    }
    (void)poll(NULL, 0, 100);
    prices_stop(prices);
    read_log();
    prices_destroy(prices);
    mailbox_destroy(mailbox);
    directory_destroy(directory);
}

static void answer(int code)
{
    answers[answer_count++] = (struct served){.code = code, .body = "{}"};
}

Test(subscription, each_of_three_answers_means_subscribed_and_it_is_asked_once)
{
    static const int codes[] = {200, 201, 409};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        answer_count = answered = 0;
        answer(codes[i]);
        size_t before = prices_server_count(server);
        run_until(prices_server_url(server), KEY, 1);
        cr_expect_eq(prices_server_count(server), before + 1, "%d", codes[i]);
        cr_expect_eq(count_of(logged, "\"gateway_subscribed\""), 1, "%d: %s", codes[i], logged);
        cr_expect_eq(count_of(logged, "gateway_subscription_failed"), 0, "%d: %s", codes[i], logged);
    }
}

Test(subscription, the_request_says_who_wants_what)
{
    answer(201);
    run_until(prices_server_url(server), KEY, 1);
    const char *request = prices_server_request(server, 0, NULL);
    cr_expect_eq(strncmp(request, "POST /api/v1/subscriptions HTTP/1.1\r\n", 37), 0, "%s", request);
    cr_expect_not_null(strstr(request, "\r\nX-API-Key: " KEY "\r\n"), "%s", request);
    cr_expect_not_null(strstr(request, "\r\nContent-Type: application/json\r\n"), "%s", request);
    const char *body = strstr(request, "\r\n\r\n");
    cr_assert_not_null(body);
    cr_expect_str_eq(body + 4, "{\"channel_type\":\"position\",\"requesting_service\":\"position-manager\"}");
}

Test(subscription, a_failure_is_tried_again_later_each_time_later_and_never_shows_the_key)
{
    answer(500);
    answer(401);
    answers[answer_count++] = (struct served){.is_dropped = true};
    answer(201);
    run_until(prices_server_url(server), KEY, 4);
    cr_expect_eq(prices_server_count(server), 4);
    for (size_t i = 1; i < 4; i++) {
        int64_t before_us, at_us;
        (void)prices_server_request(server, i - 1, &before_us);
        (void)prices_server_request(server, i, &at_us);
        cr_expect_geq(at_us - before_us, (int64_t)SECOND_US << (i - 1), "%zu", i);
    }
    cr_expect_eq(count_of(logged, "gateway_subscription_failed"), 3, "%s", logged);
    cr_expect_eq(count_of(logged, "\"gateway_subscribed\""), 1, "%s", logged);
    cr_expect_eq(count_of(logged, KEY), 0, "%s", logged);
}

Test(subscription, a_gateway_that_cannot_be_asked_is_no_end)
{
    static const char *const urls[] = {"http://127.0.0.1:1", "gopher://127.0.0.1"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        run_until(urls[i], KEY, 2);
        cr_expect_geq(count_of(logged, "gateway_subscription_failed"), 2, "%s", urls[i]);
    }
    /* A key that would be two headers is not sent. */
    run_until(prices_server_url(server), "a\r\nB: c", 2);
    cr_expect_geq(count_of(logged, "gateway_subscription_failed"), 2);
    cr_expect_eq(prices_server_count(server), 0);
}

Test(subscription, without_url_or_key_nobody_is_asked)
{
    const char *url = prices_server_url(server);
    const char *const pairs[][2] = {{NULL, KEY}, {"", KEY}, {url, NULL}, {url, ""}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        run_until(pairs[i][0], pairs[i][1], 0);
        cr_expect_eq(count_of(logged, "gateway"), 0, "%zu: %s", i, logged);
    }
    cr_expect_eq(prices_server_count(server), 0);
}

Test(subscription, the_wait_stops_growing_at_a_minute)
{
    answer(500);
    run_until(prices_server_url(server), KEY, 9);
    cr_expect_geq(count_of(logged, "\"retry_in_ms\":600}"), 2, "%s", logged);
    cr_expect_eq(count_of(logged, "\"retry_in_ms\":640"), 0, "%s", logged);
}
