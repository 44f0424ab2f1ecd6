/*
 * publisher_state: the publisher's struct and what its files share. Internal to the publisher.
 *
 *   publisher.c         the public face, the thread and its loop, sending home
 *   publisher_link.c    the connection: opening, losing, confirms
 *   publisher_encode.c  a message as frames
 *
 * A message is in exactly one place: in a lane, in `again` (to be published before anything from the lanes: after a
 * lost connection or a nack), in the window (published, unconfirmed), or sent home. Bounds: the window's limit over
 * window and `again` together; nothing is taken from the lanes while more than PUBLISHER_UNSENT_LEN_MAX bytes wait for
 * the socket.
 */
#ifndef PM_PUBLISHER_STATE_H
#define PM_PUBLISHER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backoff.h"
#include "broker_link.h"
#include "message.h"
#include "publisher.h"
#include "publisher_window.h"

enum {
    PUBLISHER_UNSENT_LEN_MAX = 256 * 1024,
    PUBLISHER_FRAMES_A_TURN = 1024,
    PUBLISHER_NACK_PAUSE_MS = 100, /* before what the broker refused is offered again */
};

/* What a delivery that goes home without being settled carries: no connection has it, so it is not acknowledged and
 * comes again. */
enum { GENERATION_NONE = 0 };

struct publisher {
    /* fixed */
    struct publisher_settings settings;
    struct board *board;
    struct mailbox *mailbox;
    struct outlet consumer;
    struct outlet *shards;
    size_t shard_count;
    struct outlet aggregator;
    struct outlet history; /* .mailbox NULL: nobody sends snapshots */

    /* told by other threads */
    atomic_bool stop_asked;
    atomic_int_fast64_t stop_by_us;

    /* the thread's */
    struct broker_link link;
    struct backoff backoff;
    struct reminder failures; /* to connect, in a row */
    struct publisher_window window;
    struct message_chain again;
    int64_t again_after_us; /* not before: a nack's pause */
    size_t next_lane;       /* turn about, so that no lane starves */
    uint32_t generation;
    bool is_ready;    /* connected, queues there, in confirm mode */
    bool is_blocked;  /* the broker asked us to stop publishing */
    bool is_readable; /* poll(2) said so */
    bool is_stopping;
    int64_t now_us; /* steady, of this turn */
    int64_t wall_us;

    pthread_t thread;
    bool is_started;
};

/* publisher_link.c */
void publisher_connect(struct publisher *publisher);
/* The funnel: logs, puts what is unconfirmed in line again, schedules the next try. link.reason says why. */
void publisher_fail(struct publisher *publisher);
/* Takes what the broker says: confirms, returns, blocking. */
void publisher_read(struct publisher *publisher);
/* Tells the board whether publishing is possible. */
void publisher_tell_board(struct publisher *publisher);

/* publisher_encode.c: appends a message as a publication. */
void publisher_encode(struct frames *frames, const struct message *message, int64_t wall_us);

/* publisher.c: the broker has it. */
void publisher_confirmed(struct publisher *publisher, struct message *message);

#endif
