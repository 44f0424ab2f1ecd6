#include "metrics_registry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "metrics_names.h"
#include "metrics_page.h"
#include "metrics_positions.h"
#include "metrics_process.h"
#include "text.h"

enum { NAME_LEN_MAX = 96, LABELS_LEN_MAX = 320, MICRO = 6, UNITS = 8 };

#define NAME(name) METRICS_PREFIX name

/* The compiler's name goes into a label unescaped; it holds no quotes. */
#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static void write_build_info(FILE *page, const struct metrics_sources *sources)
{
    char version[64], revision[96], labels[LABELS_LEN_MAX];
    page_escape(sources->version, version, sizeof version);
    page_escape(sources->revision, revision, sizeof revision);
    snprintf(labels, sizeof labels, "version=\"%s\",revision=\"%s\",compiler=\"%.64s\"", version, revision, COMPILER);
    page_family(page, NAME("build_info"), "gauge", "What is running; always 1.");
    page_sample(page, NAME("build_info"), labels, 1);
}

static uint64_t oldest_unacked_us(const struct board *board)
{
    int64_t at_us = atomic_load_explicit(&board->oldest_unacked_at_us, memory_order_relaxed);
    int64_t now_us = clock_steady_us();
    return at_us == 0 || at_us > now_us ? 0 : (uint64_t)(now_us - at_us);
}

static uint64_t load_flag(const atomic_bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed) ? 1 : 0;
}

static void write_board(FILE *page, const struct board *board)
{
    page_gauge(page, NAME("database_connected"), "Whether the writing connection to PostgreSQL is up.",
               load_flag(&board->database_connected));
    page_family(page, NAME("broker_connected"), "gauge", "Whether the connection to RabbitMQ is up and of use.");
    page_sample(page, NAME("broker_connected"), "direction=\"inbound\"", load_flag(&board->inbound_connected));
    page_sample(page, NAME("broker_connected"), "direction=\"outbound\"", load_flag(&board->outbound_connected));
    page_gauge(page, NAME("positions_loaded"), "Whether the stored positions have been loaded.",
               load_flag(&board->positions_loaded));
    page_gauge(page, NAME("stopping"), "Whether the service is on its way out.", load_flag(&board->stopping));
    page_gauge(page, NAME("pending_commits"), "Events applied and not yet committed.",
               atomic_load_explicit(&board->pending_commits, memory_order_relaxed));
    page_gauge_scaled(page, NAME("oldest_unacked_seconds"),
                      "Age of the oldest delivery that is not acknowledged; 0: none.", (int128)oldest_unacked_us(board),
                      MICRO);
}

static void write_portfolio(FILE *page, const struct metrics_sources *sources)
{
    if (sources->totals == NULL)
        return;
    struct portfolio_totals totals;
    sources->totals(sources->totals_context, &totals);
    page_gauge(page, NAME("positions"), "Positions, closed ones included.", (uint64_t)totals.positions);
    page_gauge(page, NAME("open_positions"), "Open positions.", (uint64_t)totals.open);
    page_gauge(page, NAME("long_positions"), "Open positions, or legs, that are long.", (uint64_t)totals.longs);
    page_gauge(page, NAME("short_positions"), "Open positions, or legs, that are short.", (uint64_t)totals.shorts);
    page_gauge(page, NAME("unpriced_positions"), "Open positions without a price.", (uint64_t)totals.unpriced);
    page_gauge_scaled(page, NAME("exposure_usdt"), "Total exposure.", portfolio_round(totals.exposure), UNITS);
    page_gauge_scaled(page, NAME("net_exposure_usdt"), "Exposure of longs less that of shorts.",
                      portfolio_round(totals.net_exposure), UNITS);
    page_gauge_scaled(page, NAME("portfolio_value_usdt"), "Sum of size times price.",
                      portfolio_round(totals.net_exposure), UNITS);
    page_gauge_scaled(page, NAME("unrealized_pnl_usdt"), "Sum of unrealized PnL.", totals.unrealized_pnl, UNITS);
    page_gauge_scaled(page, NAME("realized_pnl_usdt"), "Sum of realized PnL.", totals.realized_pnl, UNITS);
}

static void write_limit(FILE *page, const struct metrics_sources *sources)
{
    if (!decimal_is_none(sources->exposure_limit))
        page_gauge_scaled(page, NAME("exposure_limit_usdt"), "Exposure above which the limit counts as exceeded.",
                          sources->exposure_limit.units, UNITS);
}

static void write_positions(FILE *page, const struct metrics_sources *sources)
{
    if (sources->survey == NULL)
        return;
    const struct survey_result *result = survey_get(sources->survey);
    if (result != NULL)
        positions_metrics_write(page, result, clock_wall_us());
    survey_put(sources->survey, result);
}

static void write_outstanding(FILE *page, const struct metrics_sources *sources)
{
    if (sources->outstanding == NULL)
        return;
    page_gauge(page, NAME("unacknowledged_deliveries"), "Deliveries taken and not yet acknowledged.",
               sources->outstanding(sources->outstanding_context));
    page_gauge(page, NAME("queue_unacknowledged_deliveries"),
               "Deliveries taken and not yet acknowledged of the inbound queue that has most.",
               sources->fullest_queue(sources->outstanding_context));
    page_gauge(page, NAME("prefetch"), "Deliveries that the broker gives before some are acknowledged.",
               sources->prefetch);
    page_gauge(page, NAME("queue_prefetch"),
               "Deliveries of one inbound queue that the broker gives before some are acknowledged.",
               sources->queue_prefetch);
}

static void write_counters(FILE *page)
{
    const char *family = "";
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct counter_name *counter = &counter_names[i];
        char name[NAME_LEN_MAX];
        snprintf(name, sizeof name, NAME("%s"), counter->family);
        if (strcmp(family, counter->family) != 0)
            page_family(page, name, "counter", counter->help);
        page_sample(page, name, counter->label, metric_value(counter->metric));
        family = counter->family;
    }
}

static void write_refusals(FILE *page)
{
    page_family(page, NAME("messages_refused_total"), "counter", "Messages refused, by reason.");
    for (enum status reason = STATUS_NOT_JSON; reason <= STATUS_REFUSAL_LAST; reason++) {
        char labels[LABELS_LEN_MAX];
        snprintf(labels, sizeof labels, "reason=\"%s\"", status_word(reason));
        page_sample(page, NAME("messages_refused_total"), labels, metric_refused_value(reason));
    }
}

static void write_log_lines(FILE *page)
{
    page_family(page, NAME("log_lines_dropped_total"), "counter", "Log lines lost because their ring was full.");
    page_sample(page, NAME("log_lines_dropped_total"), NULL, log_dropped_count());
}

static void write_histograms(FILE *page)
{
    for (size_t i = 0; i < HISTOGRAM_COUNT; i++) {
        char name[NAME_LEN_MAX];
        struct histogram_reading reading;
        snprintf(name, sizeof name, NAME("%s"), histogram_names[i].family);
        histogram_read(histogram_names[i].histogram, &reading);
        struct page_buckets buckets = {.bounds = reading.bounds,
                                       .counts = reading.counts,
                                       .bound_count = reading.bucket_count,
                                       .bound_fraction_digits = histogram_names[i].fraction_digits,
                                       .sum = reading.sum,
                                       .sum_fraction_digits = histogram_names[i].fraction_digits};
        page_histogram(page, name, histogram_names[i].help, &buckets);
    }
}

/* The place of mailbox i among those of its name: shards share one. */
static size_t mailbox_ordinal(const struct metrics_sources *sources, size_t i)
{
    size_t ordinal = 0;
    for (size_t before = 0; before < i; before++)
        ordinal += strcmp(mailbox_name(sources->mailboxes[before]), mailbox_name(sources->mailboxes[i])) == 0;
    return ordinal;
}

typedef size_t lane_figure_fn(const struct mailbox *mailbox, size_t lane);

static void write_lanes(FILE *page, const struct metrics_sources *sources, const char *name, const char *help,
                        lane_figure_fn *figure)
{
    if (sources->mailbox_count == 0)
        return;
    page_family(page, name, "gauge", help);
    for (size_t i = 0; i < sources->mailbox_count; i++) {
        const struct mailbox *mailbox = sources->mailboxes[i];
        char mailbox_text[64], labels[LABELS_LEN_MAX];
        page_escape(mailbox_name(mailbox), mailbox_text, sizeof mailbox_text);
        for (size_t lane = 0; lane < mailbox_lane_count(mailbox); lane++) {
            snprintf(labels, sizeof labels, "mailbox=\"%s\",instance=\"%zu\",lane=\"%zu\"", mailbox_text,
                     mailbox_ordinal(sources, i), lane);
            page_sample(page, name, labels, figure(mailbox, lane));
        }
    }
}

static void write_route(void *page, const char *method, const char *route, unsigned code, uint64_t requests)
{
    char method_text[32], route_text[192], code_text[16] = "other", labels[LABELS_LEN_MAX];
    if (code != 0)
        snprintf(code_text, sizeof code_text, "%u", code);
    page_escape(method, method_text, sizeof method_text);
    page_escape(route, route_text, sizeof route_text);
    snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",code=\"%s\"", method_text, route_text, code_text);
    page_sample(page, NAME("http_requests_total"), labels, requests);
}

static void write_routes(FILE *page, const struct metrics_sources *sources)
{
    if (sources->routes == NULL)
        return;
    page_family(page, NAME("http_requests_total"), "counter", "Requests answered, by method, route and code.");
    sources->routes(sources->routes_context, write_route, page);
}

static void write_cache(FILE *page, const struct metrics_sources *sources)
{
    if (sources->cache == NULL)
        return;
    uint64_t hits = 0, misses = 0;
    sources->cache(sources->cache_context, &hits, &misses);
    page_family(page, NAME("portfolio_cache_requests_total"), "counter",
                "Portfolio bodies handed out, by whether one was there.");
    page_sample(page, NAME("portfolio_cache_requests_total"), "result=\"hit\"", hits);
    page_sample(page, NAME("portfolio_cache_requests_total"), "result=\"miss\"", misses);
}

static size_t finish_page(FILE *page, char **out, const size_t *len)
{
    bool has_failed = ferror(page) != 0;
    has_failed |= fclose(page) != 0;
    if (!has_failed)
        return *len;
    free(*out);
    *out = NULL;
    return 0;
}

size_t metrics_render_prometheus(void *context, char **out)
{
    const struct metrics_sources *sources = context;
    size_t len = 0;
    *out = NULL;
    FILE *page = open_memstream(out, &len);
    if (page == NULL)
        return 0;
    write_build_info(page, sources);
    write_board(page, sources->board);
    write_portfolio(page, sources);
    write_limit(page, sources);
    write_positions(page, sources);
    write_outstanding(page, sources);
    write_counters(page);
    write_refusals(page);
    write_log_lines(page);
    write_histograms(page);
    write_lanes(page, sources, NAME("mailbox_depth"), "Messages that wait in a lane of a mailbox.", mailbox_depth);
    write_lanes(page, sources, NAME("mailbox_capacity"), "Messages that a lane of a mailbox can hold.",
                mailbox_capacity);
    write_routes(page, sources);
    write_cache(page, sources);
    process_metrics_write(page, sources->board->started_wall_us);
    return finish_page(page, out, &len);
}

/* Four digits behind the point, or null where nothing was asked for yet. */
static void write_hit_rate(FILE *page, const struct metrics_sources *sources)
{
    uint64_t hits = 0, misses = 0;
    if (sources->cache != NULL)
        sources->cache(sources->cache_context, &hits, &misses);
    uint64_t requests = hits + misses;
    if (requests == 0) {
        fputs("null", page);
        return;
    }
    uint64_t rate = (uint64_t)((uint128)hits * 10000 / requests);
    fprintf(page, "%" PRIu64 ".%04" PRIu64, rate / 10000, rate % 10000);
}

static const char *bool_word(bool value)
{
    return value ? "true" : "false";
}

size_t metrics_render_json(void *context, char **out)
{
    const struct metrics_sources *sources = context;
    const struct board *board = sources->board;
    char now[TIME_TEXT_LEN_MAX];
    size_t len = 0;
    *out = NULL;
    FILE *page = open_memstream(out, &len);
    if (page == NULL)
        return 0;
    int now_len = (int)time_format(clock_wall_us(), now);
    bool is_queue_connected = board_queue_is_connected(board);
    fprintf(page,
            "{\"timestamp\":\"%.*s\",\"database_connected\":%s,\"queue_connected\":%s,\"portfolio_cache_hit_rate\":",
            now_len, now, bool_word(load_flag(&board->database_connected) != 0), bool_word(is_queue_connected));
    write_hit_rate(page, sources);
    fprintf(page,
            ",\"validation_statistics\":{\"validations\":%" PRIu64 ",\"discrepancies\":%" PRIu64 ",\"fixes\":%" PRIu64
            "}",
            metric_value(METRIC_VALIDATIONS), metric_value(METRIC_VALIDATION_DISCREPANCIES),
            metric_value(METRIC_VALIDATION_FIXES));
    fprintf(page,
            ",\"rate_limiting\":{\"enabled\":%s,\"default_limit_per_minute\":%" PRIu32
            ",\"keys\":%zu,\"rejected\":%" PRIu64 "}}",
            bool_word(sources->rate_limit_enabled), sources->rate_limit_default, sources->key_count,
            metric_value(METRIC_HTTP_RATE_LIMITED));
    return finish_page(page, out, &len);
}
