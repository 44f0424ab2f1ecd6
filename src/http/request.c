/*
 * The order in which a request is judged: connection limits, length said once, header limit, gate (unless the path is
 * public), size of the body, path, method, whether positions are loaded, and only then the route's own answer. Without
 * a key nobody learns which paths there are.
 */
#include "request.h"

#include <string.h>
#include <strings.h>

#include "encode.h"
#include "guard.h"
#include "h2_frames.h"
#include "head.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"

enum { UNAVAILABLE_RETRY_S = 1 };

/* Blanks around a field's value are none of it (RFC 9110 §5.5); libh2o leaves those behind it. */
static h2o_iovec_t without_blanks(h2o_iovec_t value)
{
    return value.base == NULL ? value : h2o_str_stripws(value.base, value.len);
}

/* Returns whether the client gave a sane one; else a new one is made. */
static bool read_trace(const h2o_headers_t *headers, char out[TRACE_ID_LEN_MAX + 1])
{
    h2o_iovec_t trace = {NULL, 0};
    h2o_iovec_t parent = {NULL, 0};
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_iovec_t *name = headers->entries[i].name;
        if (trace.base == NULL && h2o_memis(name->base, name->len, H2O_STRLIT("x-trace-id")))
            trace = headers->entries[i].value;
        else if (parent.base == NULL && h2o_memis(name->base, name->len, H2O_STRLIT("traceparent")))
            parent = headers->entries[i].value;
    }
    trace = without_blanks(trace);
    parent = without_blanks(parent);
    if (trace.base != NULL && trace_id_is_sane(trace.base, trace.len)) {
        memcpy(out, trace.base, trace.len);
        out[trace.len] = '\0';
        return true;
    }
    if (parent.base != NULL && trace_from_parent(parent.base, parent.len, out))
        return true;
    trace_generate(out);
    return false;
}

static void request_read_headers(struct request *request)
{
    const h2o_headers_t *headers = &request->req->headers;
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_iovec_t *name = headers->entries[i].name;
        h2o_iovec_t value = headers->entries[i].value;
        if (name == &H2O_TOKEN_ACCEPT->buf)
            request->accept = value;
        else if (request->key.base == NULL && h2o_memis(name->base, name->len, H2O_STRLIT("x-api-key")))
            request->key = without_blanks(value);
    }
    request->is_traced = read_trace(headers, request->trace_id);
}

/* A target in the form that is meant for proxies, http://host/path, asks for its path (RFC 9112 §3.2.2). */
static void strip_authority(h2o_req_t *req)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i]);
        if (req->path.len < len || strncasecmp(req->path.base, schemes[i], len) != 0)
            continue;
        while (len < req->path.len && req->path.base[len] != '/' && req->path.base[len] != '?')
            len++;
        h2o_iovec_t rest = h2o_iovec_init(req->path.base + len, req->path.len - len);
        bool has_path = rest.len > 0 && rest.base[0] == '/';
        req->path = has_path ? rest : h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("/")), rest);
        req->path_normalized =
            h2o_url_normalize_path(&req->pool, req->path.base, req->path.len, &req->query_at, &req->norm_indexes);
        return;
    }
}

/* An encoded slash is part of a name and separates nothing; no name here has one. */
static bool has_encoded_slash(const h2o_req_t *req)
{
    size_t len = req->query_at < req->path.len ? req->query_at : req->path.len;
    for (size_t i = 0; req->norm_indexes != NULL && i + 2 < len; i++)
        if (req->path.base[i] == '%' && req->path.base[i + 1] == '2' && (req->path.base[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

struct request *request_create(h2o_req_t *req)
{
    if (req->path.len == 0 || req->path.base[0] != '/')
        strip_authority(req);
    struct request *request = h2o_mem_alloc_pool(&req->pool, sizeof *request);
    memset(request, 0, sizeof *request);
    request->req = req;
    request->loop = loop_of(req->conn->ctx);
    request->steady_us = loop_now_us(request->loop);
    request->method = http_method_parse(req->method.base, req->method.len);
    if (!has_encoded_slash(req))
        request->route =
            route_find(req->path_normalized.base, req->path_normalized.len, &request->asset, &request->asset_len);
    request_read_headers(request);
    return request;
}

enum problem request_judge_key(struct request *request, const char **message)
{
    struct gate *gate = request->loop->shared->gate;
    int key = request->key.base == NULL ? -1 : gate_find_key(gate, request->key.base, request->key.len);
    if (key < 0) {
        metric_add(METRIC_HTTP_UNAUTHORIZED, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "request_unauthorized", request->trace_id,
                  log_text("route", route_label(route_index(request->route))),
                  log_bool("key_given", request->key.base != NULL));
        request_add_header(request, "www-authenticate", "ApiKey realm=\"position-manager\"");
        *message = "a valid API key is needed in the header X-API-Key";
        return PROBLEM_UNAUTHORIZED;
    }
    request->has_key = true;
    request->verdict = gate_take(gate, key, request->steady_us);
    if (request->verdict.allowed)
        return PROBLEM_COUNT;
    metric_add(METRIC_HTTP_RATE_LIMITED, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "request_rate_limited", request->trace_id,
              log_text("route", route_label(route_index(request->route))),
              log_int("limit_per_minute", request->verdict.limit));
    request_add_retry_after(request, request->verdict.retry_after_s);
    *message = "more requests than this key's limit allows; see Retry-After";
    return PROBLEM_RATE_LIMITED;
}

bool request_is_public(const struct request *request)
{
    return route_is_public(request->route, request->req->path_normalized.base, request->req->path_normalized.len);
}

static bool pass_key(struct request *request)
{
    const char *message;
    enum problem problem = request_judge_key(request, &message);
    if (problem != PROBLEM_COUNT)
        request_fail(request, problem, message);
    return problem == PROBLEM_COUNT;
}

/* libh2o keeps what the client sent until the answer is through; it begins with the head. */
static bool has_two_lengths(const h2o_req_t *req)
{
    if (req->version >= 0x200 || req->entity.base == NULL)
        return false;
    const h2o_buffer_t *input = req->conn->callbacks->get_socket(req->conn)->input;
    return head_says_length_twice(input->bytes, input->size);
}

static bool pass_form(struct request *request)
{
    h2o_req_t *req = request->req;
    if (has_two_lengths(req)) {
        req->http1_is_persistent = 0;
        request_fail(request, PROBLEM_VALIDATION, "the length of the body may be said only once");
        return false;
    }
    if (req->headers.size > GUARD_HEADERS_MAX) {
        req->http1_is_persistent = 0;
        request_fail(request, PROBLEM_VALIDATION, "more than 64 header fields");
        return false;
    }
    if (!request_is_public(request) && !pass_key(request))
        return false;
    if (req->entity.len > REQUEST_BODY_LEN_MAX) {
        request_fail(request, PROBLEM_TOO_LARGE, "a request body may have at most 1 MiB");
        return false;
    }
    return true;
}

static route_answer_fn *find_answer(struct request *request)
{
    const struct route *route = request->route;
    if (route == NULL) {
        request_fail(request, PROBLEM_NOT_FOUND, "there is nothing at this path; see /openapi.json");
        return NULL;
    }
    route_answer_fn *answer = NULL;
    if (request->method == METHOD_GET || request->method == METHOD_HEAD)
        answer = route->get;
    else if (request->method == METHOD_POST)
        answer = route->post;
    if (answer == NULL) {
        request_add_header(request, "allow", route_allow(route));
        request_fail(request, PROBLEM_METHOD_NOT_ALLOWED, "this path does not know this method; see Allow");
        return NULL;
    }
    if (route->needs_positions && !atomic_load(&request->loop->shared->board->positions_loaded)) {
        request_add_retry_after(request, UNAVAILABLE_RETRY_S);
        request_fail(request, PROBLEM_UNAVAILABLE, "positions are not loaded yet");
        return NULL;
    }
    return answer;
}

int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    frames_watch_request(req);
    if (!connection_begin(connection_of(req))) {
        req->http1_is_persistent = 0;
        req->res.status = 503;
        h2o_send_inline(req, NULL, 0);
        return 0;
    }
    /* A bomb of tiny HTTP/2 header fields costs 70 times its size a stream: the connection goes before more come. */
    if (req->headers.size > GUARD_HEADERS_MAX && req->version >= 0x200)
        connection_refuse(connection_of(req), "too many header fields");
    struct request *request = request_create(req);
    if (!pass_form(request))
        return 0;
    route_answer_fn *answer = find_answer(request);
    if (answer != NULL)
        answer(request);
    return 0;
}

void on_request_disposed(h2o_logger_t *logger, h2o_req_t *req)
{
    (void)logger;
    bool is_answered = req->res.status != 0;
    bool has_body =
        req->res.content_length != SIZE_MAX && !h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    connection_end(connection_of(req), !is_answered || (has_body && req->bytes_sent < req->res.content_length));
}

bool request_query(struct request *request, const char *name, struct query_value *out)
{
    const h2o_req_t *req = request->req;
    const char *query = NULL;
    size_t len = 0;
    if (req->query_at != SIZE_MAX && req->query_at < req->path.len) {
        query = req->path.base + req->query_at + 1;
        len = req->path.len - req->query_at - 1;
    }
    if (query_find(query, len, name, out) == STATUS_OK)
        return true;
    struct text message;
    text_init(&message, request_alloc(request, 128), 128);
    text_raw(&message, name, strlen(name));
    TEXT_LITERAL(&message, " must stand once, percent-encoded UTF-8 of at most 256 bytes");
    text_char(&message, '\0');
    request_fail(request, PROBLEM_VALIDATION, message.bytes);
    return false;
}

bool request_query_asset(struct request *request, char out[ASSET_LEN_MAX + 1])
{
    struct query_value value;
    out[0] = '\0';
    if (!request_query(request, "asset", &value))
        return false;
    if (!value.present || asset_parse(request->loop->shared->settings.assets, value.text, value.len, out) == STATUS_OK)
        return true;
    request_fail(request, PROBLEM_VALIDATION, "asset must be the name of a trading pair, such as BTCUSDT");
    return false;
}

bool request_query_mode(struct request *request, enum position_mode *out, bool *is_given)
{
    struct query_value value;
    if (!request_query(request, "mode", &value))
        return false;
    *is_given = value.present;
    if (!value.present || position_mode_parse(value.text, value.len, out) == STATUS_OK)
        return true;
    request_fail(request, PROBLEM_VALIDATION, "mode must be one-way or hedge");
    return false;
}

static void request_fail_value(struct request *request, const char *name, const char *rule)
{
    struct text message;
    text_init(&message, request_alloc(request, 192), 192);
    text_raw(&message, name, strlen(name));
    text_raw(&message, rule, strlen(rule));
    text_char(&message, '\0');
    request_fail(request, PROBLEM_VALIDATION, message.bytes);
}

bool request_query_bool(struct request *request, const char *name, bool *out)
{
    struct query_value value;
    if (!request_query(request, name, &value))
        return false;
    if (query_bool(&value, out) == STATUS_OK)
        return true;
    request_fail_value(request, name, " must be true or false (also 1/0, yes/no, on/off)");
    return false;
}

bool request_query_decimal(struct request *request, const char *name, struct decimal *out)
{
    struct query_value value;
    if (!request_query(request, name, &value))
        return false;
    if (query_decimal(&value, out) == STATUS_OK)
        return true;
    request_fail_value(request, name,
                       " must be a plain decimal such as -1.5, with at most 8 fractional and 12 whole digits");
    return false;
}

bool request_query_integer(struct request *request, const char *name, const struct query_range *range, uint32_t *out)
{
    struct query_value value;
    if (!request_query(request, name, &value))
        return false;
    if (query_integer(&value, range, out) == STATUS_OK)
        return true;
    struct text rule;
    text_init(&rule, request_alloc(request, 64), 64);
    TEXT_LITERAL(&rule, " must be a whole number from ");
    text_int(&rule, range->min);
    TEXT_LITERAL(&rule, " to ");
    text_int(&rule, range->max);
    text_char(&rule, '\0');
    request_fail_value(request, name, rule.bytes);
    return false;
}

bool request_query_time(struct request *request, const char *name, int64_t *out_us)
{
    struct query_value value;
    if (!request_query(request, name, &value))
        return false;
    if (query_time(&value, out_us) == STATUS_OK)
        return true;
    request_fail_value(request, name,
                       " must be a time such as 2025-01-15T10:00:00Z, or milliseconds since 1970 as digits");
    return false;
}
