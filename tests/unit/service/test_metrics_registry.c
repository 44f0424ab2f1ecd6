#include <criterion/criterion.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "metrics.h"
#include "metrics_names.h"
#include "metrics_registry.h"
#include "status.h"

enum { SERIES_MAX = 1024, SERIES_LEN_MAX = 400 };

static void give_totals(void *context, struct portfolio_totals *out)
{
    (void)context;
    *out = (struct portfolio_totals){.exposure = wide_multiply((int128)123456789012345LL * DECIMAL_ONE, 100000001),
                                     .net_exposure = wide_multiply(-1000000000, 150000000),
                                     .unrealized_pnl = -1,
                                     .realized_pnl = (int128)DECIMAL_ONE * 5 / 2,
                                     .positions = 7,
                                     .open = 5,
                                     .longs = 3,
                                     .shorts = 2,
                                     .unpriced = 1};
}

static void give_routes(void *context, metrics_route_visit_fn *visit, void *visitor)
{
    (void)context;
    visit(visitor, "GET", "/api/v1/positions/{asset}", 200, 12);
    visit(visitor, "GET", "/api/v1/positions/{asset}", 404, 1);
    visit(visitor, "POST", "a \"strange\\\n\" route", 0, 0);
}

static void give_cache(void *context, uint64_t *hits, uint64_t *misses)
{
    const uint64_t *figures = context;
    *hits = figures[0];
    *misses = figures[1];
}

static size_t give_fullest_queue(const void *context)
{
    return *(const size_t *)context - 1;
}

static size_t give_outstanding(const void *context)
{
    return *(const size_t *)context;
}

/* Everything that a page can hold, and the mailboxes that it borrows. */
struct fixture {
    struct board board;
    struct mailbox *mailboxes[3];
    uint64_t cache[2];
    size_t outstanding;
    struct directory *directory;
    struct survey *survey;
    struct metrics_sources sources;
    char *page;
    size_t len;
};

static void fixture_init(struct fixture *fixture)
{
    static const uint32_t capacities[] = {7, 100};
    *fixture = (struct fixture){.cache = {3, 1}, .outstanding = 77};
    fixture->directory = directory_create(1);
    struct survey_settings survey = {.directory = fixture->directory, .assets_max = 3, .staleness_us = 1};
    fixture->survey = survey_create(&survey);
    fixture->mailboxes[0] = mailbox_create("shard", capacities, 2);
    fixture->mailboxes[1] = mailbox_create("publisher", capacities, 1);
    fixture->mailboxes[2] = mailbox_create("shard", capacities, 1);
    fixture->board.started_wall_us = 1700000000250000;
    atomic_store(&fixture->board.database_connected, true);
    atomic_store(&fixture->board.inbound_connected, true);
    atomic_store(&fixture->board.pending_commits, 17);
    fixture->sources = (struct metrics_sources){.board = &fixture->board,
                                                .version = "1.2.3",
                                                .revision = "abc",
                                                .mailboxes = fixture->mailboxes,
                                                .mailbox_count = 3,
                                                .totals = give_totals,
                                                .routes = give_routes,
                                                .cache = give_cache,
                                                .cache_context = fixture->cache,
                                                .survey = fixture->survey,
                                                .outstanding = give_outstanding,
                                                .fullest_queue = give_fullest_queue,
                                                .outstanding_context = &fixture->outstanding,
                                                .prefetch = 8000,
                                                .queue_prefetch = 4000,
                                                .exposure_limit = decimal_from_units(150000000),
                                                .rate_limit_enabled = true,
                                                .rate_limit_default = 100,
                                                .key_count = 2};
}

/* Lets the survey look once, at one open position. */
static void fixture_survey(struct fixture *fixture)
{
    struct position position;
    position_init(&position, "BTCUSDT", POSITION_MODE_ONE_WAY, (struct uuid){{0}}, 1);
    position.size = decimal_from_units(DECIMAL_ONE);
    position.opened_at_us = 1;
    (void)directory_publish(directory_part(fixture->directory, 0), &position);
    struct actor_time now = {.wall_us = clock_wall_us(), .steady_us = 1};
    (void)survey_receive(fixture->survey, NULL, 0, now);
}

static void fixture_render(struct fixture *fixture)
{
    free(fixture->page);
    fixture->len = metrics_render_prometheus(&fixture->sources, &fixture->page);
    cr_assert_not_null(fixture->page);
    cr_assert_eq(fixture->len, strlen(fixture->page));
}

static void fixture_finish(struct fixture *fixture)
{
    for (size_t i = 0; i < 3; i++)
        mailbox_destroy(fixture->mailboxes[i]);
    survey_destroy(fixture->survey);
    directory_destroy(fixture->directory);
    free(fixture->page);
}

static void expect_line(const struct fixture *fixture, const char *line)
{
    char whole[SERIES_LEN_MAX];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    cr_expect_not_null(strstr(fixture->page, whole), "missing: %s", line);
}

/* ---- what Prometheus makes of it ---- */

static int promtool_exit_code(const char *page, size_t len, char *said, size_t said_size)
{
    char path[] = "/tmp/pm-service-metrics-XXXXXX", command[256];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, page, len), (ssize_t)len);
    close(fd);
    snprintf(command, sizeof command, "promtool check metrics < %s 2>&1", path);
    FILE *output = popen(command, "r");
    cr_assert_not_null(output);
    size_t said_len = fread(said, 1, said_size - 1, output);
    said[said_len] = '\0';
    int code = pclose(output);
    unlink(path);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

Test(metrics_registry, promtool_accepts_the_page_without_a_word, .timeout = 120)
{
    struct fixture fixture;
    char said[4096];
    fixture_init(&fixture);
    histogram_observe(HISTOGRAM_HTTP_SECONDS, 1234);
    fixture_survey(&fixture);
    fixture_render(&fixture);
    int code = promtool_exit_code(fixture.page, fixture.len, said, sizeof said);
    cr_expect_neq(code, 127, "promtool is missing: apt-get install prometheus");
    cr_expect_eq(code, 0, "%s", said);
    cr_expect_str_eq(said, "");
    fixture_finish(&fixture);
}

Test(metrics_registry, promtool_would_tell_of_a_bad_page, .timeout = 120)
{
    char said[4096];
    static const char bad[] = "# HELP x_total No unit, no type.\nx_total{a=\"b} 1\n";
    cr_expect_neq(promtool_exit_code(bad, sizeof bad - 1, said, sizeof said), 0);
    cr_expect_gt(strlen(said), 0u);
}

/* ---- the grammar, where promtool does not look ---- */

struct grammar {
    char family[128], type[16];
    char families[SERIES_MAX][128];
    size_t family_count;
    char series[SERIES_MAX][SERIES_LEN_MAX];
    size_t series_count;
    bool awaits_type;
};

static void take_help(struct grammar *g, const char *line)
{
    cr_expect_not(g->awaits_type, "%s: HELP without TYPE", g->family);
    cr_assert_eq(sscanf(line, "# HELP %127s", g->family), 1);
    for (size_t i = 0; i < g->family_count; i++)
        cr_expect_str_neq(g->families[i], g->family, "a family stands twice");
    memcpy(g->families[g->family_count++], g->family, sizeof g->family);
    cr_expect_gt(strlen(line), strlen("# HELP ") + strlen(g->family) + 5, "%s: no help", g->family);
    g->awaits_type = true;
}

static void take_type(struct grammar *g, const char *line)
{
    char name[128];
    cr_assert_eq(sscanf(line, "# TYPE %127s %15s", name, g->type), 2);
    cr_expect_str_eq(name, g->family);
    cr_expect(g->awaits_type);
    g->awaits_type = false;
    bool is_total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
    cr_expect_eq(is_total, strcmp(g->type, "counter") == 0, "%s is a %s", name, g->type);
    bool is_ours = strncmp(name, METRICS_PREFIX, strlen(METRICS_PREFIX)) == 0;
    cr_expect(is_ours || strncmp(name, "process_", 8) == 0, "%s has no prefix", name);
}

static void take_sample(struct grammar *g, const char *line)
{
    const char *value = strrchr(line, ' ');
    cr_assert_not_null(value, "%s", line);
    char *end;
    (void)strtod(value + 1, &end);
    cr_expect_eq(*end, '\0', "%s: no number", line);
    cr_expect_not(g->awaits_type, "%s", line);
    size_t family_len = strlen(g->family);
    cr_expect_eq(strncmp(line, g->family, family_len), 0, "%s stands outside its family", line);
    char after = line[family_len];
    bool is_part = strcmp(g->type, "histogram") == 0 && after == '_';
    cr_expect(is_part || after == '{' || after == ' ', "%s stands outside its family", line);
    cr_assert_lt(g->series_count, (size_t)SERIES_MAX);
    char *series = g->series[g->series_count];
    snprintf(series, SERIES_LEN_MAX, "%.*s", (int)(value - line), line);
    for (size_t i = 0; i < g->series_count; i++)
        cr_expect_str_neq(g->series[i], series, "a series stands twice");
    g->series_count++;
}

static void check_grammar(struct grammar *g, const char *page)
{
    size_t len = strlen(page);
    cr_assert_gt(len, 0u);
    cr_expect_eq(page[len - 1], '\n');
    for (const char *line = page, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char copy[1024];
        cr_assert_lt((size_t)(end - line), sizeof copy);
        snprintf(copy, sizeof copy, "%.*s", (int)(end - line), line);
        if (strncmp(copy, "# HELP", 6) == 0)
            take_help(g, copy);
        else if (strncmp(copy, "# TYPE", 6) == 0)
            take_type(g, copy);
        else
            take_sample(g, copy);
    }
}

Test(metrics_registry, each_family_is_one_piece_and_no_series_stands_twice)
{
    static struct grammar grammar;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_survey(&fixture);
    fixture_render(&fixture);
    check_grammar(&grammar, fixture.page);
    cr_expect_gt(grammar.family_count, 70u);
    fixture_finish(&fixture);
}

Test(metrics_registry, every_counter_and_histogram_has_a_name_of_its_own)
{
    bool has_counter[METRIC_COUNT] = {false}, has_histogram[HISTOGRAM_COUNT] = {false};
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        cr_assert_not_null(counter_names[i].family, "entry %zu is a hole", i);
        cr_expect_not(has_counter[counter_names[i].metric], "%s: its counter has two names", counter_names[i].family);
        has_counter[counter_names[i].metric] = true;
    }
    for (size_t i = 0; i < HISTOGRAM_COUNT; i++) {
        cr_assert_not_null(histogram_names[i].family, "entry %zu is a hole", i);
        cr_expect_not(has_histogram[histogram_names[i].histogram], "%s", histogram_names[i].family);
        has_histogram[histogram_names[i].histogram] = true;
    }
}

/* ---- the figures ---- */

Test(metrics_registry, each_counter_shows_up_under_its_name)
{
    struct fixture fixture;
    fixture_init(&fixture);
    for (size_t i = 0; i < METRIC_COUNT; i++)
        metric_add(counter_names[i].metric, 1000 + i);
    fixture_render(&fixture);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        char line[SERIES_LEN_MAX];
        const char *label = counter_names[i].label;
        snprintf(line, sizeof line, METRICS_PREFIX "%s%s%s%s %zu", counter_names[i].family, label != NULL ? "{" : "",
                 label != NULL ? label : "", label != NULL ? "}" : "", 1000 + i);
        expect_line(&fixture, line);
    }
    fixture_finish(&fixture);
}

Test(metrics_registry, refusals_have_every_reason_from_the_start)
{
    struct fixture fixture;
    fixture_init(&fixture);
    metric_refused(STATUS_BAD_ASSET);
    fixture_render(&fixture);
    for (enum status reason = STATUS_NOT_JSON; reason <= STATUS_REFUSAL_LAST; reason++) {
        char line[SERIES_LEN_MAX];
        snprintf(line, sizeof line, "position_manager_messages_refused_total{reason=\"%s\"} %d", status_word(reason),
                 reason == STATUS_BAD_ASSET);
        expect_line(&fixture, line);
    }
    fixture_finish(&fixture);
}

Test(metrics_registry, gauges_say_what_their_sources_say)
{
    static const char *const lines[] = {
        "position_manager_database_connected 1",
        "position_manager_broker_connected{direction=\"inbound\"} 1",
        "position_manager_broker_connected{direction=\"outbound\"} 0",
        "position_manager_positions_loaded 0",
        "position_manager_pending_commits 17",
        "position_manager_oldest_unacked_seconds 0",
        "position_manager_positions 7",
        "position_manager_open_positions 5",
        "position_manager_long_positions 3",
        "position_manager_short_positions 2",
        "position_manager_unpriced_positions 1",
        "position_manager_exposure_usdt 123456790246912.89012345",
        "position_manager_net_exposure_usdt -15",
        "position_manager_portfolio_value_usdt -15",
        "position_manager_unacknowledged_deliveries 77",
        "position_manager_queue_unacknowledged_deliveries 76",
        "position_manager_prefetch 8000",
        "position_manager_queue_prefetch 4000",
        "position_manager_unrealized_pnl_usdt -0.00000001",
        "position_manager_realized_pnl_usdt 2.5",
        "position_manager_exposure_limit_usdt 1.5",
        "position_manager_log_lines_dropped_total 0",
        "position_manager_http_requests_total{method=\"GET\",route=\"/api/v1/positions/{asset}\",code=\"200\"} 12",
        "position_manager_http_requests_total{method=\"GET\",route=\"/api/v1/positions/{asset}\",code=\"404\"} 1",
        "position_manager_http_requests_total{method=\"POST\",route=\"a \\\"strange\\\\\\n\\\" route\",code=\"other\"} "
        "0",
        "position_manager_portfolio_cache_requests_total{result=\"hit\"} 3",
        "position_manager_portfolio_cache_requests_total{result=\"miss\"} 1",
        "process_start_time_seconds 1700000000.25",
    };
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_render(&fixture);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_line(&fixture, lines[i]);
    cr_expect_not_null(strstr(fixture.page, "build_info{version=\"1.2.3\",revision=\"abc\",compiler=\""));
    fixture_finish(&fixture);
}

static double value_of(const struct fixture *fixture, const char *series)
{
    char whole[SERIES_LEN_MAX];
    snprintf(whole, sizeof whole, "\n%s ", series);
    const char *found = strstr(fixture->page, whole);
    cr_assert_not_null(found, "%s", series);
    return strtod(found + strlen(whole), NULL);
}

Test(metrics_registry, the_process_is_told_of_in_plausible_figures)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_render(&fixture);
    cr_expect_gt(value_of(&fixture, "process_resident_memory_bytes"), 100000.0);
    cr_expect_gt(value_of(&fixture, "process_virtual_memory_bytes"),
                 value_of(&fixture, "process_resident_memory_bytes"));
    cr_expect_geq(value_of(&fixture, "process_cpu_seconds_total"), 0.0);
    double open_before = value_of(&fixture, "process_open_fds");
    cr_expect_gt(value_of(&fixture, "process_max_fds"), open_before);
    int counted = 0;
    for (int candidate = 0; candidate < 1024; candidate++)
        counted += fcntl(candidate, F_GETFD) >= 0;
    cr_expect_eq(open_before, (double)counted);
    int fd = dup(2);
    fixture_render(&fixture);
    cr_expect_eq(value_of(&fixture, "process_open_fds"), open_before + 1);
    close(fd);
    fixture_finish(&fixture);
}

Test(metrics_registry, the_oldest_delivery_ages)
{
    struct fixture fixture;
    fixture_init(&fixture);
    atomic_store(&fixture.board.oldest_unacked_at_us, clock_steady_us() - 2500000);
    fixture_render(&fixture);
    double age = value_of(&fixture, "position_manager_oldest_unacked_seconds");
    cr_expect_geq(age, 2.5);
    cr_expect_lt(age, 60.0);
    atomic_store(&fixture.board.oldest_unacked_at_us, clock_steady_us() + 1000000000);
    fixture_render(&fixture);
    cr_expect_eq(value_of(&fixture, "position_manager_oldest_unacked_seconds"), 0.0, "a race is no negative age");
    fixture_finish(&fixture);
}

Test(metrics_registry, mailboxes_of_one_name_are_told_apart)
{
    struct fixture fixture;
    fixture_init(&fixture);
    struct message message = {0}, *sent = &message;
    cr_assert_eq(mailbox_send(fixture.mailboxes[2], 0, &sent), STATUS_OK);
    fixture_render(&fixture);
    expect_line(&fixture, "position_manager_mailbox_depth{mailbox=\"shard\",instance=\"0\",lane=\"0\"} 0");
    expect_line(&fixture, "position_manager_mailbox_depth{mailbox=\"shard\",instance=\"0\",lane=\"1\"} 0");
    expect_line(&fixture, "position_manager_mailbox_depth{mailbox=\"publisher\",instance=\"0\",lane=\"0\"} 0");
    expect_line(&fixture, "position_manager_mailbox_depth{mailbox=\"shard\",instance=\"1\",lane=\"0\"} 1");
    cr_expect_geq(value_of(&fixture, "position_manager_mailbox_capacity{mailbox=\"shard\",instance=\"0\",lane=\"1\"}"),
                  100.0);
    struct message *received;
    cr_expect_eq(mailbox_receive(fixture.mailboxes[2], &received, 1), 1u);
    fixture_finish(&fixture);
}

Test(metrics_registry, sources_that_are_not_there_leave_their_families_out)
{
    static struct grammar grammar;
    struct fixture fixture;
    char said[4096];
    fixture_init(&fixture);
    fixture.sources = (struct metrics_sources){
        .board = &fixture.board, .version = "1", .revision = "r", .exposure_limit = DECIMAL_NONE};
    fixture_render(&fixture);
    check_grammar(&grammar, fixture.page);
    static const char *const absent[] = {"usdt",          "prefetch", "position_held", "http_requests_total",
                                         "mailbox_depth", "cache",    "_positions "};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        cr_expect_null(strstr(fixture.page, absent[i]), "%s", absent[i]);
    cr_expect_eq(promtool_exit_code(fixture.page, fixture.len, said, sizeof said), 0, "%s", said);
    fixture_finish(&fixture);
}

/* ---- histograms ---- */

static void check_histogram(const struct fixture *fixture, const struct histogram_name *name)
{
    char prefix[SERIES_LEN_MAX], count_series[SERIES_LEN_MAX];
    int len = snprintf(prefix, sizeof prefix, "\n" METRICS_PREFIX "%s_bucket{le=\"", name->family);
    double bound_before = -1, count_before = 0;
    size_t buckets = 0;
    for (const char *at = fixture->page; (at = strstr(at, prefix)) != NULL; at += len, buckets++) {
        char *end;
        double bound = strtod(at + len, &end); /* reads +Inf too */
        double count = strtod(end + 2, NULL);
        cr_expect_gt(bound, bound_before, "%s", name->family);
        cr_expect_geq(count, count_before, "%s: not cumulative", name->family);
        bound_before = bound;
        count_before = count;
    }
    snprintf(count_series, sizeof count_series, METRICS_PREFIX "%s_count", name->family);
    cr_expect_gt(buckets, 3u, "%s", name->family);
    cr_expect_eq(count_before, value_of(fixture, count_series), "%s", name->family);
}

Test(metrics_registry, buckets_are_cumulative_and_the_last_is_the_count)
{
    struct fixture fixture;
    fixture_init(&fixture);
    for (size_t i = 0; i < HISTOGRAM_COUNT; i++) {
        for (uint64_t value = 1; value < 1000000000000; value *= 3)
            histogram_observe(histogram_names[i].histogram, value);
    }
    fixture_render(&fixture);
    for (size_t i = 0; i < HISTOGRAM_COUNT; i++)
        check_histogram(&fixture, &histogram_names[i]);
    fixture_finish(&fixture);
}

Test(metrics_registry, microseconds_become_seconds_and_rows_stay_rows)
{
    struct fixture fixture;
    fixture_init(&fixture);
    histogram_observe(HISTOGRAM_HTTP_SECONDS, 1500000);
    histogram_observe(HISTOGRAM_HTTP_SECONDS, 1);
    histogram_observe(HISTOGRAM_COMMIT_ROWS, 12);
    fixture_render(&fixture);
    expect_line(&fixture, "position_manager_http_request_duration_seconds_sum 1.500001");
    expect_line(&fixture, "position_manager_http_request_duration_seconds_count 2");
    expect_line(&fixture, "position_manager_commit_rows_sum 12");
    fixture_finish(&fixture);
}

/* ---- the JSON summary ---- */

static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *found = NULL;
    cr_assert(json_object_object_get_ex(object, name, &found), "%s is missing", name);
    return found;
}

static struct json_object *render_json(struct fixture *fixture)
{
    char *text = NULL;
    size_t len = metrics_render_json(&fixture->sources, &text);
    cr_assert_not_null(text);
    cr_assert_eq(len, strlen(text));
    struct json_object *summary = json_tokener_parse(text);
    cr_assert_not_null(summary, "%s", text);
    free(text);
    return summary;
}

Test(metrics_registry, the_summary_has_the_members_of_the_contract)
{
    struct fixture fixture;
    fixture_init(&fixture);
    metric_add(METRIC_VALIDATIONS, 4);
    metric_add(METRIC_VALIDATION_DISCREPANCIES, 3);
    metric_add(METRIC_VALIDATION_FIXES, 2);
    metric_add(METRIC_HTTP_RATE_LIMITED, 9);
    struct json_object *summary = render_json(&fixture);
    cr_expect_eq(json_object_object_length(summary), 6);
    const char *timestamp = json_object_get_string(member(summary, "timestamp"));
    cr_expect_eq(timestamp[strlen(timestamp) - 1], 'Z');
    cr_expect(json_object_get_boolean(member(summary, "database_connected")));
    cr_expect_not(json_object_get_boolean(member(summary, "queue_connected")), "one of two directions is not enough");
    cr_expect_str_eq(json_object_get_string(member(summary, "portfolio_cache_hit_rate")), "0.7500");
    struct json_object *validation = member(summary, "validation_statistics");
    cr_expect_eq(json_object_get_int(member(validation, "validations")), 4);
    cr_expect_eq(json_object_get_int(member(validation, "discrepancies")), 3);
    cr_expect_eq(json_object_get_int(member(validation, "fixes")), 2);
    struct json_object *limiting = member(summary, "rate_limiting");
    cr_expect(json_object_get_boolean(member(limiting, "enabled")));
    cr_expect_eq(json_object_get_int(member(limiting, "default_limit_per_minute")), 100);
    cr_expect_eq(json_object_get_int(member(limiting, "keys")), 2);
    cr_expect_eq(json_object_get_int(member(limiting, "rejected")), 9);
    json_object_put(summary);
    fixture_finish(&fixture);
}

Test(metrics_registry, the_queue_is_connected_when_both_directions_are)
{
    struct fixture fixture;
    fixture_init(&fixture);
    atomic_store(&fixture.board.outbound_connected, true);
    struct json_object *summary = render_json(&fixture);
    cr_expect(json_object_get_boolean(member(summary, "queue_connected")));
    json_object_put(summary);
    fixture_finish(&fixture);
}

Test(metrics_registry, the_hit_rate_is_null_until_there_is_one)
{
    static const struct {
        uint64_t hits, misses;
        const char *text;
    } rows[] = {{0, 0, NULL}, {0, 5, "0.0000"}, {5, 0, "1.0000"}, {1, 2, "0.3333"}, {UINT64_MAX / 2, 1, "0.9999"}};
    struct fixture fixture;
    fixture_init(&fixture);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture.cache[0] = rows[i].hits;
        fixture.cache[1] = rows[i].misses;
        struct json_object *summary = render_json(&fixture);
        const char *rate = json_object_get_string(member(summary, "portfolio_cache_hit_rate"));
        cr_expect(rows[i].text == NULL ? rate == NULL : rate != NULL && strcmp(rate, rows[i].text) == 0, "row %zu", i);
        json_object_put(summary);
    }
    fixture.sources.cache = NULL;
    struct json_object *summary = render_json(&fixture);
    cr_expect_null(member(summary, "portfolio_cache_hit_rate"));
    json_object_put(summary);
    fixture_finish(&fixture);
}
