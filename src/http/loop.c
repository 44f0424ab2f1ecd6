/*
 * A loop accepts, lets libh2o read and answer, and once a second cuts off whoever broke a limit.
 *
 * Stopping: accept what waits, close the listener, let libh2o say that connections end (Connection: close, GOAWAY),
 * answer what is under way, after a grace close connections that have nothing under way, and end at the latest at the
 * deadline. libh2o's own memory is only given back where no connection is left: it cannot free live ones safely.
 */
#define _GNU_SOURCE

#include "loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <h2o/http1.h>

#include "check.h"
#include "clock.h"
#include "h2_frames.h"
#include "log.h"
#include "metrics.h"
#include "tsan.h"

enum {
    ACCEPTS_A_TURN = 32,
    TURN_MS = 500, /* the longest wait, so that the sweep is not late */
    DRAIN_TURN_MS = 20,
    USER_TIMEOUT_MS =
        45000, /* unconfirmed bytes: the peer is gone. Who only does not read is cut off before, and told */
};
#define SWEEP_US       1000000LL
#define DRAIN_GRACE_US 300000LL

static bool has_room(const struct loop *loop)
{
    return atomic_load_explicit(&loop->shared->connections, memory_order_relaxed) < loop->shared->connections_max;
}

/* Whose connection begins with the preface of HTTP/2 is watched from its first frame on. */
static void on_first_bytes(h2o_socket_t *socket, const char *error)
{
    struct loop *loop = socket->data;
    if (error != NULL) {
        h2o_socket_close(socket);
        return;
    }
    enum preface preface = preface_look(socket->input->bytes, socket->input->size);
    if (preface == PREFACE_UNSURE)
        return;
    connection_hand_over(socket->on_close.data);
    if (preface == PREFACE_HTTP2)
        frames_accept(&loop->accept, socket);
    else
        h2o_http1_accept(&loop->accept, socket, *h2o_get_timestamp(&loop->context, NULL, NULL));
}

static void loop_take(struct loop *loop, h2o_socket_t *socket)
{
    int timeout_ms = USER_TIMEOUT_MS;
    if (!has_room(loop) && !guard_make_room(&loop->guard)) {
        metric_add(METRIC_HTTP_CONNECTIONS_REFUSED, 1);
        LOG_EVENT(LOG_LEVEL_WARNING, "http_connection_refused", NULL,
                  log_int("connections_max", loop->shared->connections_max));
        h2o_socket_close(socket);
        return;
    }
    (void)setsockopt(h2o_socket_get_fd(socket), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    guard_watch(&loop->guard, socket);
    if (loop->accept.ssl_ctx != NULL) {
        connection_hand_over(socket->on_close.data);
        h2o_accept(&loop->accept, socket);
        return;
    }
    socket->data = loop;
    h2o_socket_read_start(socket, on_first_bytes);
}

static void loop_accept(struct loop *loop, int count_max)
{
    for (int i = 0; i < count_max; i++) {
        h2o_socket_t *socket = h2o_evloop_socket_accept(loop->listener);
        if (socket == NULL)
            return;
        loop_take(loop, socket);
    }
}

static void on_connection(h2o_socket_t *listener, const char *error)
{
    if (error == NULL)
        loop_accept(listener->data, ACCEPTS_A_TURN);
}

static void on_wake(h2o_socket_t *socket, const char *error)
{
    struct loop *loop = socket->data;
    eventfd_t count;
    (void)error;
    (void)eventfd_read(loop->wake_fd, &count);
}

static void loop_set_up(struct loop *loop)
{
    struct shared *shared = loop->shared;
    log_register_thread("http");
    loop->reader = directory_reader_register(shared->directory);
    loop->evloop = h2o_evloop_create();
    h2o_context_init(&loop->context, loop->evloop, &shared->config);
    guard_init(&loop->guard, &shared->connections);
    loop->guard.now_us = clock_steady_us();
    ahead_start(&loop->ahead, loop->guard.now_us);
    loop->accept = (h2o_accept_ctx_t){.ctx = &loop->context, .hosts = shared->config.hosts, .ssl_ctx = shared->tls};
    loop->listener = h2o_evloop_socket_create(loop->evloop, loop->listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->listener->data = loop;
    h2o_socket_read_start(loop->listener, on_connection);
    loop->wake = h2o_evloop_socket_create(loop->evloop, loop->wake_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->wake->data = loop;
    h2o_socket_read_start(loop->wake, on_wake);
    inquiries_open(&loop->inquiries, loop->evloop);
}

int64_t loop_look_at_clock(struct loop *loop)
{
    loop->clock_us = clock_steady_us();
    return loop->clock_us;
}

int64_t loop_now_us(struct loop *loop)
{
    return loop->clock_us != 0 ? loop->clock_us : loop_look_at_clock(loop);
}

static void loop_turn(struct loop *loop, int wait_ms)
{
    bool is_waiting = inquiries_prepare_wait(&loop->inquiries);
    loop->clock_us = 0;
    /* A signal, a debugger or SIGCONT interrupts the wait: that is no reason to end. */
    if (h2o_evloop_run(loop->evloop, wait_ms) != 0 && errno != EINTR)
        LOG_EVENT(LOG_LEVEL_ERROR, "http_loop_failed", NULL, log_int("errno", errno));
    if (is_waiting)
        inquiries_finish_wait(&loop->inquiries);
    frames_watch_new(&loop->context);
    loop->guard.now_us = clock_steady_us();
    ahead_turn(&loop->ahead, loop->guard.now_us);
    atomic_store_explicit(&loop->turned_at_us, loop->guard.now_us, memory_order_relaxed);
}

static void loop_serve(struct loop *loop)
{
    int64_t sweep_at_us = loop->guard.now_us + SWEEP_US;
    while (!atomic_load(&loop->shared->stopping)) {
        loop_turn(loop, TURN_MS);
        if (loop->guard.now_us >= sweep_at_us) {
            frames_sweep(&loop->context);
            guard_sweep(&loop->guard, loop->guard.now_us);
            inquiries_sweep(&loop->inquiries, loop->guard.now_us);
            sweep_at_us = loop->guard.now_us + SWEEP_US;
        }
    }
}

static void loop_drain(struct loop *loop)
{
    int64_t stop_by_us = atomic_load(&loop->shared->stop_by_us);
    int64_t idle_close_us = loop->guard.now_us + DRAIN_GRACE_US;
    loop_accept(loop, INT32_MAX);
    h2o_socket_close(loop->listener);
    h2o_context_request_shutdown(&loop->context);
    /*
     * The timer of libh2o's second GOAWAY: after that frame it drops bodies still being uploaded, and a CONTINUATION
     * frame makes it spin for ever. The first one tells clients enough; idle connections are closed below.
     */
    h2o_timeout_unlink(&loop->context.http2._graceful_shutdown_timeout);
    /* Questions whose clients are gone are waited for too: their answers need the loop's mailbox. */
    while ((loop->guard.count > 0 || loop->inquiries.outstanding > 0) && loop->guard.now_us < stop_by_us) {
        loop_turn(loop, DRAIN_TURN_MS);
        if (loop->guard.now_us >= idle_close_us)
            guard_close_idle(&loop->guard);
    }
    if (loop->guard.count > 0 || loop->inquiries.outstanding > 0)
        LOG_EVENT(LOG_LEVEL_WARNING, "http_drain_incomplete", NULL, log_int("connections", (int64_t)loop->guard.count),
                  log_int("requests", (int64_t)loop->guard.in_flight),
                  log_int("questions", (int64_t)loop->inquiries.outstanding));
}

static void loop_tear_down(struct loop *loop)
{
    for (size_t i = 0; i < KEPT_COUNT; i++)
        kept_body_finish(&loop->kept[i]);
    for (size_t i = 0; i < KEPT_POSITION_PLACES; i++)
        kept_body_finish(&loop->kept_positions[i].body);
    directory_reader_unregister(loop->reader);
    if (loop->guard.count > 0)
        return;
    h2o_socket_close(loop->wake);
    inquiries_close(&loop->inquiries);
    h2o_context_dispose(&loop->context);
    h2o_evloop_destroy(loop->evloop);
}

/* A client that is gone must not be a signal that ends the process; writing to it fails with EPIPE then. */
static void block_pipe_signal(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static void *loop_run(void *argument)
{
    struct loop *loop = argument;
    block_pipe_signal();
    loop_set_up(loop);
    loop_serve(loop);
    loop_drain(loop);
    loop_tear_down(loop);
    TSAN_RELEASE(loop); /* pairs with TSAN_ACQUIRE in loop_join(): ThreadSanitizer does not know the join used there */
    return NULL;
}

enum status loop_init(struct loop *loop, struct shared *shared, int listen_fd, const struct outlet *history)
{
    memset(loop, 0, sizeof *loop);
    loop->shared = shared;
    atomic_init(&loop->turned_at_us, clock_steady_us());
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return STATUS_UNAVAILABLE;
    if (inquiries_init(&loop->inquiries, history) != STATUS_OK) {
        close(loop->wake_fd);
        return STATUS_UNAVAILABLE;
    }
    loop->listen_fd = listen_fd;
    return STATUS_OK;
}

enum status loop_start(struct loop *loop)
{
    if (pthread_create(&loop->thread, NULL, loop_run, loop) != 0)
        return STATUS_UNAVAILABLE;
    loop->is_running = true;
    (void)pthread_setname_np(loop->thread, "http");
    return STATUS_OK;
}

void loop_wake(struct loop *loop)
{
    if (loop->is_running)
        (void)eventfd_write(loop->wake_fd, 1);
}

bool loop_join(struct loop *loop, int64_t until_us)
{
    if (!loop->is_running)
        return true;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    if (pthread_clockjoin_np(loop->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
        LOG_EVENT(LOG_LEVEL_ERROR, "http_loop_stuck", NULL,
                  log_int("connections", (int64_t)atomic_load(&loop->shared->connections)));
        return false;
    }
    TSAN_ACQUIRE(loop); /* pairs with TSAN_RELEASE in loop_run() */
    loop->is_running = false;
    /* libh2o's sockets owned the descriptors. */
    loop->listen_fd = loop->wake_fd = -1;
    inquiries_forget(&loop->inquiries);
    return true;
}

void loop_finish(struct loop *loop)
{
    pm_assert(!loop->is_running);
    if (loop->listen_fd >= 0)
        close(loop->listen_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    inquiries_finish(&loop->inquiries);
    body_finish(&loop->body);
    free(loop->seen.items);
}
