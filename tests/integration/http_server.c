/* What the server answers: reads, filters, errors, the gate, protocols. */
#include <json-c/json.h>

#include "http_fixture.h"
#include "http_frames.h"

TestSuite(http_server, .init = fixture_up, .fini = fixture_down, .timeout = 300);

Test(http_server, positions_are_listed_in_order_with_their_count)
{
    struct answer *answer = get("/api/v1/positions");
    cr_assert_eq(answer->code, 200, "%s", answer->body);
    cr_expect(has(answer, "\"count\":4}"));
    const char *one_way = strstr(answer->body, "\"mode\":\"one-way\"");
    const char *hedge = strstr(answer->body, "\"mode\":\"hedge\"");
    cr_expect(one_way != NULL && hedge != NULL && hedge < one_way, "hedge stands before one-way");
    cr_expect_lt(strstr(answer->body, "BTCUSDT"), strstr(answer->body, "ETHUSDT"));
    cr_expect_lt(strstr(answer->body, "ETHUSDT"), strstr(answer->body, "XRPUSDT"));
    cr_expect_str_eq(header_of(answer, "content-type"), "application/json");
    cr_expect_str_eq(header_of(answer, "cache-control"), "no-store");
    cr_expect_eq((size_t)atol(header_of(answer, "content-length")), answer->body_len);
    cr_expect_null(header_of(answer, "server"));
    answer = get("/api/v1/positions?asset=BTCUSDT");
    one_way = strstr(answer->body, "\"mode\":\"one-way\"");
    hedge = strstr(answer->body, "\"mode\":\"hedge\"");
    cr_expect(one_way != NULL && hedge != NULL && hedge < one_way, "of one asset, too");
}

Test(http_server, filters_restrict_the_list_and_hostile_values_are_named)
{
    static const struct {
        const char *query;
        int code;
        const char *part; /* of the body */
    } rows[] = {
        {"?asset=btcusdt", 200, "\"count\":2}"},
        {"?asset=BTCUSDT&mode=hedge", 200, "\"count\":1}"},
        {"?asset=DOGEUSDT", 200, "{\"positions\":[],\"count\":0}"},
        {"?mode=one-way", 200, "\"count\":3}"},
        {"?size_min=-2", 200, "\"count\":4}"},
        {"?size_min=-1.99999999", 200, "\"count\":3}"},
        {"?size_max=-2", 200, "\"count\":1}"},
        {"?size_max=0.5", 200, "\"count\":2}"},
        {"?size_min=0.5&size_max=1", 200, "\"count\":2}"},
        {"?size_min=2&size_max=1", 200, "\"count\":0}"},
        {"?unknown=%ZZ&other", 200, "\"count\":4}"},
        {"?", 200, "\"count\":4}"},
        {"?asset=", 400, "asset"},
        {"?asset=BTC-USDT", 400, "asset"},
        {"?asset=BTCUSDT%00", 400, "asset"},
        {"?asset=%ff", 400, "asset"},
        {"?asset=BTCUSDT&asset=ETHUSDT", 400, "asset"},
        {"?asset=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUSDT", 400, "asset"},
        {"?asset=BTCUSDT'%20OR%201=1--", 400, "asset"},
        {"?mode=both", 400, "mode"},
        {"?mode=", 400, "mode"},
        {"?size_min=", 400, "size_min"},
        {"?size_min=abc", 400, "size_min"},
        {"?size_min=1e3", 400, "size_min"},
        {"?size_min=NaN", 400, "size_min"},
        {"?size_max=0.000000001", 400, "size_max"},
        {"?size_max=9999999999999999999999", 400, "size_max"},
        {"?size_max=%31%2", 400, "size_max"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, "/api/v1/positions%s", rows[i].query);
        struct answer *answer = get(path);
        cr_expect_eq(answer->code, rows[i].code, "%s: %ld %s", rows[i].query, answer->code, answer->body);
        cr_expect(has(answer, rows[i].part), "%s: %s", rows[i].query, answer->body);
        if (rows[i].code == 400)
            cr_expect(has(answer, "\"error_code\":\"VALIDATION_ERROR\""), "%s", rows[i].query);
    }
}

Test(http_server, one_position_is_found_by_asset_and_mode)
{
    static const struct {
        const char *path;
        int code;
        const char *part;
    } rows[] = {
        {"/api/v1/positions/BTCUSDT", 200, "\"size\":\"1.0\""},
        {"/api/v1/positions/btcusdt", 200, "\"asset\":\"BTCUSDT\""},
        {"/api/v1/positions/BTCUSDT?mode=hedge", 200, "\"size\":\"0.5\""},
        {"/api/v1/positions/%42TCUSDT", 200, "\"asset\":\"BTCUSDT\""},
        {"/api/v1/./positions/x/../BTCUSDT", 200, "\"asset\":\"BTCUSDT\""},
        {"/api/v1/positions/ETHUSDT?mode=hedge", 404, "NOT_FOUND"},
        {"/api/v1/positions/NONEUSDT", 404, "NOT_FOUND"},
        {"/api/v1/positions/no-asset-at-all", 404, "NOT_FOUND"},
        {"/api/v1/positions/%00", 404, "NOT_FOUND"},
        {"/api/v1/positions/BTCUSDT%2Fx", 404, "NOT_FOUND"},
        {"/api/v1/positions/BTCUSDT?mode=up", 400, "VALIDATION_ERROR"},
        {"/api/v1/positions/", 404, "NOT_FOUND"},
        {"/nothing/here", 404, "NOT_FOUND"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct answer *answer = get(rows[i].path);
        cr_expect_eq(answer->code, rows[i].code, "%s: %ld %s", rows[i].path, answer->code, answer->body);
        cr_expect(has(answer, rows[i].part), "%s: %s", rows[i].path, answer->body);
    }
}

Test(http_server, the_portfolio_sums_up_what_it_lists)
{
    struct answer *answer = get("/api/v1/portfolio");
    cr_assert_eq(answer->code, 200);
    cr_expect(has(answer, "\"total_exposure_usdt\":\"81000.00\""), "%s", answer->body);
    cr_expect(has(answer, "\"net_exposure_usdt\":\"69000.00\""), "%s", answer->body);
    cr_expect(has(answer, "\"unpriced_positions_count\":1"));
    cr_expect(has(answer, "\"limit_exceeded\":false"));
    cr_expect(has(answer, "\"BTCUSDT\":{\"exposure_usdt\":\"75000.00\""), "%s", answer->body);
    cr_expect_not(has(answer, "\"positions\":"));
    cr_expect_eq(count_of(answer->body, "BTCUSDT"), 1);
    answer = get("/api/v1/portfolio?include_positions=yes");
    cr_expect(has(answer, "\"positions\":[{"));
    cr_expect_eq(count_of(answer->body, "\"position_size_norm\""), 4);
    answer = get("/api/v1/portfolio?asset=ethusdt&include_positions=1");
    cr_expect(has(answer, "\"total_exposure_usdt\":\"6000.00\""), "%s", answer->body);
    cr_expect_not(has(answer, "BTCUSDT"));
    cr_expect(has(answer, "\"position_size_norm\":\"0.07407407\""), "%s", answer->body);
    answer = get("/api/v1/portfolio?asset=DOGEUSDT&include_positions=true");
    cr_expect(has(answer, "\"by_asset\":{}") && has(answer, "\"positions\":[]"), "%s", answer->body);
    cr_expect_eq(get("/api/v1/portfolio?asset=x")->code, 400);
    cr_expect_eq(get("/api/v1/portfolio?include_positions=")->code, 400);
    cr_expect_eq(get("/api/v1/portfolio?include_positions=maybe")->code, 400);
    answer = get("/api/v1/portfolio/exposure");
    cr_expect(has(answer, "\"total_exposure_usdt\":\"81000.00\"") && has(answer, "\"by_asset\":{\"BTCUSDT\":{\"exp"));
    answer = get("/api/v1/portfolio/pnl");
    cr_expect(has(answer, "\"total_pnl_usdt\":\"0.00\"") && has(answer, "\"calculated_at\":\""), "%s", answer->body);
}

Test(http_server, kept_answers_give_way_to_a_change_at_once)
{
    static const char *const paths[] = {"/api/v1/positions", "/api/v1/portfolio",
                                        "/api/v1/portfolio?include_positions=1", "/api/v1/portfolio/exposure",
                                        "/api/v1/positions/SOLUSDT"};
    struct server_reading reading;
    for (int round = 0; round < 20; round++) {
        char size[16], shown[64];
        snprintf(size, sizeof size, "%d.25", round);
        publish("SOLUSDT", POSITION_MODE_ONE_WAY, size, "100");
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            snprintf(shown, sizeof shown, "\"size\":\"%s\"", size);
            cr_expect(has(get(paths[i]), shown), "%s", paths[i]);
            cr_expect(has(get(paths[i]), shown), "%s again", paths[i]);
        }
    }
    for (int i = 0; i < 20; i++)
        (void)get("/api/v1/portfolio");
    server_read(fixture.server, &reading);
    cr_expect_gt(reading.portfolio_hits, 10);
    cr_expect_gt(reading.portfolio_misses, 20);
}

Test(http_server, a_key_is_needed_except_for_public_paths)
{
    static const struct {
        const char *path, *key;
        int code;
    } rows[] = {
        {"/api/v1/positions", NULL, 401},
        {"/api/v1/positions", "wrong", 401},
        {"/api/v1/positions", KEY "x", 401},
        {"/nothing", NULL, 401},
        {"/nothing", KEY, 404},
        {"/api/v1/portfolio/pnl", NULL, 401},
        {"/health", NULL, 200},
        {"/health/live", NULL, 200},
        {"/health/ready", NULL, 200},
        {"/health/x", NULL, 404},
        {"/metrics", NULL, 200},
        {"/openapi.json", NULL, 200},
        {"/%68ealth/../api/v1/positions", NULL, 401},
        {"/health/../api/v1/positions", NULL, 401},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct answer *answer = ask(rows[i].path, (struct ask){.key = rows[i].key});
        cr_expect_eq(answer->code, rows[i].code, "%s: %ld", rows[i].path, answer->code);
        if (rows[i].code == 401)
            cr_expect(has(answer, "\"error_code\":\"UNAUTHORIZED\""));
    }
}

Test(http_server, only_known_methods_pass_and_head_is_get_without_a_body)
{
    struct answer *answer = ask("/api/v1/positions", (struct ask){.method = "DELETE", .key = KEY});
    cr_expect_eq(answer->code, 405);
    cr_expect(has(answer, "METHOD_NOT_ALLOWED"));
    cr_expect_str_eq(header_of(answer, "allow"), "GET, HEAD");
    cr_expect_eq(ask("/api/v1/positions", (struct ask){.method = "DELETE"})->code, 401);
    cr_expect_eq(ask("/health", (struct ask){.method = "POST"})->code, 405);
    size_t len = get("/api/v1/positions")->body_len;
    answer = ask("/api/v1/positions", (struct ask){.method = "HEAD", .key = KEY});
    cr_expect_eq(answer->code, 200);
    cr_expect_eq(answer->body_len, 0);
    cr_expect_eq((size_t)atol(header_of(answer, "content-length")), len);
    cr_expect_eq(ask("/api/v1/positions/NOUSDT", (struct ask){.method = "HEAD", .key = KEY})->code, 404);
}

Test(http_server, the_limit_of_a_key_is_told_and_kept)
{
    enum { TOKEN_US = 20000000 }; /* three a minute */
    static const char *const left[] = {"2", "1", "0"};
    const int64_t began_us = clock_steady_us();
    struct answer *answer;
    for (int i = 0; i < 3; i++) {
        answer = ask("/nothing", (struct ask){.key = SMALL_KEY});
        cr_expect_eq(answer->code, 404);
        cr_expect_str_eq(header_of(answer, "ratelimit-limit"), "3");
        if (clock_steady_us() - began_us < TOKEN_US) /* later one has come back */
            cr_expect_str_eq(header_of(answer, "ratelimit-remaining"), left[i]);
        cr_expect_geq(atoi(header_of(answer, "ratelimit-reset")), 1);
    }
    answer = ask("/api/v1/portfolio", (struct ask){.key = SMALL_KEY});
    while (answer->code != 429 && clock_steady_us() - began_us > TOKEN_US) /* one has come back meanwhile */
        answer = ask("/api/v1/portfolio", (struct ask){.key = SMALL_KEY});
    cr_expect_eq(answer->code, 429);
    cr_expect(has(answer, "RATE_LIMITED"));
    cr_expect_geq(atoi(header_of(answer, "retry-after")), 1);
    cr_expect_str_eq(header_of(answer, "ratelimit-remaining"), "0");
    cr_expect_eq(get("/api/v1/portfolio")->code, 200, "another key has a bucket of its own");
    cr_expect_eq(ask("/health", (struct ask){.key = SMALL_KEY})->code, 200, "public paths cost nothing");
}

Test(http_server, trace_ids_are_echoed_where_they_are_sane_and_made_where_not)
{
    struct answer *answer = ask("/nothing", (struct ask){.key = KEY, .header = "X-Trace-Id: my-trace.1"});
    cr_expect_str_eq(header_of(answer, "x-trace-id"), "my-trace.1");
    cr_expect(has(answer, "\"trace_id\":\"my-trace.1\""));
    answer =
        ask("/health", (struct ask){.header = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
    cr_expect_str_eq(header_of(answer, "x-trace-id"), "0af7651916cd43dd8448eb211c80319c");
    answer = ask("/nothing", (struct ask){.header = "X-Trace-Id: a\"b"});
    cr_expect_eq(strlen(header_of(answer, "x-trace-id")), 32);
    cr_expect_not(has(answer, "a\\\"b"));
}

Test(http_server, every_protocol_gives_the_same_answer)
{
    static const struct {
        const char *name;
        long asked, got;
    } rows[] = {{"HTTP/1.0", CURL_HTTP_VERSION_1_0, CURL_HTTP_VERSION_1_1},
                {"HTTP/1.1", CURL_HTTP_VERSION_1_1, CURL_HTTP_VERSION_1_1},
                {"Upgrade", CURL_HTTP_VERSION_2_0, CURL_HTTP_VERSION_2_0},
                {"prior knowledge", CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE, CURL_HTTP_VERSION_2_0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ask how = {.key = KEY, .version = rows[i].asked};
        struct answer *answer = ask("/api/v1/positions", how);
        cr_expect_eq(answer->code, 200, "%s", rows[i].name);
        cr_expect_eq(answer->version, rows[i].got, "%s", rows[i].name);
        cr_expect(has(answer, "\"count\":4}"), "%s", rows[i].name);
        cr_expect_not_null(header_of(answer, "ratelimit-limit"), "%s", rows[i].name);
        cr_expect_not_null(header_of(answer, "ratelimit-remaining"), "%s", rows[i].name);
        cr_expect_not_null(header_of(answer, "ratelimit-reset"), "%s", rows[i].name);
        cr_expect_eq(strlen(header_of(answer, "x-trace-id")), 32, "%s", rows[i].name);
        how.method = "HEAD";
        answer = ask("/api/v1/positions", how);
        cr_expect_eq(answer->code, 200, "%s", rows[i].name);
        cr_expect_eq(answer->body_len, 0, "%s", rows[i].name);
    }
}

/* Behind a text of less than 127 bytes. */
static const unsigned char *behind_text(const unsigned char *at)
{
    return at + 1 + (*at & 0x7f);
}

/* How many fields of a block enter the client's table (RFC 7541 §6.2.1). */
static size_t entered_count(const unsigned char *block, size_t len)
{
    size_t count = 0;
    for (const unsigned char *at = block; at < block + len;) {
        const bool is_indexed = (*at & 0x80) != 0;
        const bool enters = (*at & 0xc0) == 0x40;
        const unsigned index = *at & (enters ? 0x3f : 0x0f);
        at += !is_indexed && !enters && index == 0x0f ? 2 : 1;
        if (!is_indexed && index == 0)
            at = behind_text(at);
        if (!is_indexed)
            at = behind_text(at);
        count += enters;
    }
    return count;
}

/* Otherwise the trace ids of 40 answers push out what is the same in all of them. */
Test(http_server, fields_that_always_change_are_not_kept_by_an_http2_connection)
{
    enum { REQUESTS = 40 };
    unsigned char block[64], batch[4096];
    static char out[1 << 16];
    size_t block_len = frame_get_block(block, "/api/v1/positions", KEY), len = 0, answers = 0, entered = 0;
    bool closed;
    int fd = dial_http2();
    const int64_t began_us = clock_steady_us();
    for (uint32_t i = 0; i < REQUESTS; i++)
        len += frame(batch + len, 1, 5, 1 + 2 * i, block, block_len);
    say(fd, batch, len);
    len = hear_frames(fd, out, sizeof out, 1, REQUESTS, &closed);
    const size_t seconds_begun = (size_t)((clock_steady_us() - began_us) / 1000000) + 1;
    close(fd);
    for (size_t at = 0; at + 9 <= len;) {
        const unsigned char *head = (const unsigned char *)out + at;
        size_t frame_len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (head[3] == 1 && answers++ > 0)
            entered += entered_count(head + 9, frame_len);
        at += 9 + frame_len;
    }
    cr_assert_eq(answers, REQUESTS);
    cr_expect_leq(entered, seconds_begun, "none but in the first answer, and the date of each second that began");
}

Test(http_server, one_connection_serves_many_requests)
{
    CURL *curl = curl_easy_init();
    long connects = 0;
    for (int i = 0; i < 300; i++) {
        long fresh;
        cr_assert_eq(ask("/api/v1/portfolio", (struct ask){.key = KEY, .curl = curl})->code, 200);
        curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &fresh);
        connects += fresh;
    }
    cr_expect_eq(connects, 1);
    curl_easy_cleanup(curl);
}

Test(http_server, health_follows_the_board)
{
    struct answer *answer = ask("/health", (struct ask){0});
    cr_expect(has(answer, "\"status\":\"healthy\"") && has(answer, "\"positions_count\":4"), "%s", answer->body);
    cr_expect(has(answer, "\"service\":\"position-manager\",\"version\":\"1.2.3\""));
    fixture.board.oldest_unacked_at_us = clock_steady_us() - 3600250000;
    fixture.board.outbound_connected = false;
    answer = ask("/health", (struct ask){0});
    cr_expect_eq(answer->code, 503);
    cr_expect(has(answer, "\"status\":\"unhealthy\"") && has(answer, "\"queue_connected\":false"));
    cr_expect(has(answer, "\"oldest_unacked_seconds\":36"), "%s", answer->body);
    cr_expect_eq(ask("/health/ready", (struct ask){0})->code, 200, "a lost neighbour does not end reads");
    fixture.board.positions_loaded = false;
    cr_expect_eq(ask("/health/ready", (struct ask){0})->code, 503);
    cr_expect_eq(ask("/health/live", (struct ask){0})->code, 200);
    answer = get("/api/v1/positions");
    cr_expect_eq(answer->code, 503);
    cr_expect(has(answer, "UNAVAILABLE"));
    cr_expect_str_eq(header_of(answer, "retry-after"), "1");
    fixture.board.positions_loaded = true;
    fixture.board.stopping = true;
    cr_expect_eq(ask("/health/ready", (struct ask){0})->code, 503);
    cr_expect_eq(get("/api/v1/positions")->code, 200);
}

Test(http_server, metrics_come_in_the_form_that_was_asked_for)
{
    struct answer *answer = ask("/metrics", (struct ask){0});
    cr_expect_str_eq(header_of(answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    cr_expect(has(answer, "up 1\n"));
    answer = ask("/metrics", (struct ask){.header = "Accept: Application/JSON, */*;q=0.1"});
    cr_expect_str_eq(header_of(answer, "content-type"), "application/json");
    cr_expect(has(answer, "database_connected"));
}

/* Whether an object has exactly the properties of a schema (all but `optional`, which may be NULL). */
static void compare_with_schema(struct json_object *served, struct json_object *schemas, const char *name,
                                const char *optional)
{
    struct json_object *schema = NULL, *properties = NULL, *found = NULL;
    cr_assert(json_object_object_get_ex(schemas, name, &schema), "%s", name);
    cr_assert(json_object_object_get_ex(schema, "properties", &properties));
    json_object_object_foreach(properties, key, unused)
    {
        (void)unused;
        if (optional == NULL || strcmp(key, optional) != 0)
            cr_expect(json_object_object_get_ex(served, key, &found), "%s lacks %s", name, key);
    }
    json_object_object_foreach(served, served_key, value)
    {
        (void)value;
        cr_expect(json_object_object_get_ex(properties, served_key, &found), "%s has %s", name, served_key);
    }
}

Test(http_server, answers_have_the_members_that_the_openapi_document_promises)
{
    static const struct {
        const char *path, *schema, *optional;
    } rows[] = {
        {"/api/v1/positions", "PositionList", NULL},
        {"/api/v1/positions/BTCUSDT", "Position", NULL},
        {"/api/v1/portfolio", "PortfolioMetrics", "positions"},
        {"/api/v1/portfolio?include_positions=1", "PortfolioMetrics", NULL},
        {"/api/v1/portfolio/exposure", "PortfolioExposure", NULL},
        {"/api/v1/portfolio/pnl", "PortfolioPnl", NULL},
        {"/health", "Health", NULL},
        {"/health/live", "Liveness", NULL},
        {"/health/ready", "Readiness", NULL},
        {"/api/v1/positions/NOUSDT", "Error", NULL},
    };
    struct json_object *document = json_tokener_parse(get("/openapi.json")->body), *components = NULL, *schemas = NULL;
    cr_assert_not_null(document);
    cr_assert(json_object_object_get_ex(document, "components", &components));
    cr_assert(json_object_object_get_ex(components, "schemas", &schemas));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_object *served = json_tokener_parse(get(rows[i].path)->body), *by_asset = NULL, *asset = NULL;
        cr_assert_not_null(served, "%s", rows[i].path);
        compare_with_schema(served, schemas, rows[i].schema, rows[i].optional);
        if (json_object_object_get_ex(served, "by_asset", &by_asset) &&
            json_object_object_get_ex(by_asset, "BTCUSDT", &asset))
            compare_with_schema(asset, schemas, "AssetMetrics", NULL);
        json_object_put(served);
    }
    json_object_put(document);
}

/* More positions than there are places to keep them in, both modes of each: none is taken for another. */
Test(http_server, kept_positions_are_not_mixed_up)
{
    enum { COUNT = 100 };
    CURL *curl = curl_easy_init();
    for (int i = 0; i < COUNT; i++) {
        char asset[32], size[16];
        snprintf(asset, sizeof asset, "K%dUSDT", i);
        snprintf(size, sizeof size, "%d.5", i);
        publish(asset, POSITION_MODE_ONE_WAY, size, "1");
        publish(asset, POSITION_MODE_HEDGE, size, "2");
    }
    for (int i = 0; i < 4 * COUNT; i++) {
        char path[96], asset[32], size[32];
        bool is_hedge = i / 2 % 2 == 1; /* each twice in a row, so that the second is a kept one */
        snprintf(asset, sizeof asset, "\"asset\":\"K%dUSDT\"", i / 4);
        snprintf(size, sizeof size, "\"size\":\"%d.5\"", i / 4);
        snprintf(path, sizeof path, "/api/v1/positions/K%dUSDT?mode=%s", i / 4, is_hedge ? "hedge" : "one-way");
        const struct answer *answer = ask(path, (struct ask){.key = KEY, .curl = curl});
        cr_expect_eq(answer->code, 200, "%s", path);
        cr_expect(has(answer, asset) && has(answer, size), "%s: %s", path, answer->body);
        cr_expect(has(answer, is_hedge ? "\"current_price\":\"2.00\"" : "\"current_price\":\"1.00\""), "%s", path);
    }
    curl_easy_cleanup(curl);
}

static void sum_up(void *context, const struct server_visit *visit)
{
    uint64_t *counts = context;
    if (strcmp(visit->route, "/api/v1/positions/{asset}") == 0 && visit->code == 200)
        counts[0] += visit->count;
    if (strcmp(visit->route, "unmatched") == 0 && visit->code == 404)
        counts[1] += visit->count;
    if (strcmp(visit->route, "/api/v1/portfolio") == 0 && strcmp(visit->method, "GET") == 0 && visit->code == 200)
        counts[2] += 1;
}

Test(http_server, requests_are_counted_by_template)
{
    uint64_t counts[3] = {0};
    (void)get("/api/v1/positions/BTCUSDT");
    (void)get("/api/v1/positions/ETHUSDT");
    (void)get("/random/1");
    server_count_visit(fixture.server, sum_up, counts);
    cr_expect_eq(counts[0], 2);
    cr_expect_eq(counts[1], 1);
    cr_expect_eq(counts[2], 1, "a series is there before its first request");
}

Test(http_server, a_taken_address_and_unusable_settings_are_refused)
{
    struct server *second = NULL;
    struct server_settings settings = fixture.settings;
    settings.port = server_port(fixture.server);
    cr_expect_eq(server_create(&settings, &fixture.board, fixture.directory, &second), STATUS_UNAVAILABLE);
    cr_expect_null(second);
    settings.port = 0;
    settings.tls_cert = settings.tls_key = "/nowhere/cert.pem";
    cr_expect_eq(server_create(&settings, &fixture.board, fixture.directory, &second), STATUS_UNAVAILABLE);
    settings.tls_cert = settings.tls_key = NULL;
    settings.host = "no host at all";
    cr_expect_eq(server_create(&settings, &fixture.board, fixture.directory, &second), STATUS_UNAVAILABLE);
    settings.host = "127.0.0.1";
    settings.keys = &(const struct api_key){"", 1};
    settings.key_count = 1;
    cr_expect_eq(server_create(&settings, &fixture.board, fixture.directory, &second), STATUS_INVALID);
    cr_expect_null(second);
}
