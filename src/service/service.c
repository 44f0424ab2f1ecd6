#include "service.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor.h"
#include "aggregator.h"
#include "check.h"
#include "clock.h"
#include "committer.h"
#include "consumer.h"
#include "directory.h"
#include "fail_point.h"
#include "history.h"
#include "log.h"
#include "log_writer.h"
#include "metrics_registry.h"
#include "metrics_survey.h"
#include "prices.h"
#include "publisher.h"
#include "server.h"
#include "shard.h"
#include "signals.h"
#include "storage.h"
#include "watch.h"

enum {
    ANNOUNCEMENTS_PER_SHARD = 256, /* unconfirmed position_updated of one shard at most */
    ANNOUNCE_HOLD_US = 300 * 1000, /* how long a busy shard lets a change wait for the next one */
    COMMIT_PACE_US = 40 * 1000,    /* how far apart a busy shard's commits are */
    BUSY_COUNT_MIN = 256,          /* deliveries of one shard; with fewer nothing is gained by waiting for more */
    HEARTBEAT_S = 10,
    VALIDATIONS_PER_SHARD = 16, /* wanted at once by one shard */
    INQUIRIES_PER_LOOP = 64,    /* questions of one HTTP loop to the history */
    /* The stop's time, 10 s in all (contract §9). */
    STOP_SETTLE_MS = 4000, /* for what is in flight */
    STOP_PART_MS = 1000,   /* for each of committer, publisher, consumer, HTTP */
    LOG_FLUSH_MS = 500,
    STOP_ALARM_S = 9, /* whatever still waits for a neighbour then is left: nothing of it is acknowledged */
    SUPERSEDED_LOOK_MS = 250,
};

/* Lanes of a shard's mailbox. */
enum {
    SHARD_LANE_CONSUMER,
    SHARD_LANE_COMMITTER,
    SHARD_LANE_PUBLISHER,
    SHARD_LANE_AGGREGATOR,
    SHARD_LANE_PRICES,
    SHARD_LANE_HISTORY,
    SHARD_LANE_COUNT
};

struct service {
    const struct settings *settings;
    struct board board;
    size_t shard_count;
    struct directory *directory;
    struct directory_reader *metrics_reader; /* behind metrics_lock: any loop may render metrics */
    pthread_mutex_t metrics_lock;
    struct survey *survey; /* what metrics say of single positions */
    struct mailbox *survey_mailbox;
    struct actor_thread *survey_thread;
    struct metrics_sources metrics;
    struct mailbox *mailboxes[SETTINGS_SHARDS_MAX + 6]; /* all of them, for metrics */
    struct mailbox *shard_mailboxes[SETTINGS_SHARDS_MAX];
    struct mailbox *committer_mailbox, *aggregator_mailbox, *publisher_mailbox, *consumer_mailbox, *prices_mailbox,
        *history_mailbox; /* lanes: shards, publisher, HTTP loops */
    struct storage_settings storage;
    struct server_settings http;
    struct shard *shards[SETTINGS_SHARDS_MAX];
    struct actor_thread *shard_threads[SETTINGS_SHARDS_MAX];
    struct aggregator *aggregator;
    struct actor_thread *aggregator_thread;
    struct committer *committer;
    struct publisher *publisher;
    struct consumer *consumer;
    struct prices *prices;
    struct history *history;
    struct outlet to_history[SETTINGS_HTTP_THREADS_MAX];
    struct server *server;
    struct log_writer *log_writer;
    struct watch *watch;
};

static struct service service; /* one a process; reachable to its end */

/* ---- wiring ---- */

static struct uuid new_uuid(void *context)
{
    (void)context;
    return uuid_generate();
}

static size_t shard_of(void *context, const char *asset)
{
    return directory_part_index(context, asset);
}

/*
 * Every lane has room for all that its sender can ever have about: deliveries are bounded by the consumer's pool,
 * announcements by each shard's pool, requests and tokens by one a shard. So no send of these can fail.
 */
static void make_mailboxes(void)
{
    size_t shards = service.shard_count;
    uint32_t deliveries = service.settings->prefetch;
    uint32_t capacities[MAILBOX_LANES_MAX];
    capacities[SHARD_LANE_CONSUMER] = deliveries;
    capacities[SHARD_LANE_COMMITTER] = 2;
    capacities[SHARD_LANE_PUBLISHER] = ANNOUNCEMENTS_PER_SHARD;
    capacities[SHARD_LANE_AGGREGATOR] = 1;
    capacities[SHARD_LANE_PRICES] = PRICES_DELIVERIES_MAX;
    capacities[SHARD_LANE_HISTORY] = HISTORY_WISHES_MAX + VALIDATIONS_PER_SHARD;
    for (size_t i = 0; i < shards; i++)
        service.shard_mailboxes[i] = mailbox_create("shard", capacities, SHARD_LANE_COUNT);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = 2;
    service.committer_mailbox = mailbox_create("committer", capacities, shards);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = 1;
    capacities[shards] = 1;
    service.aggregator_mailbox = mailbox_create("aggregator", capacities, shards + 1);

    capacities[0] = deliveries;
    for (size_t i = 0; i < shards; i++)
        capacities[1 + i] = deliveries + ANNOUNCEMENTS_PER_SHARD;
    capacities[1 + shards] = 1;
    capacities[2 + shards] = HISTORY_ANNOUNCEMENTS_MAX;
    service.publisher_mailbox = mailbox_create("publisher", capacities, shards + 3);

    for (size_t i = 0; i <= shards; i++)
        capacities[i] = deliveries;
    service.consumer_mailbox = mailbox_create("consumer", capacities, shards + 1);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = PRICES_DELIVERIES_MAX;
    service.prices_mailbox = mailbox_create("prices", capacities, shards);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = HISTORY_WISHES_MAX + VALIDATIONS_PER_SHARD;
    capacities[shards] = HISTORY_ANNOUNCEMENTS_MAX;
    for (size_t i = 0; i < service.settings->http_thread_count; i++)
        capacities[shards + 1 + i] = INQUIRIES_PER_LOOP;
    service.history_mailbox = mailbox_create("history", capacities, shards + 1 + service.settings->http_thread_count);

    size_t count = 0;
    for (size_t i = 0; i < shards; i++)
        service.mailboxes[count++] = service.shard_mailboxes[i];
    service.mailboxes[count++] = service.committer_mailbox;
    service.mailboxes[count++] = service.aggregator_mailbox;
    service.mailboxes[count++] = service.publisher_mailbox;
    service.mailboxes[count++] = service.consumer_mailbox;
    service.mailboxes[count++] = service.prices_mailbox;
    service.mailboxes[count++] = service.history_mailbox;
}

/* How many deliveries one queue can have about: the broker gives no more until some are acknowledged. */
static size_t queue_share(void)
{
    return service.settings->prefetch / (service.settings->order_queue_count + 1);
}

static void make_shards(void)
{
    const struct settings *settings = service.settings;
    const size_t share = queue_share() / service.shard_count;
    for (size_t i = 0; i < service.shard_count; i++) {
        struct shard_settings shard = {
            .index = (uint32_t)i,
            .market = {.average_threshold = settings->avg_price_diff_threshold,
                       .size_threshold = settings->size_validation_threshold,
                       .timestamp_tolerance_us = settings->timestamp_tolerance_us,
                       .use_average_price = settings->use_ws_avg_price,
                       .timestamp_resolution = settings->enable_timestamp_resolution},
            .conflict_tries_max = settings->optimistic_lock_tries,
            .conflict_backoff_us = (int64_t)settings->optimistic_lock_backoff_ms * 1000,
            .announcement_count = ANNOUNCEMENTS_PER_SHARD,
            .announce_hold_us = ANNOUNCE_HOLD_US,
            .commit_pace_us = COMMIT_PACE_US,
            .busy_count = share / 16 > BUSY_COUNT_MIN ? share / 16 : BUSY_COUNT_MIN,
            .full_count = share / 4 * 3,
            .committer = {service.committer_mailbox, i},
            .publisher = {service.publisher_mailbox, 1 + i},
            .consumer = {service.consumer_mailbox, i},
            .aggregator = {service.aggregator_mailbox, i},
            .history = {service.history_mailbox, i},
            .part = directory_part(service.directory, i),
            .reader = directory_reader_register(service.directory),
            .board = &service.board,
            .new_uuid = new_uuid,
        };
        service.shards[i] = shard_create(&shard);
    }
}

static void make_aggregator(void)
{
    struct outlet homes[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service.shard_count; i++)
        homes[i] = (struct outlet){service.shard_mailboxes[i], SHARD_LANE_AGGREGATOR};
    struct aggregator_settings aggregator = {
        .publish_interval_us = service.settings->portfolio_publish_interval_us,
        .exposure_limit = decimal_is_none(service.settings->portfolio_exposure_limit)
                              ? NULL
                              : &service.settings->portfolio_exposure_limit,
        .shards = homes,
        .shard_count = service.shard_count,
        .publisher = {service.publisher_mailbox, 1 + service.shard_count},
        .reader = directory_reader_register(service.directory),
        .new_uuid = new_uuid,
    };
    service.aggregator = aggregator_create(&aggregator);
}

static void make_committer(void)
{
    const struct settings *settings = service.settings;
    service.storage = (struct storage_settings){.host = settings->postgres_host,
                                                .port = settings->postgres_port_text,
                                                .database = settings->postgres_database,
                                                .user = settings->postgres_user,
                                                .password = settings->postgres_password,
                                                .migrations = settings->migrations};
    struct committer_answer answers[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service.shard_count; i++)
        answers[i] = (struct committer_answer){service.shard_mailboxes[i], SHARD_LANE_COMMITTER};
    service.committer =
        committer_create(&service.storage, &service.board, service.committer_mailbox, answers, service.shard_count);
}

static void make_broker_actors(void)
{
    const struct settings *settings = service.settings;
    struct broker_settings broker = {.host = settings->rabbitmq_host,
                                     .vhost = settings->rabbitmq_vhost,
                                     .user = settings->rabbitmq_user,
                                     .password = settings->rabbitmq_password,
                                     .connection_name_prefix = settings->service_name,
                                     .port = settings->rabbitmq_port,
                                     .heartbeat_s = HEARTBEAT_S,
                                     .queue_type = settings->queue_type};
    struct publisher_home homes[SETTINGS_SHARDS_MAX];
    struct consumer_route routes[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service.shard_count; i++) {
        homes[i] = (struct publisher_home){service.shard_mailboxes[i], SHARD_LANE_PUBLISHER};
        routes[i] = (struct consumer_route){service.shard_mailboxes[i], SHARD_LANE_CONSUMER};
    }
    struct publisher_settings publisher = {.broker = broker,
                                           .window = (uint32_t)(ANNOUNCEMENTS_PER_SHARD * service.shard_count + 256)};
    service.publisher =
        publisher_create(&publisher, &service.board, service.publisher_mailbox,
                         (struct publisher_home){service.consumer_mailbox, service.shard_count}, homes,
                         service.shard_count, (struct publisher_home){service.aggregator_mailbox, service.shard_count});
    publisher_set_history(service.publisher, (struct publisher_home){service.history_mailbox, service.shard_count});
    struct consumer_settings consumer = {.broker = broker,
                                         .market_queue = settings->market_queue,
                                         .order_queues = (const char *const *)settings->order_queues,
                                         .order_queue_count = settings->order_queue_count,
                                         .prefetch = settings->prefetch,
                                         .assets = &settings->asset_pattern};
    service.consumer =
        consumer_create(&consumer, &service.board, service.consumer_mailbox, routes, service.shard_count, shard_of,
                        service.directory, (struct consumer_route){service.publisher_mailbox, 0});
}

static void make_prices(void)
{
    const struct settings *settings = service.settings;
    struct outlet shards[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service.shard_count; i++)
        shards[i] = (struct outlet){service.shard_mailboxes[i], SHARD_LANE_PRICES};
    struct prices_settings prices = {.url = settings->price_api_url,
                                     .timeout_ms = settings->price_api_timeout_ms,
                                     .tries = settings->price_api_tries,
                                     .staleness_us = settings->price_staleness_us,
                                     .ws_gateway_url = settings->ws_gateway_url,
                                     .ws_gateway_api_key = settings->ws_gateway_api_key,
                                     .directory = service.directory,
                                     .shards = shards,
                                     .shard_count = service.shard_count};
    service.prices = prices_create(&prices, service.prices_mailbox);
}

static void make_history(void)
{
    const struct settings *settings = service.settings;
    struct outlet shards[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service.shard_count; i++)
        shards[i] = (struct outlet){service.shard_mailboxes[i], SHARD_LANE_HISTORY};
    for (size_t i = 0; i < settings->http_thread_count; i++)
        service.to_history[i] = (struct outlet){service.history_mailbox, service.shard_count + 1 + i};
    struct history_settings history = {.storage = &service.storage,
                                       .directory = service.directory,
                                       .board = &service.board,
                                       .mailbox = service.history_mailbox,
                                       .shard_lane = 0,
                                       .shards = shards,
                                       .shard_count = service.shard_count,
                                       .publisher = {service.publisher_mailbox, service.shard_count + 2},
                                       .snapshot_interval_us = settings->snapshot_interval_us,
                                       .validation_interval_us = settings->validation_interval_us,
                                       .snapshot_retention_days = settings->snapshot_retention_days,
                                       .journal_retention_days = settings->journal_retention_days,
                                       .validation_fix = settings->validation_fix,
                                       .size_threshold = settings->size_validation_threshold,
                                       .average_threshold = settings->avg_price_diff_threshold,
                                       .staleness_us = settings->price_staleness_us,
                                       .new_uuid = new_uuid};
    service.history = history_create(&history);
}

/* ---- HTTP and metrics ---- */

static void make_survey(void)
{
    static const uint32_t capacity = 1; /* nobody tells it anything */
    struct survey_settings survey = {.directory = service.directory,
                                     .assets_max = service.settings->metrics_assets_max,
                                     .staleness_us = service.settings->price_staleness_us};
    service.survey = survey_create(&survey);
    service.survey_mailbox = mailbox_create("survey", &capacity, 1);
}

static size_t read_outstanding(const void *context)
{
    return consumer_outstanding(context);
}

static void read_totals(void *context, struct portfolio_totals *out)
{
    (void)context;
    (void)pthread_mutex_lock(&service.metrics_lock);
    directory_begin(service.metrics_reader);
    directory_totals(service.metrics_reader, out);
    directory_end(service.metrics_reader);
    (void)pthread_mutex_unlock(&service.metrics_lock);
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
    (void)context;
    struct route_visit to = {visit, visitor};
    server_count_visit(service.server, pass_route, &to);
}

static void read_cache(void *context, uint64_t *hits, uint64_t *misses)
{
    (void)context;
    struct server_reading reading;
    server_read(service.server, &reading);
    *hits = reading.portfolio_hits;
    *misses = reading.portfolio_misses;
}

static enum status make_server(void)
{
    const struct settings *settings = service.settings;
    bool limited = !decimal_is_none(settings->portfolio_exposure_limit);
    service.metrics = (struct metrics_sources){
        .board = &service.board,
        .version = PM_VERSION,
        .revision = PM_REVISION,
        .mailboxes = service.mailboxes,
        .mailbox_count = service.shard_count + 6,
        .totals = read_totals,
        .routes = read_routes,
        .cache = read_cache,
        .survey = service.survey,
        .outstanding = read_outstanding,
        .outstanding_context = service.consumer,
        .prefetch = settings->prefetch,
        .exposure_limit = settings->portfolio_exposure_limit,
        .rate_limit_enabled = settings->rate_limit_enabled,
        .rate_limit_default = settings->rate_limit_default,
        .key_count = settings->key_count,
    };
    service.http = (struct server_settings){
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
        .render_context = &service.metrics,
        .history = service.to_history,
    };
    return server_create(&service.http, &service.board, service.directory, &service.server);
}

/* ---- start ---- */

static void load_position(void *context, const struct position *position)
{
    (void)context;
    shard_load(service.shards[directory_part_index(service.directory, position->asset)], position);
}

static void make_parts(const struct settings *settings)
{
    service.settings = settings;
    service.shard_count = settings->shard_count;
    service.board.started_wall_us = clock_wall_us();
    service.board.started_steady_us = clock_steady_us();
    (void)pthread_mutex_init(&service.metrics_lock, NULL);
    service.directory = directory_create(service.shard_count);
    service.metrics_reader = directory_reader_register(service.directory);
    make_mailboxes();
    make_shards();
    make_aggregator();
    make_committer();
    make_broker_actors();
    make_prices();
    make_history();
    make_survey();
}

/*
 * Loads what is stored, then starts the actors from the disk's end to the broker's. The publisher is there before them:
 * while PostgreSQL is waited for it tells whether the broker is there.
 */
static enum status start_actors(void)
{
    enum status status = publisher_start(service.publisher);
    if (status != STATUS_OK)
        return status;
    signals_block(false); /* a stop must get through while PostgreSQL is waited for */
    status = storage_prepare(&service.storage, &service.board, load_position, NULL);
    signals_block(true);
    if (status != STATUS_OK)
        return status;
    status = committer_start(service.committer);
    for (size_t i = 0; i < service.shard_count && status == STATUS_OK; i++) {
        service.shard_threads[i] = actor_start("shard", service.shards[i], shard_receive, service.shard_mailboxes[i]);
        if (service.shard_threads[i] == NULL)
            status = STATUS_UNAVAILABLE;
    }
    if (status == STATUS_OK) {
        service.aggregator_thread =
            actor_start("aggregator", service.aggregator, aggregator_receive, service.aggregator_mailbox);
        status = service.aggregator_thread == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
    }
    if (status == STATUS_OK)
        status = consumer_start(service.consumer);
    if (status == STATUS_OK)
        status = prices_start(service.prices);
    if (status == STATUS_OK)
        status = history_start(service.history);
    if (status == STATUS_OK) {
        service.survey_thread = actor_start("survey", service.survey, survey_receive, service.survey_mailbox);
        status = service.survey_thread == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
    }
    return status;
}

static int64_t read_oldest_turn(void *context)
{
    (void)context;
    struct server_reading reading;
    server_read(service.server, &reading);
    return reading.oldest_turn_us;
}

/* From here on the threads that must never wait are looked at, and systemd is told that positions can be read. */
static void watch_everything(void)
{
    for (size_t i = 0; i < service.shard_count; i++)
        watch_add_actor(service.watch, "shard", service.shard_threads[i], service.shard_mailboxes[i]);
    watch_add_actor(service.watch, "aggregator", service.aggregator_thread, service.aggregator_mailbox);
    watch_serving(service.watch, read_oldest_turn, NULL);
}

/* A stop is asked for, or another instance has the tables and nothing of ours can be committed any more. */
static bool must_end(void)
{
    return atomic_load(&service.board.stopping) || atomic_load(&service.board.superseded);
}

static void wait_for_stop(void)
{
    signals_block(false);
    struct pollfd wait = {.fd = signals_fd(), .events = POLLIN};
    while (!must_end() && (poll(&wait, 1, SUPERSEDED_LOOK_MS) >= 0 || errno == EINTR)) {
    }
    atomic_store(&service.board.stopping, true);
}

/* ---- stop ---- */

static void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* Contract §9: what is in flight is committed, confirmed and acknowledged. Nothing new is taken any more. */
static void settle_everything(void)
{
    int64_t until_us = clock_steady_us() + (int64_t)STOP_SETTLE_MS * 1000;
    while (consumer_outstanding(service.consumer) > 0 && clock_steady_us() < until_us)
        pause_ms(5);
    if (consumer_outstanding(service.consumer) > 0)
        return;
    /* The last portfolio_updated may still wait for its interval. */
    int64_t interval_ms = service.settings->portfolio_publish_interval_us / 1000;
    pause_ms((int)(interval_ms < STOP_PART_MS ? interval_ms : STOP_PART_MS) + 20);
}

static void stop_actors(void)
{
    consumer_quiesce(service.consumer);
    actor_stop(service.survey_thread);
    prices_stop(service.prices);
    if (!atomic_load(&service.board.superseded))
        settle_everything();
    committer_stop(service.committer, STOP_PART_MS);
    for (size_t i = 0; i < service.shard_count; i++)
        actor_stop(service.shard_threads[i]);
    actor_stop(service.aggregator_thread);
    if (!atomic_load(&service.board.superseded))
        aggregator_flush(service.aggregator,
                         (struct actor_time){.wall_us = clock_wall_us(), .steady_us = clock_steady_us()});
    publisher_stop(service.publisher, STOP_PART_MS);
    consumer_stop(service.consumer, STOP_PART_MS);
}

static int run(void)
{
    if (make_server() != STATUS_OK || server_start(service.server) != STATUS_OK) {
        (void)fprintf(stderr, "position-manager: cannot serve on %s port %u\n", service.settings->host,
                      service.settings->port);
        return 1;
    }
    LOG_EVENT(LOG_LEVEL_INFO, "service_starting", NULL, log_text("version", PM_VERSION),
              log_int("port", service.settings->port), log_int("shards", (int64_t)service.shard_count));
    enum status status = start_actors();
    if (status == STATUS_OK) {
        watch_everything();
        LOG_EVENT(LOG_LEVEL_INFO, "service_started", NULL,
                  log_int("positions", (int64_t)directory_position_count(service.directory)));
        wait_for_stop();
        LOG_EVENT(LOG_LEVEL_INFO, "service_stopping", NULL,
                  log_bool("superseded", atomic_load(&service.board.superseded)));
        signals_bound_stop(STOP_ALARM_S);
        watch_stopping(service.watch);
        stop_actors();
    } else {
        if (status == STATUS_STOPPING)
            signals_bound_stop(STOP_ALARM_S);
        publisher_stop(service.publisher, 0);
    }
    signals_block(false);
    server_stop(service.server, STOP_PART_MS);
    history_stop(service.history); /* until here it has answered the server's questions */
    LOG_EVENT(LOG_LEVEL_INFO, "service_stopped", NULL, log_text("reason", status_word(status)));
    if (atomic_load(&service.board.superseded))
        return 1;
    return status == STATUS_OK || status == STATUS_STOPPING ? 0 : 1;
}

int service_run(const struct settings *settings)
{
    log_set_level(settings->log_level);
    if (fail_point_arm(getenv(FAIL_POINT_VARIABLE)) != STATUS_OK) {
        (void)fprintf(stderr, "position-manager: " FAIL_POINT_VARIABLE " names no fail point\n");
        return 1;
    }
    if (!signals_catch(&service.board.stopping)) {
        (void)fprintf(stderr, "position-manager: cannot catch signals\n");
        return 1;
    }
    signals_block(true);
    log_register_thread("main");
    service.log_writer = log_writer_start(STDOUT_FILENO, settings->service_name);
    service.watch = watch_start(&service.board);
    if (service.log_writer == NULL || service.watch == NULL) {
        (void)fprintf(stderr, "position-manager: cannot start a thread\n");
        return 1;
    }
    make_parts(settings);
    int code = run();
    watch_stop(service.watch);
    log_writer_stop(service.log_writer, LOG_FLUSH_MS);
    return code;
}
