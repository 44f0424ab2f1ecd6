/*
 * consumer_state: the consumer's struct and what its files share. Internal to the consumer.
 *
 *   consumer.c          the public face, the thread and its loop, deliveries that come home
 *   consumer_link.c     the connection: opening, losing, frames in, acknowledgements out
 *   consumer_arrival.c  a complete delivery: decoding it and sending it on its way
 *
 * Bounds: at most `prefetch` deliveries travel (are with shards or the publisher): the lanes are that long. A new
 * connection starts with its whole prefetch although deliveries of an old one may still travel; what then comes beyond
 * the bound waits here, so the pool holds twice as many. Their bodies: BODIES_LEN_MAX bytes, exceeded by one body
 * at most; above it the socket is not read.
 */
#ifndef PM_CONSUMER_STATE_H
#define PM_CONSUMER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backoff.h"
#include "broker_link.h"
#include "consumer.h"
#include "consumer_pool.h"
#include "consumer_window.h"
#include "message_chain.h"

enum {
    CONSUMER_BODIES_LEN_MAX = 64 * 1024 * 1024,
    CONSUMER_FRAMES_A_TURN = 1024,
    CONSUMER_ACKS_UNSENT_LEN_MAX = 64 * 1024,
};

/* A delivery of which not all frames are here. */
struct arrival {
    struct delivery *delivery; /* NULL: none */
    bool has_header;
    size_t filled_len;
    size_t message_id_len;
    char message_id[FRAMES_SHORT_LEN_MAX];
};

struct consumer {
    /* fixed */
    struct consumer_settings settings;
    const char **queues; /* [0]: the market queue */
    size_t queue_count;
    struct board *board;
    struct mailbox *mailbox;
    struct outlet *shards;
    size_t shard_count;
    consumer_shard_fn *shard_of;
    void *shard_of_context;
    struct outlet dead_letters;

    /* told by other threads */
    atomic_bool quiesce_asked;
    atomic_bool quiesced; /* written by the consumer's thread: nothing new leaves any more */
    atomic_bool stop_asked;
    atomic_int_fast64_t stop_by_us;
    atomic_size_t outstanding; /* written by the consumer's thread */
    atomic_size_t fullest;     /* the same */

    /* the thread's */
    struct broker_link link;
    struct backoff backoff;
    struct reminder failures; /* to connect, in a row */
    struct consumer_pool pool;
    struct consumer_window window;
    struct arrival arrival;
    struct message_chain waiting; /* decoded, until fewer travel */
    size_t travelling;
    size_t *travelling_of;  /* each queue */
    size_t taken_this_turn; /* deliveries */
    uint32_t generation;    /* of the present connection, from 1 */
    bool is_consuming;
    bool is_cancelled; /* quiesced: what still arrives is dropped, it comes again */
    bool is_readable;  /* poll(2) said so */
    bool is_stopping;  /* stop_asked, as seen at the beginning of this turn */
    bool warned_of_missing_identity;
    int64_t now_us; /* steady, of this turn */
    int64_t wall_us;

    pthread_t thread;
    bool is_started;
};

/* consumer_link.c */
void consumer_connect(struct consumer *consumer);
/* Keeps the board. */
void consumer_tell_connected(const struct consumer *consumer);
/* The funnel: logs, drops what has not left, schedules the next try. link.reason says why. */
void consumer_fail(struct consumer *consumer);
/* Stops consuming; settled deliveries are still acknowledged. */
void consumer_cancel(struct consumer *consumer);
/* Takes what has arrived, at most a turn's worth. */
void consumer_read(struct consumer *consumer);
bool consumer_may_read(const struct consumer *consumer);
/* Appends the acknowledgements that are due; all: whatever is settled. */
void consumer_acknowledge(struct consumer *consumer, bool all);

/* consumer_arrival.c */
/* Takes properties that matter from the content header. */
void consumer_arrival_properties(struct consumer *consumer, const amqp_basic_properties_t *properties);
/* All frames are here: decodes and sends it on. The arrival is empty afterwards. */
void consumer_arrival_complete(struct consumer *consumer);
/* Sends waiting ones while fewer than the prefetch travel. */
void consumer_dispatch_waiting(struct consumer *consumer);

/* consumer.c: asked to take nothing new, or the whole service stops: what is delivered after /health/ready says so is
 * left to the broker. */
bool consumer_must_quiesce(const struct consumer *consumer);
/* consumer.c: one delivery is settled: noted for acknowledgement if its connection still stands, and back in the pool.
 */
void consumer_settle(struct consumer *consumer, struct delivery *delivery);
void consumer_drop_unsent(struct consumer *consumer);

#endif
