/*
 * loop: one thread of the server: a libh2o loop, its listener, its reader of the directory, and everything it need not
 * share.
 *
 * server.c makes and stops them; requests find theirs with loop_of().
 */
#ifndef PM_LOOP_H
#define PM_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <h2o.h>

#include "ahead.h"
#include "body.h"
#include "gate.h"
#include "guard.h"
#include "inquiries.h"
#include "server.h"
#include "visits.h"

/* What all loops look at. Read-only once the loops run, but for the atomics. */
struct shared {
    struct server_settings settings;
    struct board *board;
    struct directory *directory;
    struct gate *gate;
    h2o_globalconf_t config;
    SSL_CTX *tls; /* NULL: cleartext */
    uint32_t connections_max;
    atomic_uint_fast32_t connections;
    atomic_bool stopping;
    atomic_int_fast64_t stop_by_us; /* steady; set before stopping */
};

/* Where a rendering pass keeps the positions that it saw. */
struct seen_positions {
    const struct position **items;
    size_t count;
    size_t capacity;
};

/* Bodies that are asked for again and again. */
enum kept { KEPT_POSITIONS, KEPT_PORTFOLIO, KEPT_PORTFOLIO_POSITIONS, KEPT_EXPOSURE, KEPT_PNL, KEPT_COUNT };

/* Bodies of single positions: each has one place, which the last that was asked for holds. */
enum { KEPT_POSITION_PLACES = 64 };
struct kept_position {
    char asset[ASSET_LEN_MAX + 1];
    enum position_mode mode;
    struct kept_body body;
};

struct loop {
    struct shared *shared;
    int listen_fd;
    int wake_fd;
    pthread_t thread;
    bool is_running;
    h2o_context_t context;
    h2o_evloop_t *evloop;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;
    h2o_socket_t *wake;
    struct ahead ahead;
    struct guard guard;
    struct inquiries inquiries;
    struct directory_reader *reader;
    struct visits visits;
    int64_t clock_us;                 /* steady, when it was last looked at in this turn; 0: not yet */
    atomic_int_fast64_t turned_at_us; /* steady; it goes round at least twice a second */
    atomic_uint_fast64_t portfolio_hits;
    atomic_uint_fast64_t portfolio_misses;
    struct body body;
    struct seen_positions seen;
    struct kept_body kept[KEPT_COUNT];
    struct kept_position kept_positions[KEPT_POSITION_PLACES];
};

static inline struct loop *loop_of(h2o_context_t *context)
{
    return H2O_STRUCT_FROM_MEMBER(struct loop, context, context);
}

/* Looks at the steady clock. */
int64_t loop_look_at_clock(struct loop *loop);
/* The steady time as of the last look in this turn, which is the first or after whatever may have taken long. */
int64_t loop_now_us(struct loop *loop);

/* listen_fd: bound and listening, given away. history: this loop's, or NULL. Fails: STATUS_UNAVAILABLE (no descriptor);
 * listen_fd is the caller's then. */
enum status loop_init(struct loop *loop, struct shared *shared, int listen_fd,
                      const struct outlet *history) PM_MUST_USE;
/* Fails: STATUS_UNAVAILABLE (no thread). */
enum status loop_start(struct loop *loop) PM_MUST_USE;
/* Tells the loop to look at shared->stopping. Thread: any. */
void loop_wake(struct loop *loop);
/* Blocks: until the thread has ended, or until_us (steady): false then, and the loop's memory must stay. */
bool loop_join(struct loop *loop, int64_t until_us) PM_MUST_USE;
/* Thread: after loop_join, or where it was never started. */
void loop_finish(struct loop *loop);

#endif
