/* GET /health, /health/live, /health/ready, /metrics and /openapi.json (contract §2.3, §2.5). None needs a key. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "directory.h"
#include "loop.h"
#include "openapi.h"
#include "request.h"

enum { HEALTH_JSON_LEN_MAX = 1024 };

/* Microseconds as seconds with three fractional digits, a JSON number. */
static void text_seconds(struct text *text, int64_t us)
{
    int64_t ms = us < 0 ? 0 : us / 1000;
    text_int(text, ms / 1000);
    text_char(text, '.');
    text_char(text, (char)('0' + ms / 100 % 10));
    text_char(text, (char)('0' + ms / 10 % 10));
    text_char(text, (char)('0' + ms % 10));
}

static void text_string_member(struct text *text, const char *name, const char *value)
{
    text_raw(text, name, strlen(name));
    text_string(text, value, strlen(value));
}

static void render_health(struct request *request, struct text *text, bool is_healthy, bool database, bool queue)
{
    const struct shared *shared = request->loop->shared;
    int64_t oldest_us = atomic_load(&shared->board->oldest_unacked_at_us);
    text_string_member(text, "{\"status\":", is_healthy ? "healthy" : "unhealthy");
    text_string_member(text, ",\"service\":", shared->settings.service_name);
    text_string_member(text, ",\"version\":", shared->settings.version);
    TEXT_LITERAL(text, ",\"database_connected\":");
    text_bool(text, database);
    TEXT_LITERAL(text, ",\"queue_connected\":");
    text_bool(text, queue);
    TEXT_LITERAL(text, ",\"positions_count\":");
    text_int(text, (int64_t)directory_position_count(shared->directory));
    TEXT_LITERAL(text, ",\"pending_commits\":");
    text_int(text, (int64_t)atomic_load(&shared->board->pending_commits));
    TEXT_LITERAL(text, ",\"oldest_unacked_seconds\":");
    text_seconds(text, oldest_us == 0 ? 0 : request->steady_us - oldest_us);
    TEXT_LITERAL(text, ",\"uptime_seconds\":");
    text_seconds(text, request->steady_us - shared->board->started_steady_us);
    TEXT_LITERAL(text, ",\"timestamp\":");
    text_time(text, clock_wall_us());
    text_char(text, '}');
}

void answer_health(struct request *request)
{
    struct board *board = request->loop->shared->board;
    bool database = atomic_load(&board->database_connected);
    bool queue = board_queue_is_connected(board);
    bool is_healthy = database && queue && atomic_load(&board->positions_loaded);
    struct text text;
    text_init(&text, request_alloc(request, HEALTH_JSON_LEN_MAX), HEALTH_JSON_LEN_MAX);
    render_health(request, &text, is_healthy, database, queue);
    if (text.overflowed)
        request_fail(request, PROBLEM_INTERNAL, "the answer could not be made");
    else
        request_send_json(request, is_healthy ? 200 : 503, text.bytes, text.len);
}

#define SEND_LITERAL(request, code, literal) request_send_json((request), (code), (literal), sizeof(literal) - 1)

/* That this loop answers says nothing of the others, nor of the shards: the watch looks at them. */
void answer_live(struct request *request)
{
    int64_t progress_at_us = atomic_load(&request->loop->shared->board->progress_at_us);
    if (progress_at_us != 0 && request->steady_us - progress_at_us >= BOARD_LIVE_WITHIN_US)
        SEND_LITERAL(request, 503, "{\"status\":\"stuck\"}");
    else
        SEND_LITERAL(request, 200, "{\"status\":\"alive\"}");
}

void answer_ready(struct request *request)
{
    struct board *board = request->loop->shared->board;
    if (atomic_load(&board->stopping))
        SEND_LITERAL(request, 503, "{\"status\":\"stopping\"}");
    else if (!atomic_load(&board->positions_loaded))
        SEND_LITERAL(request, 503, "{\"status\":\"starting\"}");
    else
        SEND_LITERAL(request, 200, "{\"status\":\"ready\"}");
}

enum { Q_FULL = 1000, Q_DIGITS_MAX = 5 }; /* weights in thousandths; "0.123" */

/* A weight such as 0.25, up to a blank or the next parameter; what is none counts in full. */
static int q_parse(const char *text, size_t text_len)
{
    int q = 0, worth = Q_FULL;
    size_t len = 0;
    while (len < text_len && text[len] != ' ' && text[len] != '\t' && text[len] != ';')
        len++;
    for (size_t i = 0; i < len && i < Q_DIGITS_MAX; i++) {
        if (i == 1 && text[i] == '.')
            continue;
        if (text[i] < '0' || text[i] > '9')
            return Q_FULL;
        q += (text[i] - '0') * worth;
        worth /= 10;
    }
    return len == 0 || q > Q_FULL ? Q_FULL : q;
}

/* How much an Accept header wants a type, by its name; 0 where it does not name it. */
static int accept_q(h2o_iovec_t accept, const char *type, size_t type_len)
{
    h2o_iovec_t left = accept;
    int q = 0;
    while (left.len > 0) {
        const char *comma = memchr(left.base, ',', left.len);
        size_t range_len = comma == NULL ? left.len : (size_t)(comma - left.base);
        const char *semicolon = memchr(left.base, ';', range_len);
        h2o_iovec_t name = h2o_str_stripws(left.base, semicolon == NULL ? range_len : (size_t)(semicolon - left.base));
        if (h2o_lcstris(name.base, name.len, type, type_len)) {
            size_t at = h2o_strstr(left.base, range_len, H2O_STRLIT("q="));
            q = at == SIZE_MAX ? Q_FULL : q_parse(left.base + at + 2, range_len - at - 2);
        }
        left = h2o_iovec_init(left.base + range_len + (comma != NULL), left.len - range_len - (comma != NULL));
    }
    return q;
}

/* Prometheus never names JSON; whoever does, and wants text no more, gets the summary. */
static bool wants_json(const struct request *request)
{
    if (request->accept.base == NULL)
        return false;
    int json = accept_q(request->accept, H2O_STRLIT("application/json"));
    return json > 0 && json >= accept_q(request->accept, H2O_STRLIT("text/plain"));
}

void answer_metrics(struct request *request)
{
    const struct server_settings *settings = &request->loop->shared->settings;
    bool is_json = wants_json(request);
    server_render_fn *render = is_json ? settings->render_metrics_json : settings->render_metrics;
    char *rendered = NULL;
    size_t len = render == NULL ? 0 : render(settings->render_context, &rendered);
    if (rendered == NULL) {
        request_fail(request, PROBLEM_UNAVAILABLE, "there are no metrics");
        return;
    }
    char *copy = request_alloc(request, len);
    memcpy(copy, rendered, len);
    free(rendered);
    request_add_header(request, "vary", "accept");
    request_send(request, 200, is_json ? "application/json" : "text/plain; version=0.0.4; charset=utf-8", copy, len);
}

void answer_openapi(struct request *request)
{
    request_send_json(request, 200, (const char *)openapi_json, openapi_json_len);
}
