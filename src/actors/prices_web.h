/*
 * prices_web: a small HTTP client on one thread, for the prices actor and the subscription; the only user of libcurl.
 *
 * At most WEB_REQUESTS_MAX requests are under way, each bounded in time and in the size of its answer. http and https
 * only; redirects are not followed; certificates are verified. Nothing here logs, so neither do keys.
 */
#ifndef PM_PRICES_WEB_H
#define PM_PRICES_WEB_H

#include <stddef.h>

#include "status.h"

struct web_client;

enum {
    WEB_REQUESTS_MAX = 9, /* 8 for prices, 1 for the subscription */
    WEB_BODY_LEN_MAX = 64 * 1024,
};

struct web_request {
    const char *url;         /* copied */
    const char *header_name; /* one header more, or NULL; copied */
    const char *header_value;
    const char *body; /* JSON to POST, a literal; NULL: GET */
    long timeout_ms;  /* for all of it, from the name's resolution to the last byte */
};

/* Valid during the call only. */
struct web_answer {
    long code;           /* the HTTP status; 0: none came */
    const char *failure; /* NULL: the answer is whole; else a literal: "timeout", "unreachable", … */
    const char *body;
    size_t body_len;
};

/* Called once for each started request, from web_client_perform(). It must not start another one. */
typedef void web_done_fn(void *context, const struct web_answer *answer);

/* Owns: the caller. Fails: never (aborts without memory). Thread: any; afterwards one thread uses it. */
struct web_client *web_client_create(void);
/* Gives up what is under way: its done function is not called any more. NULL is accepted. */
void web_client_destroy(struct web_client *client);

/* Starts a request. Fails: STATUS_FULL, STATUS_UNAVAILABLE (libcurl does not take it); done is not called then. */
enum status web_client_start(struct web_client *client, const struct web_request *request, web_done_fn *done,
                             void *context) PM_MUST_USE;

/* Moves everything on as far as it goes without waiting, and reports what is done. */
void web_client_perform(struct web_client *client);

/* Waits until a connection has something to do, fd is readable, or timeout_ms passed. Blocks: up to timeout_ms. */
void web_client_wait(struct web_client *client, int fd, int timeout_ms);

#endif
