/*
 * guard: limits for each connection of a loop, where libh2o has none.
 *
 * A client is cut off (shutdown(2) of its socket; libh2o then tears the connection down) when it
 * - has more requests under way than streams may be open: it resets them faster than they can be answered,
 * - let more requests die before their answer was sent than GUARD_RESETS_MAX, each completed one forgiving one,
 * - takes nothing of an answer for GUARD_STALL_US,
 * - completed no request for GUARD_QUIET_US, whatever else it sends.
 * All connections of a loop are in one list, so that a stopping loop can close idle ones. Thread: one loop's.
 */
#ifndef PM_GUARD_H
#define PM_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

enum {
    GUARD_IN_FLIGHT_MAX = 256, /* libh2o allows 100 streams at a time */
    GUARD_RESETS_MAX = 100,
    GUARD_HEADERS_MAX = 64,
    GUARD_LINGER_BYTES_MAX = 4 * 1024 * 1024,
};
#define GUARD_STALL_US  (30 * 1000000LL)
#define GUARD_QUIET_US  (120 * 1000000LL)
#define GUARD_LINGER_US (2 * 1000000LL)

struct connection;

struct guard {
    h2o_linklist_t connections;
    h2o_linklist_t lingering;
    size_t count;                /* connections that libh2o knows, and lingering ones */
    size_t in_flight;            /* requests not yet disposed of, over all connections */
    atomic_uint_fast32_t *total; /* connections of all loops */
    int64_t now_us;              /* steady, as of the loop's last turn */
};

/* total: counted up and down with the connections. */
void guard_init(struct guard *guard, atomic_uint_fast32_t *total);

/* Watches a socket that was just accepted, until libh2o closes it. */
void guard_watch(struct guard *guard, h2o_socket_t *socket);

/* The watched connection of a request. */
struct connection *connection_of(const h2o_req_t *req);

/* A request has come. Returns false where the connection is cut off: the answer does not matter any more. */
bool connection_begin(struct connection *connection);
/* A request's memory is being disposed of. is_lost: its answer was not sent in full. */
void connection_end(struct connection *connection, bool is_lost);

/* Cuts a connection off. */
void connection_cut(struct connection *connection);

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
