/*
 * wiring: what the service is made of, and who is joined to whom.
 *
 * Makes the mailboxes and the actors, each with its settings and with the lanes on which it sends and is told. It
 * starts nothing: service.c starts and stops what is made here. Why no lane can overflow stands at make_mailboxes() and
 * in ARCHITECTURE.md ("When something is full").
 *
 * Thread: main, before any other is started, but for the page of metrics, which any HTTP loop may read. Owns: the
 * struct and all that it names stay to the end of the process.
 */
#ifndef PM_WIRING_H
#define PM_WIRING_H

#include <pthread.h>
#include <stddef.h>

#include "board.h"
#include "message.h"
#include "metrics_registry.h"
#include "server.h"
#include "settings.h"
#include "storage.h"

/* Mailboxes beside those of the shards: of committer, aggregator, publisher, consumer, prices and history. */
enum { OTHER_MAILBOXES = 6 };

/* One a process. */
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
    struct mailbox *mailboxes[SETTINGS_SHARDS_MAX + OTHER_MAILBOXES]; /* all of them, for metrics */
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

/* Makes mailboxes and actors. service: zeros, but for what service.c has started already. settings: borrowed. */
void wiring_make_parts(struct service *service, const struct settings *settings);

/* After the parts: makes the survey and the server, which binds its port. Fails: as server_create(). */
enum status wiring_make_server(struct service *service) PM_MUST_USE;

#endif
