/*
 * service: start, the wait for the end, and stop, each in its order. What there is to start is made in wiring.c.
 */
#include "service.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actor.h"
#include "aggregator.h"
#include "clock.h"
#include "committer.h"
#include "consumer.h"
#include "directory.h"
#include "fail_point.h"
#include "history.h"
#include "log.h"
#include "log_writer.h"
#include "metrics_survey.h"
#include "prices.h"
#include "publisher.h"
#include "shard.h"
#include "signals.h"
#include "watch.h"
#include "wiring.h"

enum {
    /* The stop's time, 10 s in all (contract §9). */
    STOP_SETTLE_MS = 4000, /* for what is in flight */
    STOP_PART_MS = 1000,   /* for each of committer, publisher, consumer, HTTP */
    LOG_FLUSH_MS = 500,
    STOP_ALARM_S = 9, /* whatever still waits for a neighbour then is left: nothing of it is acknowledged */
    SUPERSEDED_LOOK_MS = 250,
};

static struct service service; /* one a process; reachable to its end */

/* ---- start ---- */

static void load_position(void *context, const struct position *position)
{
    (void)context;
    shard_load(service.shards[directory_part_index(service.directory, position->asset)], position);
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
    if (wiring_make_server(&service) != STATUS_OK || server_start(service.server) != STATUS_OK) {
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
    wiring_make_parts(&service, settings);
    int code = run();
    watch_stop(service.watch);
    log_writer_stop(service.log_writer, LOG_FLUSH_MS);
    return code;
}
