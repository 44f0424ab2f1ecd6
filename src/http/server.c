#include "server.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"
#include "clock.h"
#include "foreign.h"
#include "gate.h"
#include "listen.h"
#include "log.h"
#include "loop.h"
#include "request.h"

enum {
    CONNECTIONS_MAX = 10000,
    DESCRIPTORS_RESERVED = 256, /* for everything in the process that is no HTTP connection */
    H1_TIMEOUT_MS = 30000,      /* head and body of one request, and the pause before it */
    H2_IDLE_MS = 60000,
    HANDSHAKE_MS = 10000,
    STREAMS_MAX = 100,
};
#define STUCK_US 500000LL /* beyond the deadline: the loop does not come back from libh2o */

struct server {
    struct shared shared;
    struct loop *loops;
    size_t loop_count;
    uint16_t port;
    bool is_stuck; /* a loop did not end */
};

/* Running out of descriptors would make the loops spin on accept, so the limit is below the process' own. */
static uint32_t connections_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= CONNECTIONS_MAX + DESCRIPTORS_RESERVED)
        return CONNECTIONS_MAX;
    return limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? (uint32_t)limit.rlim_cur - DESCRIPTORS_RESERVED
                                                     : (uint32_t)limit.rlim_cur / 2;
}

static void configure(h2o_globalconf_t *config)
{
    h2o_config_init(config);
    config->server_name = (h2o_iovec_t){NULL, 0};
    /* Exact by declared length. Without one, in chunks, libh2o counts a byte early and refuses at the limit already. */
    config->max_request_entity_size = REQUEST_BODY_LEN_MAX;
    config->handshake_timeout = HANDSHAKE_MS;
    config->http1.req_timeout = H1_TIMEOUT_MS;
    config->http1.upgrade_to_http2 = 1;
    config->http2.idle_timeout = H2_IDLE_MS;
    config->http2.max_concurrent_requests_per_connection = STREAMS_MAX;
    h2o_hostconf_t *host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_logger(path, sizeof(h2o_logger_t))->log_access = on_request_disposed;
    h2o_create_logger(&host->fallback_path, sizeof(h2o_logger_t))->log_access = on_request_disposed;
    foreign_register(host);
}

static enum status open_gate(struct shared *shared)
{
    shared->gate = gate_create(shared->settings.rate_limit_enabled);
    for (size_t i = 0; i < shared->settings.key_count; i++) {
        const struct api_key *key = &shared->settings.keys[i];
        enum status status = gate_add_key(shared->gate, key->text, key->limit_per_minute);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status open_loops(struct server *server)
{
    const struct server_settings *settings = &server->shared.settings;
    size_t count = settings->thread_count;
    int *fds = calloc(count, sizeof *fds);
    pm_assert(fds != NULL);
    server->port = settings->port;
    enum status status = listen_open(settings->host, &server->port, fds, count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        status = loop_init(&server->loops[i], &server->shared, fds[i],
                           settings->history == NULL ? NULL : &settings->history[i]);
        if (status == STATUS_OK)
            server->loop_count++;
    }
    free(fds);
    return status;
}

enum status server_create(const struct server_settings *settings, struct board *board, struct directory *directory,
                          struct server **out)
{
    *out = NULL;
    if (settings->thread_count == 0)
        return STATUS_INVALID;
    struct server *server = calloc(1, sizeof *server);
    pm_assert(server != NULL);
    server->shared.settings = *settings;
    server->shared.board = board;
    server->shared.directory = directory;
    server->shared.connections_max = connections_max();
    server->loops = calloc(settings->thread_count, sizeof *server->loops);
    pm_assert(server->loops != NULL);
    configure(&server->shared.config);
    enum status status = open_gate(&server->shared);
    if (status == STATUS_OK && settings->tls_cert != NULL)
        status = listen_tls(settings->tls_cert, settings->tls_key, &server->shared.tls);
    if (status == STATUS_OK)
        status = open_loops(server);
    if (status != STATUS_OK) {
        server_destroy(server);
        return status;
    }
    *out = server;
    return STATUS_OK;
}

enum status server_start(struct server *server)
{
    for (size_t i = 0; i < server->loop_count; i++) {
        enum status status = loop_start(&server->loops[i]);
        if (status != STATUS_OK) {
            server_stop(server, 0);
            return status;
        }
    }
    LOG_EVENT(LOG_LEVEL_INFO, "http_listening", NULL, log_text("host", server->shared.settings.host),
              log_int("port", server->port), log_int("threads", (int64_t)server->loop_count),
              log_bool("tls", server->shared.tls != NULL));
    return STATUS_OK;
}

void server_stop(struct server *server, int deadline_ms)
{
    int64_t stop_by_us = clock_steady_us() + (int64_t)deadline_ms * 1000;
    atomic_store(&server->shared.stop_by_us, stop_by_us);
    atomic_store(&server->shared.stopping, true);
    for (size_t i = 0; i < server->loop_count; i++)
        loop_wake(&server->loops[i]);
    for (size_t i = 0; i < server->loop_count; i++)
        if (!loop_join(&server->loops[i], stop_by_us + STUCK_US))
            server->is_stuck = true;
}

void server_destroy(struct server *server)
{
    if (server == NULL)
        return;
    if (server->is_stuck)
        return;
    bool is_empty = atomic_load(&server->shared.connections) == 0;
    for (size_t i = 0; i < server->loop_count; i++)
        loop_finish(&server->loops[i]);
    /* A connection that outlived its loop still points into all this; nothing runs any more that could use it. */
    if (!is_empty)
        return;
    h2o_config_dispose(&server->shared.config);
    SSL_CTX_free(server->shared.tls);
    gate_destroy(server->shared.gate);
    free(server->loops);
    free(server);
}

uint16_t server_port(const struct server *server)
{
    return server->port;
}

static uint64_t count_of(const struct server *server, size_t route, enum http_method method, size_t slot)
{
    uint64_t count = 0;
    for (size_t i = 0; i < server->loop_count; i++)
        count += visits_read(&server->loops[i].visits, route, method, slot);
    return count;
}

void server_count_visit(const struct server *server, server_visit_fn *visit, void *context)
{
    for (size_t route = 0; route <= ROUTE_COUNT; route++) {
        for (int method = 0; method < METHOD_COUNT; method++) {
            for (size_t slot = 0; slot < VISIT_CODES; slot++) {
                struct server_visit series = {.route = route_label(route),
                                              .method = http_method_word((enum http_method)method),
                                              .code = visits_code(slot),
                                              .count = count_of(server, route, (enum http_method)method, slot)};
                bool is_usual = route < ROUTE_COUNT && method == METHOD_GET && series.code == 200;
                if (series.count > 0 || is_usual)
                    visit(context, &series);
            }
        }
    }
}

void server_read(const struct server *server, struct server_reading *out)
{
    *out = (struct server_reading){.connections = (uint32_t)atomic_load(&server->shared.connections),
                                   .oldest_turn_us = INT64_MAX};
    for (size_t i = 0; i < server->loop_count; i++) {
        out->portfolio_hits += atomic_load_explicit(&server->loops[i].portfolio_hits, memory_order_relaxed);
        out->portfolio_misses += atomic_load_explicit(&server->loops[i].portfolio_misses, memory_order_relaxed);
        int64_t turned_at_us = atomic_load_explicit(&server->loops[i].turned_at_us, memory_order_relaxed);
        if (turned_at_us < out->oldest_turn_us)
            out->oldest_turn_us = turned_at_us;
    }
}
