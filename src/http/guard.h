/*
 * guard: limits for each connection of a loop, where libh2o has none.
 *
 * A client is cut off (GOAWAY where h2_frames.h is judging one of its frames, else shutdown(2) of its socket, whereupon
 * libh2o tears the connection down) when it
 * - sends nothing for GUARD_SILENCE_US after connecting,
 * - has more requests under way than streams may be open: it resets them faster than they can be answered,
 * - let more requests die before their answer was sent than GUARD_RESETS_MAX, each completed one forgiving one,
 * - sends more HTTP/2 frames that ask for nothing than its allowance (see connection_charge()),
 * - takes nothing of an answer for GUARD_STALL_US, or not all of it within GUARD_ANSWER_US,
 * - completed no request for GUARD_QUIET_US, whatever else it sends,
 * - has much in libh2o's buffers while all connections of the loop together have more than GUARD_HELD_MAX there.
 * Where no further connection can be had, the one that has been of no use for longest goes, those that never had an
 * answer first. All connections of a loop are in lists, so that a stopping loop can close idle ones. Thread: one
 * loop's.
 */
#ifndef PM_GUARD_H
#define PM_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

#include "status.h"

enum {
    GUARD_IN_FLIGHT_MAX = 256, /* libh2o allows 100 streams at a time */
    GUARD_RESETS_MAX = 100,
    GUARD_HEADERS_MAX = 64,
    GUARD_LINGER_BYTES_MAX = 4 * 1024 * 1024,
    GUARD_HELD_MAX = 64 * 1024 * 1024,
    GUARD_HELD_MUCH = 64 * 1024,    /* by one connection */
    GUARD_ALLOWANCE = 1000,         /* frames that ask for nothing */
    GUARD_ALLOWANCE_A_SECOND = 100, /* so much of it grows again in time, */
    GUARD_ALLOWANCE_A_REQUEST = 8,  /* with each completed request, */
    GUARD_ALLOWANCE_BYTES = 1024,   /* and by one for so many bytes that were sent to the client */
};
#define GUARD_SILENCE_US (10 * 1000000LL)
#define GUARD_STALL_US   (30 * 1000000LL)
#define GUARD_ANSWER_US  (60 * 1000000LL) /* from the request on; in HTTP/2 from its first frame on */
#define GUARD_QUIET_US   (120 * 1000000LL)
#define GUARD_LINGER_US  (2 * 1000000LL)
#define GUARD_TELL_US    (1 * 1000000LL) /* between two lines of the log */

struct connection;
struct frames;

struct guard {
    h2o_linklist_t strangers; /* never had an answer; the oldest first */
    h2o_linklist_t clients;   /* the others; the one whose last answer is longest ago first */
    h2o_linklist_t lingering;
    size_t count;                /* connections that libh2o knows, and lingering ones */
    size_t in_flight;            /* requests not yet disposed of, over all connections */
    atomic_uint_fast32_t *total; /* connections of all loops */
    int64_t now_us;              /* steady, as of the loop's last turn */
    int64_t tell_at_us;          /* the next line about a connection that was cut off, at the earliest */
    int64_t untold;              /* cut off since the last one */
};

/* total: counted up and down with the connections. */
void guard_init(struct guard *guard, atomic_uint_fast32_t *total);

/* Watches a socket that was just accepted, until it is closed. */
void guard_watch(struct guard *guard, h2o_socket_t *socket);

/* Cuts off a connection of no use, so that there is room for another. Fails: false (all are of use). */
bool guard_make_room(struct guard *guard) PM_MUST_USE;

/* libh2o has the connection now, and with it the time limits for what the client sends. */
void connection_hand_over(struct connection *connection);

/* The watched connection of a request. */
struct connection *connection_of(const h2o_req_t *req);

/* A request has come. Returns false where the connection is cut off: the answer does not matter any more. */
bool connection_begin(struct connection *connection);
/* A request's memory is being disposed of. is_lost: its answer was not sent in full. */
void connection_end(struct connection *connection, bool is_lost);

/* What h2_frames.h keeps about the connection. */
struct frames *connection_frames(struct connection *connection);
/* What h2_fields.h and h2_table.h do. */
struct h2_client *connection_h2_client(struct connection *connection);

/* Takes from the connection's allowance of HTTP/2 frames. Returns false where it is cut off. */
bool connection_charge(struct connection *connection, int cost);

/* Cuts a connection off, which is counted and told. reason: a literal. */
void connection_refuse(struct connection *connection, const char *reason);
bool connection_is_cut(const struct connection *connection);

/*
 * Reads and throws away what the client is still sending after libh2o has closed the connection, within bounds.
 * Otherwise the kernel answers those bytes with a reset, and the client never sees why it was refused.
 */
void connection_linger(struct connection *connection);

/* Cuts off whoever broke a limit. now_us: steady. Called about once a second. */
void guard_sweep(struct guard *guard, int64_t now_us);

/* Cuts off every connection without a request under way. */
void guard_close_idle(struct guard *guard);

#endif
