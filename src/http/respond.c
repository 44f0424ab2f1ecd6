/* request.h: how answers are sent. */
#include "request.h"

#include <string.h>

#include "check.h"
#include "encode.h"
#include "guard.h"
#include "h2_fields.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"

enum {
    ERROR_JSON_LEN_MAX = 768,
    NUMBER_LEN_MAX = 24,
};

static const struct {
    int code;
    const char *word;
    const char *reason;
} PROBLEMS[PROBLEM_COUNT] = {
    [PROBLEM_VALIDATION] = {400, "VALIDATION_ERROR", "Bad Request"},
    [PROBLEM_UNAUTHORIZED] = {401, "UNAUTHORIZED", "Unauthorized"},
    [PROBLEM_NOT_FOUND] = {404, "NOT_FOUND", "Not Found"},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, "METHOD_NOT_ALLOWED", "Method Not Allowed"},
    [PROBLEM_TOO_LARGE] = {413, "PAYLOAD_TOO_LARGE", "Payload Too Large"},
    [PROBLEM_RATE_LIMITED] = {429, "RATE_LIMITED", "Too Many Requests"},
    [PROBLEM_INTERNAL] = {500, "INTERNAL", "Internal Server Error"},
    [PROBLEM_UNAVAILABLE] = {503, "UNAVAILABLE", "Service Unavailable"},
};

/* The answer is final from the start, so nothing has to be asked for more and nothing is stopped. libh2o only reads
 * this. */
static h2o_generator_t whole_answer;

int problem_code(enum problem problem)
{
    return PROBLEMS[problem].code;
}

const char *problem_word(enum problem problem)
{
    return PROBLEMS[problem].word;
}

const char *problem_reason(enum problem problem)
{
    return PROBLEMS[problem].reason;
}

void *request_alloc(struct request *request, size_t size)
{
    return h2o_mem_alloc_pool(&request->req->pool, size);
}

/* name: in lower case, and it is not looked up. value: lives as long as the request. */
static void add_header(struct request *request, h2o_iovec_t name, h2o_iovec_t value)
{
    h2o_req_t *req = request->req;
    h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 0, NULL, value.base, value.len);
}

static h2o_iovec_t number_text(struct request *request, uint32_t value)
{
    struct text text;
    text_init(&text, request_alloc(request, NUMBER_LEN_MAX), NUMBER_LEN_MAX);
    text_int(&text, value);
    return h2o_iovec_init(text.bytes, text.len);
}

void request_add_header(struct request *request, const char *name, const char *value)
{
    h2o_req_t *req = request->req;
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, value, strlen(value));
}

void request_add_retry_after(struct request *request, uint32_t seconds)
{
    add_header(request, h2o_iovec_init(H2O_STRLIT("retry-after")), number_text(request, seconds));
}

/* fields: NULL: to those of the answer. */
static void add_usual(struct request *request, struct h2_fields *fields, h2o_iovec_t name, h2o_iovec_t value,
                      bool is_changing)
{
    if (fields != NULL)
        h2_fields_add(fields, name, value, is_changing);
    else
        add_header(request, name, value);
}

void request_add_usual_headers(struct request *request, const char *content_type, struct h2_fields *fields)
{
    add_usual(request, fields, H2O_TOKEN_CONTENT_TYPE->buf, h2o_iovec_init(content_type, strlen(content_type)), false);
    add_usual(request, fields, H2O_TOKEN_CACHE_CONTROL->buf, h2o_iovec_init(H2O_STRLIT("no-store")), false);
    add_usual(request, fields, h2o_iovec_init(H2O_STRLIT("x-trace-id")),
              h2o_iovec_init(request->trace_id, strlen(request->trace_id)), true);
    if (!request->has_key)
        return;
    const struct gate_verdict *verdict = &request->verdict;
    const bool is_limited = request->loop->shared->settings.rate_limit_enabled;
    add_usual(request, fields, h2o_iovec_init(H2O_STRLIT("ratelimit-limit")), number_text(request, verdict->limit),
              false);
    add_usual(request, fields, h2o_iovec_init(H2O_STRLIT("ratelimit-remaining")),
              number_text(request, verdict->remaining), is_limited);
    add_usual(request, fields, h2o_iovec_init(H2O_STRLIT("ratelimit-reset")), number_text(request, verdict->reset_s),
              is_limited);
}

static void request_account(struct request *request, int code)
{
    int64_t took_us = loop_now_us(request->loop) - request->steady_us;
    visits_add(&request->loop->visits, route_index(request->route), request->method, code);
    histogram_observe(HISTOGRAM_HTTP_SECONDS, took_us < 0 ? 0 : (uint64_t)took_us);
    /* Lines that somebody will look for. All of them would be many, and most say nothing. */
    bool is_wanted = request->is_traced || request->method == METHOD_POST;
    LOG_EVENT(is_wanted ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "http_request", request->trace_id,
              log_text("method", http_method_word(request->method)),
              log_text("route", route_label(route_index(request->route))), log_int("code", code),
              log_int("microseconds", took_us));
}

static const char *reason_of(int code)
{
    if (code == 201)
        return "Created";
    for (size_t i = 0; i < PROBLEM_COUNT; i++)
        if (PROBLEMS[i].code == code)
            return PROBLEMS[i].reason;
    return "OK";
}

static void request_finish(struct request *request, int code, const char *content_type, const char *body, size_t len)
{
    h2o_req_t *req = request->req;
    bool is_http2 = req->version >= 0x200;
    struct h2_fields fields;
    request_account(request, code);
    req->res.status = code;
    req->res.reason = reason_of(code);
    req->res.content_length = len;
    req->res.mime_attr = &h2o_mime_attributes_as_is;
    h2_fields_init(&fields);
    request_add_usual_headers(request, content_type, is_http2 ? &fields : NULL);
    h2o_iovec_t bytes = h2o_iovec_init(body, len);
    size_t count = request->method != METHOD_HEAD && len > 0 ? 1 : 0;
    if (is_http2) {
        h2_fields_send(req, &whole_answer, &bytes, count, &fields, connection_h2_client(connection_of(req)));
    } else {
        h2o_start_response(req, &whole_answer);
        h2o_send(req, &bytes, count, H2O_SEND_STATE_FINAL);
    }
}

void request_send(struct request *request, int code, const char *content_type, const char *body, size_t len)
{
    (void)loop_look_at_clock(request->loop);
    request_finish(request, code, content_type, body, len);
}

void request_send_json(struct request *request, int code, const char *body, size_t len)
{
    request_send(request, code, "application/json", body, len);
}

void request_send_body(struct request *request, int code, const char *content_type, const struct body *body)
{
    if (body->failed) {
        request_fail(request, PROBLEM_INTERNAL, "the answer could not be made");
        return;
    }
    char *copy = request_alloc(request, body->len);
    memcpy(copy, body->bytes, body->len);
    request_send(request, code, content_type, copy, body->len);
}

void request_send_kept(struct request *request, const struct kept_body *kept)
{
    /* To hand out what is there takes less than the clock can tell; only its rendering may have taken long. */
    if (kept->rendered_us == request->steady_us)
        (void)loop_look_at_clock(request->loop);
    h2o_mem_link_shared(&request->req->pool, kept->bytes);
    request_finish(request, 200, "application/json", kept->bytes, kept->len);
}

void request_fail(struct request *request, enum problem problem, const char *message)
{
    struct text text;
    text_init(&text, request_alloc(request, ERROR_JSON_LEN_MAX), ERROR_JSON_LEN_MAX);
    encode_error(&text, problem_word(problem), message, request->trace_id, NULL);
    pm_assert(!text.overflowed);
    request_send_json(request, problem_code(problem), text.bytes, text.len);
}
