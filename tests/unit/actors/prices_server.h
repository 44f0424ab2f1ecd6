/*
 * prices_server: a tiny HTTP server on loopback for the tests of prices and subscription: a thread a connection, one
 * answer a connection, and whatever misbehaviour the test asks for.
 */
#ifndef PM_PRICES_SERVER_H
#define PM_PRICES_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SERVED_REQUESTS_MAX = 512, SERVED_REQUEST_LEN_MAX = 2048 };

struct served {
    int code;
    const char *body;
    size_t repeat;    /* the body so many times; 0: once */
    int delay_ms;     /* before the answer */
    bool is_dropped;  /* the connection ends without an answer */
    char buffer[512]; /* for bodies that are made up */
};

/* Says how a request is answered; out is zeroed. Called under the server's lock, from its threads. */
typedef void serve_fn(void *context, const char *request, struct served *out);

struct prices_server;

struct prices_server *prices_server_create(serve_fn *serve, void *context);
void prices_server_destroy(struct prices_server *server);
/* "http://127.0.0.1:port" */
const char *prices_server_url(const struct prices_server *server);
size_t prices_server_count(struct prices_server *server);
/* A request's text, and when it came (steady). */
const char *prices_server_request(struct prices_server *server, size_t index, int64_t *at_us);
/* Requests of which the text contains this. */
size_t prices_server_count_with(struct prices_server *server, const char *part);
/* How many were being answered at one time, at most. */
size_t prices_server_most_at_once(struct prices_server *server);

#endif
