#include "foreign.h"

#include <string.h>

#include "check.h"
#include "encode.h"
#include "guard.h"
#include "h2_fields.h"
#include "loop.h"
#include "metrics.h"
#include "request.h"

enum { FOREIGN_JSON_LEN_MAX = 512, CODE_TOO_LARGE = 413, CODE_EXPECTATION = 417 };

struct foreign_stream {
    h2o_ostream_t stream;
    h2o_iovec_t body;
};

static enum problem problem_of(int status)
{
    switch (status) {
    case 404:
        return PROBLEM_NOT_FOUND;
    case CODE_TOO_LARGE:
        return PROBLEM_TOO_LARGE;
    case 500:
        return PROBLEM_INTERNAL;
    default:
        return PROBLEM_VALIDATION;
    }
}

static const char *message_of(enum problem problem)
{
    switch (problem) {
    case PROBLEM_NOT_FOUND:
        return "there is nothing at this path; see /openapi.json";
    case PROBLEM_TOO_LARGE:
        return "a request body may have at most 1 MiB";
    case PROBLEM_INTERNAL:
        return "the request could not be handled";
    case PROBLEM_VALIDATION:
    case PROBLEM_UNAUTHORIZED:
    case PROBLEM_METHOD_NOT_ALLOWED:
    case PROBLEM_RATE_LIMITED:
    case PROBLEM_UNAVAILABLE:
    case PROBLEM_COUNT:
        break;
    }
    return "the request is not well-formed HTTP";
}

/* Sends our body in place of the one that came. */
static void foreign_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count, h2o_send_state_t state)
{
    struct foreign_stream *foreign = (struct foreign_stream *)self;
    (void)bufs;
    if (req->version < 0x200) {
        h2o_ostream_send_next(self, req, count > 0 ? &foreign->body : NULL, count > 0 ? 1 : 0, state);
        return;
    }
    struct st_h2o_http2_conn_t *conn = (struct st_h2o_http2_conn_t *)req->conn;
    struct h2_table *table = &connection_h2_client(connection_of(req))->table;
    const struct h2_block block = h2_table_begin(conn, table);
    h2o_ostream_send_next(self, req, count > 0 ? &foreign->body : NULL, count > 0 ? 1 : 0, state);
    (void)h2_table_end(conn, table, &block);
}

/*
 * What could be read passes the gate before anything else is told: without a key only that, and who has one is told the
 * limit.
 */
static enum problem judge(struct request *request, enum problem problem, const char **message)
{
    *message = message_of(problem);
    const int status = request->req->res.status;
    if ((status != CODE_TOO_LARGE && status != CODE_EXPECTATION) || request_is_public(request))
        return problem;
    enum problem verdict = request_judge_key(request, message);
    if (verdict == PROBLEM_COUNT)
        return problem;
    request->req->res.status = problem_code(verdict);
    request->req->res.reason = problem_reason(verdict);
    return verdict;
}

static void on_setup(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    (void)self;
    struct text text;
    const char *message;
    struct request *request = request_create(req);
    /* No handler saw it, so it is counted here; it is disposed of like all others. */
    struct connection *connection = connection_of(req);
    connection_begin(connection);
    if (req->version < 0x200 && !req->http1_is_persistent)
        connection_linger(connection);

    req->res.headers.size = 0;
    enum problem problem = judge(request, problem_of(req->res.status), &message);
    text_init(&text, h2o_mem_alloc_pool(&req->pool, FOREIGN_JSON_LEN_MAX), FOREIGN_JSON_LEN_MAX);
    encode_error(&text, problem_word(problem), message, request->trace_id, NULL);
    pm_assert(!text.overflowed);
    req->res.content_length = text.len;
    request_add_usual_headers(request, "application/json", NULL);
    visits_add(&request->loop->visits, route_index(NULL), request->method, req->res.status);

    struct foreign_stream *foreign = (struct foreign_stream *)h2o_add_ostream(req, sizeof *foreign, slot);
    foreign->stream.do_send = foreign_send;
    foreign->body = h2o_iovec_init(text.bytes, text.len);
    h2o_setup_next_ostream(req, &foreign->stream.next);
}

void foreign_register(h2o_hostconf_t *host)
{
    h2o_filter_t *filter = h2o_create_filter(&host->fallback_path, sizeof *filter);
    filter->on_setup_ostream = on_setup;
}
