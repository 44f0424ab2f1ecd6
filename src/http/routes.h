/*
 * routes: one table says which paths there are, who may ask, what they need and who answers. 405 with its Allow, the
 * metrics by template and the gate all come from it. Thread: any.
 */
#ifndef PM_ROUTES_H
#define PM_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

struct request;

/*
 * Answers a request: owes exactly one request_send_*() or request_fail(), which may come later, from the same loop;
 * struct request lives until then or until the client is gone.
 */
typedef void route_answer_fn(struct request *request);

struct route {
    const char *template; /* also the metric's label */
    const char *suffix;   /* what follows {asset}; NULL: no {asset} in the template */
    bool needs_key;
    bool needs_positions;  /* 503 until they are loaded */
    route_answer_fn *get;  /* also answers HEAD; NULL: 405 */
    route_answer_fn *post; /* NULL: 405 */
};

extern const struct route ROUTES[];
extern const size_t ROUTE_COUNT;

/*
 * Finds the route of a normalized path; NULL: none. *asset and *asset_len are what stood at {asset} (never empty), or
 * NULL and 0.
 */
const struct route *route_find(const char *path, size_t len, const char **asset, size_t *asset_len);

/* Whether anyone may ask for it without a key; also for paths that do not exist (all of /health*). */
bool route_is_public(const struct route *route, const char *path, size_t len);

/* The value of Allow: "GET, HEAD", "POST", "GET, HEAD, POST". */
const char *route_allow(const struct route *route);

/* Index in the table for counting; NULL: ROUTE_COUNT. */
size_t route_index(const struct route *route);
/* The template of an index; "unmatched" for ROUTE_COUNT. */
const char *route_label(size_t index);

/* The answers (routes_*.c). */
route_answer_fn answer_positions, answer_position;
route_answer_fn answer_validate, answer_snapshot, answer_snapshots;
route_answer_fn answer_portfolio, answer_exposure, answer_pnl;
route_answer_fn answer_health, answer_live, answer_ready, answer_metrics, answer_openapi;

#endif
