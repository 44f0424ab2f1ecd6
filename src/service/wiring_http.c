/*
 * wiring_http.c: the HTTP server, and what the page of metrics reads of the others.
 */
#include "wiring.h"

#include "consumer.h"
#include "directory.h"
#include "metrics_survey.h"

static void make_survey(struct service *service)
{
    static const uint32_t capacity = 1; /* nobody tells it anything */
    struct survey_settings survey = {.directory = service->directory,
                                     .assets_max = service->settings->metrics_assets_max,
                                     .staleness_us = service->settings->price_staleness_us};
    service->survey = survey_create(&survey);
    service->survey_mailbox = mailbox_create("survey", &capacity, 1);
}

static size_t read_outstanding(const void *context)
{
    return consumer_outstanding(context);
}

static size_t read_fullest_queue(const void *context)
{
    return consumer_fullest_queue(context);
}

static void read_totals(void *context, struct portfolio_totals *out)
{
    struct service *service = context;
    (void)pthread_mutex_lock(&service->metrics_lock);
    directory_begin(service->metrics_reader);
    directory_totals(service->metrics_reader, out);
    directory_end(service->metrics_reader);
    (void)pthread_mutex_unlock(&service->metrics_lock);
}

struct route_visit {
    metrics_route_visit_fn *visit;
    void *visitor;
};

static void pass_route(void *context, const struct server_visit *visit)
{
    const struct route_visit *to = context;
    to->visit(to->visitor, visit->method, visit->route, (unsigned)visit->code, visit->count);
}

static void read_routes(void *context, metrics_route_visit_fn *visit, void *visitor)
{
    const struct service *service = context;
    struct route_visit to = {visit, visitor};
    server_count_visit(service->server, pass_route, &to);
}

static void read_cache(void *context, uint64_t *hits, uint64_t *misses)
{
    const struct service *service = context;
    struct server_reading reading;
    server_read(service->server, &reading);
    *hits = reading.portfolio_hits;
    *misses = reading.portfolio_misses;
}

enum status wiring_make_server(struct service *service)
{
    make_survey(service);
    const struct settings *settings = service->settings;
    bool limited = !decimal_is_none(settings->portfolio_exposure_limit);
    service->metrics = (struct metrics_sources){
        .board = &service->board,
        .version = PM_VERSION,
        .revision = PM_REVISION,
        .mailboxes = service->mailboxes,
        .mailbox_count = service->shard_count + OTHER_MAILBOXES,
        .totals = read_totals,
        .totals_context = service,
        .routes = read_routes,
        .routes_context = service,
        .cache = read_cache,
        .cache_context = service,
        .survey = service->survey,
        .outstanding = read_outstanding,
        .fullest_queue = read_fullest_queue,
        .outstanding_context = service->consumer,
        .prefetch = settings->prefetch,
        .queue_prefetch = consumer_queue_prefetch(settings->prefetch, settings->order_queue_count),
        .exposure_limit = settings->portfolio_exposure_limit,
        .rate_limit_enabled = settings->rate_limit_enabled,
        .rate_limit_default = settings->rate_limit_default,
        .key_count = settings->key_count,
    };
    service->http = (struct server_settings){
        .host = settings->host,
        .port = settings->port,
        .thread_count = settings->http_thread_count,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .keys = settings->keys,
        .key_count = settings->key_count,
        .rate_limit_enabled = settings->rate_limit_enabled,
        .service_name = settings->service_name,
        .version = PM_VERSION,
        .assets = &settings->asset_pattern,
        .staleness_us = settings->price_staleness_us,
        .portfolio_ttl_us = settings->metrics_cache_ttl_us,
        .exposure_limit = limited ? &settings->portfolio_exposure_limit : NULL,
        .render_metrics = metrics_render_prometheus,
        .render_metrics_json = metrics_render_json,
        .render_context = &service->metrics,
        .history = service->to_history,
    };
    return server_create(&service->http, &service->board, service->directory, &service->server);
}
