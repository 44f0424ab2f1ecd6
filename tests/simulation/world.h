/*
 * world: everything around the shards, in one thread and from a seed, so that any order of events can be tried and
 * tried again: a broker that redelivers, a database that may be slow, written by others or lost with its answer, a
 * publisher that confirms late, and a service that dies between any two steps.
 *
 * The real code runs: shards, aggregator, directory, mailboxes, rules. The models keep what the real neighbours promise
 * (contract §3.3, §4, §6) and nothing more. After every step world_check() looks at the invariants of ARCHITECTURE.md.
 */
#ifndef PM_WORLD_H
#define PM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator.h"
#include "message.h"
#include "shard.h"

enum {
    WORLD_SHARDS = 2,
    WORLD_ASSETS_MAX = 6,
    WORLD_ROWS_MAX = WORLD_ASSETS_MAX * 2,
    WORLD_MESSAGES_MAX = 600,
    WORLD_JOURNAL_MAX = 4000,
    WORLD_ORDERS_MAX = 200,
    WORLD_POOL_MAX = 400,
    WORLD_ANNOUNCED_MAX = 64,
};

/* A message that upstream published: what every delivery of it says. */
struct world_message {
    struct delivery template;
    bool acked;          /* the broker has forgotten it */
    bool dead_lettered;  /* its copy is confirmed */
    bool delivered;      /* before: further deliveries are marked redelivered */
    uint32_t on_the_way; /* deliveries of the present connection */
};

struct world_row {
    bool exists;
    struct position position;
    int32_t announced_version;  /* highest confirmed */
    int64_t foreign_size_units; /* what others changed the size by */
};

struct world_journal_entry {
    char identity[IDENTITY_LEN_MAX + 1];
    uint64_t fingerprint;
    size_t row;
    struct journal_note note;
};

struct world_order {
    char key[ORDER_KEY_LEN_MAX + 1];
    size_t row;
    struct order_total total;
};

/* A delivery about in the service, with the message it is of. */
struct world_delivery {
    struct delivery delivery; /* first: the two share an address */
    size_t message;
    bool in_use;
};

struct world {
    uint64_t random_state;
    struct actor_time now;
    uint64_t steps;
    const char *broken; /* the invariant that does not hold, or NULL */
    char broken_detail[256];

    /* upstream and broker */
    struct world_message messages[WORLD_MESSAGES_MAX];
    size_t message_count;
    size_t next_message; /* not yet delivered for the first time */
    uint32_t generation;
    uint64_t next_tag;
    struct world_delivery pool[WORLD_POOL_MAX];
    size_t prefetch;

    /* database, committed */
    struct world_row rows[WORLD_ROWS_MAX];
    struct world_journal_entry journal[WORLD_JOURNAL_MAX];
    size_t journal_count;
    struct world_order orders[WORLD_ORDERS_MAX];
    size_t order_count;
    bool database_holds; /* commits are taken up and not carried out */
    /* requests taken up by the committer, done or not, not answered */
    struct message *requests[WORLD_SHARDS * 2];
    bool request_done[WORLD_SHARDS * 2];

    /* publisher */
    struct message *published[WORLD_POOL_MAX + WORLD_SHARDS * WORLD_ANNOUNCED_MAX];
    size_t published_count;
    uint64_t announcement_count;
    bool publisher_holds;

    /* the service */
    struct board board;
    struct directory *directory;
    struct directory_reader *reader;
    struct directory_reader *readers[WORLD_SHARDS + 1];
    struct shard *shards[WORLD_SHARDS];
    int64_t shard_deadlines[WORLD_SHARDS];
    struct aggregator *aggregator;
    int64_t aggregator_deadline;
    struct mailbox *shard_mailboxes[WORLD_SHARDS];
    struct mailbox *committer_mailbox, *publisher_mailbox, *consumer_mailbox, *aggregator_mailbox;
    struct portfolio_totals last_portfolio; /* of the last portfolio_updated */
    uint64_t portfolio_count;
    struct decimal exposure_limit;
    uint64_t crash_count, conflict_count, repeat_count, redelivery_count;
};

/* ---- world.c: the service inside, time and chance ---- */
/* An empty world with a running service. Owns: the caller; it is large (use malloc or static memory). */
void world_init(struct world *world, uint64_t seed);
void world_finish(struct world *world);
/* A number from 0 to bound-1 from the seed. */
uint64_t world_random(struct world *world, uint64_t bound);
/* Kills the service and starts it again from what is committed; whatever was on the way is delivered again. */
void world_crash(struct world *world);
/* Lets one actor take what is in its mailbox. */
void world_run_shard(struct world *world, size_t index);
void world_run_aggregator(struct world *world);
void world_pass_time(struct world *world, int64_t us);
/* Runs everything, in a fair order, until nothing moves any more. */
void world_settle(struct world *world);
/* One step of chance. */
void world_step(struct world *world);

/* ---- world_broker.c: upstream, broker, consumer and publisher ---- */
/* Makes a stream of messages of all kinds: repeats, cumulative orders, conflicts, hedge legs, market events. */
void world_make_stream(struct world *world, size_t count);
/* One message of the test's own; returns its index. */
size_t world_add_execution(struct world *world, const char *asset, const char *identity, enum side side,
                           const char *quantity, const char *price);
/* Delivers what comes next, if the prefetch allows it. Returns false if there is nothing. */
bool world_deliver(struct world *world);
/* Delivers a message (again) now. */
void world_deliver_message(struct world *world, size_t index);
/* Takes what came home and acknowledges it. */
void world_run_consumer(struct world *world);
/* The connection is lost: everything unacknowledged comes again, while the old deliveries are still about. */
void world_lose_consumer(struct world *world);
/* Takes announcements and dead letters; confirms some or all of what is published. */
void world_run_publisher(struct world *world);
void world_confirm(struct world *world, size_t count);

/* ---- world_database.c ---- */
size_t world_row_index(const char *asset, enum position_mode mode);
/* Takes requests up, carries one out, answers one: the three steps between which things may die. */
void world_take_requests(struct world *world);
void world_carry_out(struct world *world, size_t request);
void world_answer(struct world *world, size_t request);
/* Someone else changes a row, its version and its size. */
void world_foreign_write(struct world *world, size_t row);
const struct world_journal_entry *world_find_identity(const struct world *world, const char *identity);

/* ---- world_check.c ---- */
/* The invariants that hold at every moment; sets world->broken. */
void world_check(struct world *world);
/* What must hold when everything has settled. */
void world_check_settled(struct world *world);
void world_break(struct world *world, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
