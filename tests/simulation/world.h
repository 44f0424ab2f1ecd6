/*
 * world: everything around the shards, in one thread, so that any order of events can be tried and tried again: a
 * broker that redelivers, a database that may be slow, written by others or lost with its answer, a publisher that
 * confirms late, and a service that dies between any two steps.
 *
 * The real code runs: shards, aggregator, directory, mailboxes, rules. The models keep what the real neighbours promise
 * (contract §3.3, §4, §6) and nothing more. Nothing here is left to chance: who calls (a story, a test) says what
 * happens next. After every step world_check() looks at the invariants of ARCHITECTURE.md.
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
    WORLD_REQUESTS = WORLD_SHARDS * 2, /* 2i and 2i+1: shard i's */
    WORLD_ASSETS_MAX = 6,
    WORLD_ROWS_MAX = WORLD_ASSETS_MAX * 2,
    WORLD_MESSAGES_MAX = 600,
    WORLD_JOURNAL_MAX = 4000,
    WORLD_ORDERS_MAX = 200,
    WORLD_POOL_MAX = 400,
    WORLD_ANNOUNCED_MAX = 64,
    WORLD_BATCH_MAX = 64,
    WORLD_CONFLICT_TRIES_MAX = 3,
};

/* What somebody else does to a row. */
enum world_foreign { WORLD_FOREIGN_SIZE, WORLD_FOREIGN_REALIZED, WORLD_FOREIGN_VERSION, WORLD_FOREIGN_INSERT };
enum { WORLD_FOREIGN_COUNT = WORLD_FOREIGN_INSERT + 1 };

/* A message that upstream published: what every delivery of it says. */
struct world_message {
    struct delivery template;
    bool acked;                /* the broker has forgotten it */
    bool dead_lettered;        /* its copy is confirmed */
    bool delivered;            /* before: further deliveries are marked redelivered */
    uint32_t on_the_way;       /* deliveries of the present connection */
    int32_t committed_version; /* of its row, with its newest effect */
    size_t committed_row;
};

struct world_row {
    bool exists;
    bool refuse_next; /* the next item of it is not taken by the database */
    struct position position;
    int32_t announced_version; /* highest confirmed */
    int32_t written_version;   /* newest change of the service's, or taken note of by it */
    int32_t known_version;     /* highest that the service wrote or was told */
    int32_t published_version; /* highest handed to the publisher in this run */
    uint32_t setbacks;         /* what others did to it, and what the database refused */
};

struct world_journal_entry {
    char identity[IDENTITY_LEN_MAX + 1];
    uint64_t identity_hash;
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
    bool counted; /* an effect of it is committed */
    /* when it was delivered: */
    int32_t row_version;
    bool was_counted; /* by an earlier delivery, in this very content */
};

struct world {
    struct actor_time now;
    uint64_t id_count;  /* identifiers given out */
    const char *broken; /* the invariant that does not hold, or NULL */
    char broken_detail[256];
    bool shard_ran[WORLD_SHARDS]; /* since the last check */
    bool rows_changed;            /* since the last check */

    /* upstream and broker */
    struct world_message messages[WORLD_MESSAGES_MAX];
    size_t message_count;
    size_t next_message; /* not yet delivered for the first time */
    size_t first_open;   /* all before it are acknowledged */
    size_t settle_batch; /* what an actor takes at once while everything comes to rest */
    bool upstream_holds; /* nothing is delivered for the first time */
    uint32_t generation;
    uint64_t next_tag;
    struct world_delivery pool[WORLD_POOL_MAX];
    size_t deliveries_about;
    size_t prefetch;

    /* database, committed */
    struct world_row rows[WORLD_ROWS_MAX];
    struct world_journal_entry journal[WORLD_JOURNAL_MAX];
    size_t journal_count;
    struct world_order orders[WORLD_ORDERS_MAX];
    size_t order_count;
    bool database_holds; /* commits are taken up and not carried out */
    /* requests taken up by the committer, done or not, not answered */
    struct message *requests[WORLD_REQUESTS];
    bool request_done[WORLD_REQUESTS];

    /* publisher */
    struct message *published[WORLD_POOL_MAX + WORLD_SHARDS * WORLD_ANNOUNCED_MAX + 1];
    size_t published_count;
    uint64_t announcement_count;
    enum update_source last_source; /* of the last position_updated that was confirmed */
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
    uint32_t announcement_count_max;        /* of each shard, from the next start on */
    struct portfolio_totals last_portfolio; /* of the last portfolio_updated, of whichever run */
    uint64_t portfolio_count;
    struct decimal exposure_limit;
    uint64_t crash_count, conflict_count, repeat_count, redelivery_count;
};

/* ---- world.c: the service inside, and time ---- */
/* The next number of a seed's. */
uint64_t world_random_next(uint64_t *state);
/*
 * An empty world with a running service. prefetch: deliveries about at most; announcements: unconfirmed ones of a
 * shard. Owns: the caller; it is large (use malloc or static memory).
 */
void world_init(struct world *world, uint32_t prefetch, uint32_t announcements);
void world_finish(struct world *world);
/* What the shards of this world do with market events. */
struct market_policy world_market_policy(void);
/* Kills the service and starts it again from what is committed; whatever was on the way is delivered again. */
void world_crash(struct world *world);
/* Lets one actor take what is in its mailbox, up to max and WORLD_BATCH_MAX. */
void world_run_shard(struct world *world, size_t index, size_t max);
void world_run_aggregator(struct world *world, size_t max);
void world_pass_time(struct world *world, int64_t us);
/* Ends all holds, runs everything in a fair order until nothing moves any more, and checks what must hold then. */
void world_settle(struct world *world);
/* The same with what was delivered before, and nothing new of upstream's. */
void world_rest(struct world *world);

/* ---- world_broker.c: upstream, broker, consumer and publisher ---- */
/* A message of upstream's; identity and order_key may be empty. Returns its index. */
size_t world_add(struct world *world, const char *asset, const char *identity, const char *order_key,
                 const struct execution *execution);
size_t world_add_market(struct world *world, const char *asset, const struct market_event *event);
/* An execution of a test's own, one-way, with a fee of 0.01. */
size_t world_add_execution(struct world *world, const char *asset, const char *identity, enum side side,
                           const char *quantity, const char *price);
/* Delivers what comes next, if the prefetch allows it. Returns false if there is nothing. */
bool world_deliver(struct world *world);
/* Takes what came home and acknowledges it. */
void world_run_consumer(struct world *world);
/* The connection is lost: everything unacknowledged comes again, while the old deliveries are still about. */
void world_lose_consumer(struct world *world);
/* Takes announcements and dead letters. */
void world_run_publisher(struct world *world);
/* Confirms some or all of what is published; picked_by: 0: the oldest first; else any. */
void world_confirm(struct world *world, size_t count, uint64_t picked_by);

/* ---- world_database.c ---- */
size_t world_row_index(const char *asset, enum position_mode mode);
size_t world_row_of(const struct delivery *delivery);
struct world_order *world_find_order(struct world *world, const struct delivery *delivery);
const struct world_journal_entry *world_find_identity(const struct world *world, const char *identity);
void world_add_journal(struct world *world, size_t row, const char *identity, uint64_t fingerprint,
                       const struct journal_note *note);
/* Takes requests up, carries one out, answers one: the three steps between which things may die. */
void world_take_requests(struct world *world);
void world_carry_out(struct world *world, size_t request);
void world_answer(struct world *world, size_t request);
/*
 * The connection is lost after COMMIT was sent: what was committed and not answered is asked for by its transaction's
 * number. cannot_tell: the server does not know any more, so the group is done again and finds itself.
 */
void world_lose_database(struct world *world, bool cannot_tell);
/* Someone else changes a row and its version, or inserts one. */
void world_foreign_write(struct world *world, size_t row, enum world_foreign kind);
/* What the service does before it loads: rows that somebody changed meanwhile get their line. */
void world_catch_up(struct world *world);

/* ---- world_fold.c: the truth, recounted from the messages ---- */
/* Before an item is written: it must be what comes of the row and the messages behind its deliveries. */
void world_fold_item(struct world *world, uint32_t shard, const struct commit_item *item);
/* The order's total as written must be what comes of the message. */
void world_fold_order(struct world *world, const struct delivery *delivery, const struct order_total *before,
                      const struct order_total *after);

/* ---- world_check.c ---- */
/* The invariants that hold at every moment; sets world->broken. */
void world_check(struct world *world);
/* What must hold when everything has come to rest. */
void world_check_settled(struct world *world);
/* What must hold when a delivery is acknowledged, handed to the publisher, or refused. */
void world_check_acknowledgement(struct world *world, const struct world_delivery *about);
void world_check_announcement(struct world *world, const struct announcement *announcement);
void world_check_portfolio(struct world *world, const struct portfolio_announcement *portfolio);
void world_check_refusal(struct world *world, const struct world_delivery *about);
/* A few numbers that tell whether two runs went the same way. */
uint64_t world_digest(const struct world *world);
void world_break(struct world *world, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
