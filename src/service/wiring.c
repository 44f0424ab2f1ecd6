/*
 * wiring.c: the mailboxes, with how long each lane is, and the actors that send and are told through them.
 */
#include "wiring.h"

#include "aggregator.h"
#include "check.h"
#include "clock.h"
#include "committer.h"
#include "consumer.h"
#include "directory.h"
#include "history.h"
#include "prices.h"
#include "publisher.h"
#include "shard.h"
#include "uuid.h"

enum {
    ANNOUNCEMENTS_PER_SHARD = 256, /* unconfirmed position_updated of one shard at most */
    OTHER_PUBLICATIONS = 256,      /* unconfirmed: dead letters, snapshots, the portfolio */
    ANNOUNCE_HOLD_US = 200 * 1000, /* busy shards announce at its multiples, when the commit of then is back */
    COMMIT_PACE_US = 100 * 1000,   /* busy shards commit at its multiples */
    OTHERS_WAIT_US = 5 * 1000,     /* how long their first request of a moment waits for the others */
    COMMIT_DELIVERIES_MAX = 3072,  /* from so many on a shard's request takes no further position */
    BUSY_COUNT_MIN = 256,          /* deliveries of one shard; with fewer nothing is gained by waiting for more */
    HEARTBEAT_S = 10,
};

_Static_assert(ANNOUNCE_HOLD_US % COMMIT_PACE_US == 0, "a commit at each moment of announcements");

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

/* The history has the most lanes: the shards', the publisher's, and those of the HTTP loops. */
_Static_assert((int)SETTINGS_SHARDS_MAX + 1 + (int)SETTINGS_HTTP_THREADS_MAX <= (int)MAILBOX_LANES_MAX,
               "the history has a lane for everyone");
_Static_assert((int)SETTINGS_SHARDS_MAX + 3 <= (int)MAILBOX_LANES_MAX, "so has the publisher");

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
static void make_mailboxes(struct service *service)
{
    size_t shards = service->shard_count;
    uint32_t deliveries = service->settings->prefetch;
    uint32_t capacities[MAILBOX_LANES_MAX];
    capacities[SHARD_LANE_CONSUMER] = deliveries;
    capacities[SHARD_LANE_COMMITTER] = 2;
    capacities[SHARD_LANE_PUBLISHER] = ANNOUNCEMENTS_PER_SHARD;
    capacities[SHARD_LANE_AGGREGATOR] = 1;
    capacities[SHARD_LANE_PRICES] = PRICES_DELIVERIES_MAX;
    capacities[SHARD_LANE_HISTORY] = HISTORY_WISHES_MAX + VALIDATIONS_WANTED_MAX;
    for (size_t i = 0; i < shards; i++)
        service->shard_mailboxes[i] = mailbox_create("shard", capacities, SHARD_LANE_COUNT);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = 2;
    service->committer_mailbox = mailbox_create("committer", capacities, shards);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = 1;
    capacities[shards] = 1;
    service->aggregator_mailbox = mailbox_create("aggregator", capacities, shards + 1);

    capacities[0] = deliveries;
    for (size_t i = 0; i < shards; i++)
        capacities[1 + i] = deliveries + ANNOUNCEMENTS_PER_SHARD;
    capacities[1 + shards] = 1;
    capacities[2 + shards] = HISTORY_ANNOUNCEMENTS_MAX;
    service->publisher_mailbox = mailbox_create("publisher", capacities, shards + 3);

    for (size_t i = 0; i <= shards; i++)
        capacities[i] = deliveries;
    service->consumer_mailbox = mailbox_create("consumer", capacities, shards + 1);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = PRICES_DELIVERIES_MAX;
    service->prices_mailbox = mailbox_create("prices", capacities, shards);

    for (size_t i = 0; i < shards; i++)
        capacities[i] = HISTORY_WISHES_MAX + VALIDATIONS_WANTED_MAX;
    capacities[shards] = HISTORY_ANNOUNCEMENTS_MAX;
    for (size_t i = 0; i < service->settings->http_thread_count; i++)
        capacities[shards + 1 + i] = INQUIRIES_MAX;
    service->history_mailbox = mailbox_create("history", capacities, shards + 1 + service->settings->http_thread_count);

    size_t count = 0;
    for (size_t i = 0; i < shards; i++)
        service->mailboxes[count++] = service->shard_mailboxes[i];
    service->mailboxes[count++] = service->committer_mailbox;
    service->mailboxes[count++] = service->aggregator_mailbox;
    service->mailboxes[count++] = service->publisher_mailbox;
    service->mailboxes[count++] = service->consumer_mailbox;
    service->mailboxes[count++] = service->prices_mailbox;
    service->mailboxes[count++] = service->history_mailbox;
    pm_assert(count == shards + OTHER_MAILBOXES);
}

static void make_shards(struct service *service)
{
    const struct settings *settings = service->settings;
    const size_t share =
        consumer_queue_prefetch(settings->prefetch, settings->order_queue_count) / service->shard_count;
    for (size_t i = 0; i < service->shard_count; i++) {
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
            .commit_deliveries_max = COMMIT_DELIVERIES_MAX,
            .busy_count = share / 8 > BUSY_COUNT_MIN ? share / 8 : BUSY_COUNT_MIN,
            .full_count = share / 8 * 7,
            .committer = {service->committer_mailbox, i},
            .publisher = {service->publisher_mailbox, 1 + i},
            .consumer = {service->consumer_mailbox, i},
            .aggregator = {service->aggregator_mailbox, i},
            .history = {service->history_mailbox, i},
            .part = directory_part(service->directory, i),
            .reader = directory_reader_register(service->directory),
            .board = &service->board,
            .new_uuid = new_uuid,
        };
        service->shards[i] = shard_create(&shard);
    }
}

static void make_aggregator(struct service *service)
{
    struct outlet homes[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service->shard_count; i++)
        homes[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_AGGREGATOR};
    struct aggregator_settings aggregator = {
        .publish_interval_us = service->settings->portfolio_publish_interval_us,
        .exposure_limit = decimal_is_none(service->settings->portfolio_exposure_limit)
                              ? NULL
                              : &service->settings->portfolio_exposure_limit,
        .shards = homes,
        .shard_count = service->shard_count,
        .publisher = {service->publisher_mailbox, 1 + service->shard_count},
        .reader = directory_reader_register(service->directory),
        .new_uuid = new_uuid,
    };
    service->aggregator = aggregator_create(&aggregator);
}

static void make_committer(struct service *service)
{
    const struct settings *settings = service->settings;
    service->storage = (struct storage_settings){.host = settings->postgres_host,
                                                 .port = settings->postgres_port_text,
                                                 .database = settings->postgres_database,
                                                 .user = settings->postgres_user,
                                                 .password = settings->postgres_password,
                                                 .migrations = settings->migrations};
    struct outlet answers[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service->shard_count; i++)
        answers[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_COMMITTER};
    service->committer = committer_create(&service->storage, &service->board, service->committer_mailbox, answers,
                                          service->shard_count, OTHERS_WAIT_US);
}

static void make_broker_actors(struct service *service)
{
    const struct settings *settings = service->settings;
    struct broker_settings broker = {.host = settings->rabbitmq_host,
                                     .vhost = settings->rabbitmq_vhost,
                                     .user = settings->rabbitmq_user,
                                     .password = settings->rabbitmq_password,
                                     .connection_name_prefix = settings->service_name,
                                     .port = settings->rabbitmq_port,
                                     .heartbeat_s = HEARTBEAT_S,
                                     .queue_type = settings->queue_type};
    struct outlet homes[SETTINGS_SHARDS_MAX];
    struct outlet routes[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service->shard_count; i++) {
        homes[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_PUBLISHER};
        routes[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_CONSUMER};
    }
    struct publisher_settings publisher = {
        .broker = broker, .window = (uint32_t)(ANNOUNCEMENTS_PER_SHARD * service->shard_count + OTHER_PUBLICATIONS)};
    service->publisher =
        publisher_create(&publisher, &service->board, service->publisher_mailbox,
                         (struct outlet){service->consumer_mailbox, service->shard_count}, homes, service->shard_count,
                         (struct outlet){service->aggregator_mailbox, service->shard_count});
    publisher_set_history(service->publisher, (struct outlet){service->history_mailbox, service->shard_count});
    struct consumer_settings consumer = {.broker = broker,
                                         .market_queue = settings->market_queue,
                                         .order_queues = (const char *const *)settings->order_queues,
                                         .order_queue_count = settings->order_queue_count,
                                         .prefetch = settings->prefetch,
                                         .assets = &settings->asset_pattern};
    service->consumer =
        consumer_create(&consumer, &service->board, service->consumer_mailbox, routes, service->shard_count, shard_of,
                        service->directory, (struct outlet){service->publisher_mailbox, 0});
}

static void make_prices(struct service *service)
{
    const struct settings *settings = service->settings;
    struct outlet shards[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service->shard_count; i++)
        shards[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_PRICES};
    struct prices_settings prices = {.url = settings->price_api_url,
                                     .timeout_ms = settings->price_api_timeout_ms,
                                     .tries = settings->price_api_tries,
                                     .staleness_us = settings->price_staleness_us,
                                     .ws_gateway_url = settings->ws_gateway_url,
                                     .ws_gateway_api_key = settings->ws_gateway_api_key,
                                     .directory = service->directory,
                                     .shards = shards,
                                     .shard_count = service->shard_count};
    service->prices = prices_create(&prices, service->prices_mailbox);
}

static void make_history(struct service *service)
{
    const struct settings *settings = service->settings;
    struct outlet shards[SETTINGS_SHARDS_MAX];
    for (size_t i = 0; i < service->shard_count; i++)
        shards[i] = (struct outlet){service->shard_mailboxes[i], SHARD_LANE_HISTORY};
    for (size_t i = 0; i < settings->http_thread_count; i++)
        service->to_history[i] = (struct outlet){service->history_mailbox, service->shard_count + 1 + i};
    struct history_settings history = {.storage = &service->storage,
                                       .directory = service->directory,
                                       .board = &service->board,
                                       .mailbox = service->history_mailbox,
                                       .shard_lane = 0,
                                       .shards = shards,
                                       .shard_count = service->shard_count,
                                       .publisher = {service->publisher_mailbox, service->shard_count + 2},
                                       .snapshot_interval_us = settings->snapshot_interval_us,
                                       .validation_interval_us = settings->validation_interval_us,
                                       .snapshot_retention_days = settings->snapshot_retention_days,
                                       .journal_retention_days = settings->journal_retention_days,
                                       .validation_fix = settings->validation_fix,
                                       .size_threshold = settings->size_validation_threshold,
                                       .average_threshold = settings->avg_price_diff_threshold,
                                       .staleness_us = settings->price_staleness_us,
                                       .new_uuid = new_uuid};
    service->history = history_create(&history);
}

void wiring_make_parts(struct service *service, const struct settings *settings)
{
    service->settings = settings;
    service->shard_count = settings->shard_count;
    service->board.started_wall_us = clock_wall_us();
    service->board.started_steady_us = clock_steady_us();
    (void)pthread_mutex_init(&service->metrics_lock, NULL);
    service->directory = directory_create(service->shard_count);
    service->metrics_reader = directory_reader_register(service->directory);
    make_mailboxes(service);
    make_shards(service);
    make_aggregator(service);
    make_committer(service);
    make_broker_actors(service);
    make_prices(service);
    make_history(service);
}
