#include "guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "check.h"
#include "log.h"
#include "metrics.h"

struct connection {
    h2o_linklist_t link;
    struct guard *guard;
    h2o_socket_t *socket;
    int in_flight;
    int resets;
    int64_t completed_us; /* when the last request was completed, or the connection was accepted */
    int64_t moved_us;     /* when bytes were last seen to move */
    size_t written;       /* bytes handed to the kernel, at moved_us */
    int unsent;           /* bytes in the kernel that the client has not confirmed, at moved_us */
    int linger_fd;        /* -1: close as usual */
    bool is_cut;
};

struct lingering {
    h2o_linklist_t link;
    struct guard *guard;
    h2o_socket_t *socket;
    int64_t until_us;
};

void guard_init(struct guard *guard, atomic_uint_fast32_t *total)
{
    *guard = (struct guard){.total = total};
    h2o_linklist_init_anchor(&guard->connections);
    h2o_linklist_init_anchor(&guard->lingering);
}

static void guard_count(struct guard *guard, int change)
{
    if (change > 0) {
        guard->count++;
        atomic_fetch_add_explicit(guard->total, 1, memory_order_relaxed);
    } else {
        pm_assert(guard->count > 0);
        guard->count--;
        atomic_fetch_sub_explicit(guard->total, 1, memory_order_relaxed);
    }
}

/* ---- lingering ---- */

static void lingering_close(struct lingering *lingering)
{
    h2o_linklist_unlink(&lingering->link);
    guard_count(lingering->guard, -1);
    h2o_socket_close(lingering->socket);
    free(lingering);
}

static void on_lingering_read(h2o_socket_t *socket, const char *error)
{
    struct lingering *lingering = socket->data;
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (error != NULL || socket->bytes_read > GUARD_LINGER_BYTES_MAX)
        lingering_close(lingering);
}

static void lingering_start(struct guard *guard, h2o_loop_t *loop, int fd)
{
    struct lingering *lingering = calloc(1, sizeof *lingering);
    if (lingering == NULL) {
        close(fd);
        return;
    }
    shutdown(fd, SHUT_WR);
    lingering->guard = guard;
    lingering->until_us = guard->now_us + GUARD_LINGER_US;
    lingering->socket = h2o_evloop_socket_create(loop, fd, 0);
    lingering->socket->data = lingering;
    h2o_linklist_insert(&guard->lingering, &lingering->link);
    guard_count(guard, +1);
    h2o_socket_read_start(lingering->socket, on_lingering_read);
}

/* ---- connections ---- */

static void on_connection_closed(void *data)
{
    struct connection *connection = data;
    struct guard *guard = connection->guard;
    h2o_linklist_unlink(&connection->link);
    guard_count(guard, -1);
    pm_assert(connection->in_flight == 0);
    if (connection->linger_fd >= 0)
        lingering_start(guard, h2o_socket_get_loop(connection->socket), connection->linger_fd);
    free(connection);
}

void guard_watch(struct guard *guard, h2o_socket_t *socket)
{
    struct connection *connection = calloc(1, sizeof *connection);
    pm_assert(connection != NULL);
    connection->guard = guard;
    connection->socket = socket;
    connection->completed_us = connection->moved_us = guard->now_us;
    connection->linger_fd = -1;
    h2o_linklist_insert(&guard->connections, &connection->link);
    guard_count(guard, +1);
    socket->on_close.cb = on_connection_closed;
    socket->on_close.data = connection;
}

struct connection *connection_of(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void connection_cut(struct connection *connection)
{
    if (connection->is_cut)
        return;
    connection->is_cut = true;
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

static void connection_refuse(struct connection *connection, const char *reason)
{
    if (connection->is_cut)
        return;
    metric_add(METRIC_HTTP_CONNECTIONS_REFUSED, 1);
    LOG_EVENT(LOG_LEVEL_WARNING, "http_connection_cut", NULL, log_text("reason", reason));
    connection_cut(connection);
}

bool connection_begin(struct connection *connection)
{
    if (connection->in_flight++ == 0)
        connection->moved_us = connection->guard->now_us;
    connection->guard->in_flight++;
    if (connection->in_flight > GUARD_IN_FLIGHT_MAX)
        connection_refuse(connection, "too many requests under way");
    return !connection->is_cut;
}

void connection_end(struct connection *connection, bool is_lost)
{
    pm_assert(connection->in_flight > 0);
    connection->in_flight--;
    connection->guard->in_flight--;
    if (is_lost) {
        if (++connection->resets > GUARD_RESETS_MAX)
            connection_refuse(connection, "too many requests reset");
        return;
    }
    connection->completed_us = connection->guard->now_us;
    if (connection->resets > 0)
        connection->resets--;
}

void connection_linger(struct connection *connection)
{
    if (connection->linger_fd < 0)
        connection->linger_fd = fcntl(h2o_socket_get_fd(connection->socket), F_DUPFD_CLOEXEC, 0);
}

static void connection_check(struct connection *connection, int64_t now_us)
{
    if (now_us - connection->completed_us > GUARD_QUIET_US)
        connection_refuse(connection, "no request completed");
    if (connection->in_flight == 0)
        return;
    int unsent = 0;
    if (ioctl(h2o_socket_get_fd(connection->socket), SIOCOUTQ, &unsent) != 0)
        unsent = 0;
    if (connection->written != connection->socket->bytes_written || connection->unsent != unsent) {
        connection->written = connection->socket->bytes_written;
        connection->unsent = unsent;
        connection->moved_us = now_us;
    } else if (now_us - connection->moved_us > GUARD_STALL_US) {
        connection_refuse(connection, "answer not taken");
    }
}

void guard_sweep(struct guard *guard, int64_t now_us)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *link = guard->connections.next; link != &guard->connections; link = link->next)
        connection_check(H2O_STRUCT_FROM_MEMBER(struct connection, link, link), now_us);
    for (h2o_linklist_t *link = guard->lingering.next; link != &guard->lingering; link = next) {
        struct lingering *lingering = H2O_STRUCT_FROM_MEMBER(struct lingering, link, link);
        next = link->next;
        if (now_us >= lingering->until_us)
            lingering_close(lingering);
    }
}

void guard_close_idle(struct guard *guard)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *link = guard->connections.next; link != &guard->connections; link = link->next) {
        struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, link, link);
        if (connection->in_flight == 0)
            connection_cut(connection);
    }
    for (h2o_linklist_t *link = guard->lingering.next; link != &guard->lingering; link = next) {
        next = link->next;
        lingering_close(H2O_STRUCT_FROM_MEMBER(struct lingering, link, link));
    }
}
