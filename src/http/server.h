/*
 * server: HTTP/1.1 and HTTP/2 in front of the directory (contract §2).
 *
 * One libh2o loop a thread, each with its own listener (SO_REUSEPORT) and directory reader; requests are answered on
 * the loop that read them. Reads of positions and portfolio never leave the loop; snapshots and validations are asked
 * of the history, which answers into a mailbox of the loop's. Health is read off the board; metrics come through
 * callbacks, since service/ knows them.
 */
#ifndef PM_SERVER_H
#define PM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "decode.h"
#include "directory.h"
#include "message.h"
#include "status.h"

struct server;

enum { INQUIRIES_MAX = 64 }; /* questions of one loop to the history at a time */

struct api_key {
    const char *text;
    uint32_t limit_per_minute;
};

/* Renders a body into *out (heap, the callee allocates with malloc, the caller frees). Returns its length. Thread: any
 * loop. */
typedef size_t server_render_fn(void *context, char **out);

/* Borrowed pointers live as long as the server. */
struct server_settings {
    const char *host;
    uint16_t port;
    size_t thread_count;
    const char *tls_cert; /* NULL: cleartext */
    const char *tls_key;
    const struct api_key *keys;
    size_t key_count;
    bool rate_limit_enabled;
    const char *service_name;
    const char *version;
    const struct asset_pattern *assets;
    int64_t staleness_us;                  /* PRICE_STALENESS_THRESHOLD */
    int64_t portfolio_ttl_us;              /* METRICS_CACHE_TTL */
    const struct decimal *exposure_limit;  /* NULL: none */
    server_render_fn *render_metrics;      /* Prometheus text */
    server_render_fn *render_metrics_json; /* the JSON summary */
    void *render_context;
    const struct outlet *history; /* one for each loop thread, sent to by it alone, with room for INQUIRIES_MAX; NULL:
                                     snapshots and validations are answered with 503 */
};

/*
 * Binds and listens. The settings are copied, what they point to is not. port 0: any free one, see server_port().
 * Fails: STATUS_UNAVAILABLE (address in use, no such certificate: logged), STATUS_INVALID (an API key is empty or
 * longer than 256 bytes, no thread); *out is NULL then.
 */
enum status server_create(const struct server_settings *settings, struct board *board, struct directory *directory,
                          struct server **out) PM_MUST_USE;
/* Starts the loops. Fails: STATUS_UNAVAILABLE if no thread can be had; those that were started are stopped then. */
enum status server_start(struct server *server) PM_MUST_USE;
/* Stops listening, lets running requests finish, closes idle connections, ends the threads within deadline_ms. The
 * history goes on answering until then: it is stopped after this. */
void server_stop(struct server *server, int deadline_ms);
/* Thread: after server_stop and after the history has stopped. Memory of live connections is left to the process' end
 * where libh2o cannot free it safely.
 */
void server_destroy(struct server *server);

/* The port that is listened on. Thread: any. */
uint16_t server_port(const struct server *server);

/* One series of http_requests_total. */
struct server_visit {
    const char *route;  /* a template, or "unmatched"; literals */
    const char *method; /* GET, HEAD, POST, other */
    int code;           /* 0: any that has no series of its own */
    uint64_t count;
};
typedef void server_visit_fn(void *context, const struct server_visit *visit);
/*
 * Calls visit for every series that has counted something, and for the code 200 of every route's GET also where it has
 * not, ordered by route, method and code. Thread: any.
 */
void server_count_visit(const struct server *server, server_visit_fn *visit, void *context);

struct server_reading {
    uint64_t portfolio_hits;   /* portfolio answers handed out as they were */
    uint64_t portfolio_misses; /* rendered anew */
    uint32_t connections;      /* open now */
    int64_t oldest_turn_us;    /* steady: when the loop that has not gone round for the longest time last did */
};
/* Thread: any. */
void server_read(const struct server *server, struct server_reading *out);

#endif
