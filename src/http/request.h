/*
 * request: one request on its way through the gate to its answer, and the headers and errors that every answer has.
 *
 * Lives in the request's own memory (req->pool), so it is gone with the request, also when the client leaves first.
 * Thread: the loop that read it.
 */
#ifndef PM_REQUEST_H
#define PM_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

#include "body.h"
#include "gate.h"
#include "query.h"
#include "routes.h"
#include "trace.h"
#include "visits.h"

struct h2_fields;
struct loop;

enum { REQUEST_BODY_LEN_MAX = 1024 * 1024 };

struct request {
    h2o_req_t *req;
    struct loop *loop;
    const struct route *route; /* NULL: no such path */
    const char *asset;         /* what stood at {asset}: decoded, not terminated, not checked */
    size_t asset_len;
    enum http_method method;
    bool has_key; /* a valid one: the answer tells the rate limit */
    struct gate_verdict verdict;
    int64_t steady_us; /* when it came */
    h2o_iovec_t key;   /* X-API-Key, base NULL: none */
    h2o_iovec_t accept;
    bool is_traced; /* the client gave the trace id */
    char trace_id[TRACE_ID_LEN_MAX + 1];
};

/* The errors of contract §2.2. */
enum problem {
    PROBLEM_VALIDATION,
    PROBLEM_UNAUTHORIZED,
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD_NOT_ALLOWED,
    PROBLEM_TOO_LARGE,
    PROBLEM_RATE_LIMITED,
    PROBLEM_INTERNAL,
    PROBLEM_UNAVAILABLE,
    PROBLEM_COUNT
};
int problem_code(enum problem problem);
const char *problem_word(enum problem problem);
const char *problem_reason(enum problem problem);

/* libh2o's callback for every path: gate, route, answer. */
int on_request(h2o_handler_t *handler, h2o_req_t *req);
/* libh2o's callback when a request is disposed of. */
void on_request_disposed(h2o_logger_t *logger, h2o_req_t *req);

/* Bytes that live as long as the request. */
void *request_alloc(struct request *request, size_t size);

/* A request by its head, found in its route. Lives in its own memory. */
struct request *request_create(h2o_req_t *req);

/* Whether its path needs no key. */
bool request_is_public(const struct request *request);

/*
 * What the gate says of its key: PROBLEM_COUNT where it passes. What it costs is taken, what there is to tell of it
 * goes into the log and the headers. Fails: PROBLEM_UNAUTHORIZED or PROBLEM_RATE_LIMITED, with *message.
 */
enum problem request_judge_key(struct request *request, const char **message);

/* Sends an answer. body: lives as long as the request, or for ever. content_type: a literal. */
void request_send(struct request *request, int code, const char *content_type, const char *body, size_t len);
void request_send_json(struct request *request, int code, const char *body, size_t len);
/* Sends a copy of a rendered body; one that failed is answered with INTERNAL. */
void request_send_body(struct request *request, int code, const char *content_type, const struct body *body);
/* Sends a kept body by reference. */
void request_send_kept(struct request *request, const struct kept_body *kept);

/* Adds a header. name: a literal in lower case; value: lives as long as the request. */
void request_add_header(struct request *request, const char *name, const char *value);
void request_add_retry_after(struct request *request, uint32_t seconds);
/* Those that every answer has. content_type: a literal. fields: takes them (HTTP/2); NULL: they are put to the rest. */
void request_add_usual_headers(struct request *request, const char *content_type, struct h2_fields *fields);

/* Sends an error. message says what was wrong and what would be right. */
void request_fail(struct request *request, enum problem problem, const char *message);

/*
 * Reads a query parameter. Fails: answers 400 itself and returns false.
 */
bool request_query(struct request *request, const char *name, struct query_value *out);

/* The same for an asset: upper-cased; empty where absent. What can be no asset is answered with 400. */
bool request_query_asset(struct request *request, char out[ASSET_LEN_MAX + 1]);
/* *is_given tells whether it was there; *out keeps its default where not. */
bool request_query_mode(struct request *request, enum position_mode *out, bool *is_given);
bool request_query_bool(struct request *request, const char *name, bool *out);
/* DECIMAL_NONE where absent. */
bool request_query_decimal(struct request *request, const char *name, struct decimal *out);
bool request_query_integer(struct request *request, const char *name, const struct query_range *range, uint32_t *out);
/* TIME_NONE where absent. */
bool request_query_time(struct request *request, const char *name, int64_t *out_us);

#endif
