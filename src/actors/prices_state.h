/*
 * prices_state: the inside of the prices actor, shared by the files that make it up (prices.c: loop and lifecycle;
 * prices_scan.c: what is to be asked for; prices_ask.c: asking, and what comes of it).
 *
 * Thread: the prices actor's.
 */
#ifndef PM_PRICES_STATE_H
#define PM_PRICES_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "actor.h"
#include "prices.h"
#include "prices_rests.h"
#include "prices_web.h"
#include "subscription.h"

enum ask_state {
    ASK_FREE,
    ASK_WAITING, /* for its next try, at due_us */
    ASK_ASKING,  /* a request is under way */
    ASK_SENT,    /* its deliveries are with the shard */
};

struct ask;

struct priced_delivery {
    struct delivery delivery; /* first: the two share an address */
    struct ask *ask;
};

/* One asset from the moment it is found to need a price until its price is committed or all tries have failed. */
struct ask {
    struct prices *prices;
    enum ask_state state;
    uint32_t tries;  /* made */
    int64_t due_us;  /* steady */
    size_t out;      /* deliveries with the shard */
    bool is_refused; /* one of them came home without effect */
    struct rest *rest;
    char asset[ASSET_LEN_MAX + 1];
    char trace_id[TRACE_ID_LEN_MAX + 1];
    struct priced_delivery deliveries[2]; /* by mode */
};

struct prices {
    struct prices_settings settings;
    struct outlet shards[DIRECTORY_PARTS_MAX];
    struct mailbox *mailbox;
    struct directory_reader *reader;
    struct web_client *web;
    struct subscription subscription;
    struct actor_time now; /* of the turn; of an answer, once it is there */

    struct ask asks[PRICES_ASKS_MAX];
    size_t free_count;
    size_t asking_count;
    struct rests rests;
    int64_t next_start_us; /* steady: no request is started earlier */
    int64_t start_gap_us;  /* between two starts: longer while requests fail */

    int64_t scan_at_us;             /* steady: no scan earlier */
    int64_t scan_anyway_us;         /* steady: a scan then, whatever else */
    int64_t next_due_us;            /* wall: nothing that was seen needs a price earlier */
    uint64_t position_count;        /* at the last scan */
    char cursor[ASSET_LEN_MAX + 1]; /* the asset taken last: the next scan takes those behind it first */

    pthread_t thread;
    bool is_started;
    atomic_bool stop_asked;
};

/* ---- prices.c ---- */
/* Waits are counted from what is waited after, not from when the turn began, which may be long ago on a busy machine.
 */
void prices_look_at_clock(struct prices *prices);

/* ---- prices_scan.c ---- */
/* Looks for assets to ask for, if it is time and something can be due. */
void prices_scan(struct prices *prices);
/* Something will be due then (wall). */
void prices_due_at(struct prices *prices, int64_t wall_us);

/* ---- prices_ask.c ---- */
/* The shortest time between two starts: 50 a second. */
int64_t prices_start_gap_min_us(const struct prices *prices);
/* Begins to ask for an asset. There is a free ask. */
void prices_begin(struct prices *prices, const char *asset);
/* Starts what requests are due and may be started. Returns when the next one may be (steady), INT64_MAX: none waits. */
int64_t prices_start_requests(struct prices *prices);
/* A delivery came home. */
void prices_handle_home(struct prices *prices, struct delivery *delivery);

#endif
