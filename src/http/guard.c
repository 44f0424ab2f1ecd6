#include "guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "check.h"
#include "h2_fields.h"
#include "h2_frames.h"
#include "log.h"
#include "metrics.h"

enum { GIVE_UP_LOOK_MAX = 256 };

struct connection {
    h2o_linklist_t link;
    struct guard *guard;
    h2o_socket_t *socket;
    struct frames frames;
    struct h2_client h2_client;
    int in_flight;
    int resets;
    int64_t spent;        /* of the allowance */
    int64_t spent_at_us;  /* when spent was last lowered by time */
    size_t spent_written; /* bytes_written when it was last lowered by them */
    int64_t completed_us; /* when the last request was completed, or the connection was accepted */
    int64_t begun_us;     /* when the last request came */
    int64_t moved_us;     /* when bytes were last seen to move */
    size_t written;       /* bytes handed to the kernel, at moved_us */
    int unsent;           /* bytes in the kernel that the client has not confirmed, at moved_us */
    int linger_fd;        /* -1: close as usual */
    bool is_handed_over;
    bool is_cut;
};

struct lingering {
    h2o_linklist_t link;
    struct guard *guard;
    h2o_socket_t *socket;
    size_t read;
    int64_t until_us;
};

void guard_init(struct guard *guard, atomic_uint_fast32_t *total)
{
    *guard = (struct guard){.total = total};
    h2o_linklist_init_anchor(&guard->strangers);
    h2o_linklist_init_anchor(&guard->clients);
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
    lingering->read += socket->input->size;
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (error != NULL || lingering->read > GUARD_LINGER_BYTES_MAX)
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
    connection->completed_us = connection->moved_us = connection->spent_at_us = guard->now_us;
    connection->linger_fd = -1;
    h2o_linklist_insert(&guard->strangers, &connection->link);
    guard_count(guard, +1);
    socket->on_close.cb = on_connection_closed;
    socket->on_close.data = connection;
}

struct connection *connection_of(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void connection_hand_over(struct connection *connection)
{
    connection->is_handed_over = true;
}

struct frames *connection_frames(struct connection *connection)
{
    return &connection->frames;
}

struct h2_client *connection_h2_client(struct connection *connection)
{
    return &connection->h2_client;
}

bool connection_is_cut(const struct connection *connection)
{
    return connection->is_cut;
}

/* libh2o reads the end then and tears the connection down. */
static void connection_shut(struct connection *connection)
{
    connection->is_cut = true;
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

/* Bytes in the kernel that the client has not confirmed. */
static int connection_unsent(const struct connection *connection)
{
    int unsent = 0;
    return ioctl(h2o_socket_get_fd(connection->socket), SIOCOUTQ, &unsent) == 0 ? unsent : 0;
}

/*
 * What the client does not read is not kept in the kernel for it either: the connection ends with a reset. Where there
 * is nothing that it could still read, it ends as usual.
 */
static void connection_abort(struct connection *connection)
{
    if (connection->in_flight == 0 && connection_unsent(connection) == 0) {
        connection_shut(connection);
        return;
    }
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(h2o_socket_get_fd(connection->socket), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    connection_shut(connection);
}

/* Attackers come back as fast as they are cut off, so not each of them gets a line. */
static void guard_tell(struct guard *guard, const char *reason)
{
    metric_add(METRIC_HTTP_CONNECTIONS_REFUSED, 1);
    if (guard->now_us < guard->tell_at_us) {
        guard->untold++;
        return;
    }
    LOG_EVENT(LOG_LEVEL_WARNING, "http_connection_cut", NULL, log_text("reason", reason),
              log_int("untold_before", guard->untold));
    guard->untold = 0;
    guard->tell_at_us = guard->now_us + GUARD_TELL_US;
}

void connection_refuse(struct connection *connection, const char *reason)
{
    if (connection->is_cut)
        return;
    guard_tell(connection->guard, reason);
    connection->is_cut = true;
    if (!connection->frames.is_judging)
        connection_abort(connection);
}

static void connection_forgive(struct connection *connection, int64_t amount)
{
    connection->spent = connection->spent > amount ? connection->spent - amount : 0;
}

bool connection_charge(struct connection *connection, int cost)
{
    int64_t now_us = connection->guard->now_us;
    int64_t grown = (now_us - connection->spent_at_us) * GUARD_ALLOWANCE_A_SECOND / 1000000;
    size_t sent = (connection->socket->bytes_written - connection->spent_written) / GUARD_ALLOWANCE_BYTES;
    if (grown > 0) {
        connection_forgive(connection, grown);
        connection->spent_at_us = now_us;
    }
    if (sent > 0) {
        connection_forgive(connection, (int64_t)sent);
        connection->spent_written = connection->socket->bytes_written;
    }
    connection->spent += cost;
    if (connection->spent > GUARD_ALLOWANCE)
        connection_refuse(connection, "too many frames that ask for nothing");
    return !connection->is_cut;
}

bool connection_begin(struct connection *connection)
{
    if (connection->in_flight++ == 0)
        connection->moved_us = connection->guard->now_us;
    connection->guard->in_flight++;
    connection->begun_us = connection->guard->now_us;
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
    h2o_linklist_unlink(&connection->link);
    h2o_linklist_insert(&connection->guard->clients, &connection->link);
    connection_forgive(connection, GUARD_ALLOWANCE_A_REQUEST);
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
    if (connection->is_cut)
        connection_abort(connection); /* whoever was sent GOAWAY has had up to a second to read it */
    if (!connection->is_handed_over && now_us - connection->completed_us > GUARD_SILENCE_US)
        connection_refuse(connection, "silent");
    if (now_us - connection->completed_us > GUARD_QUIET_US)
        connection_refuse(connection, "no request completed");
    if (connection->in_flight == 0)
        return;
    if (now_us - connection->begun_us > GUARD_ANSWER_US)
        connection_refuse(connection, "answer not taken in time");
    int unsent = connection_unsent(connection);
    if (connection->written != connection->socket->bytes_written || connection->unsent != unsent) {
        connection->written = connection->socket->bytes_written;
        connection->unsent = unsent;
        connection->moved_us = now_us;
    } else if (now_us - connection->moved_us > GUARD_STALL_US) {
        connection_refuse(connection, "answer not taken");
    }
}

/* What libh2o keeps of what the client has sent, where that is much. */
static size_t connection_held(const struct connection *connection)
{
    size_t held = connection->socket->input->capacity + connection->frames.uploads_len;
    return held > GUARD_HELD_MUCH ? held : 0;
}

static struct connection *connection_at(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct connection, link, link);
}

/* Returns what they hold together. */
static size_t guard_check(struct guard *guard, h2o_linklist_t *list)
{
    size_t held = 0;
    for (h2o_linklist_t *link = list->next; link != list; link = link->next) {
        connection_check(connection_at(link), guard->now_us);
        held += connection_held(connection_at(link));
    }
    return held;
}

/* Returns what they still hold, of `held` in all. */
static size_t guard_shed(h2o_linklist_t *list, size_t held)
{
    for (h2o_linklist_t *link = list->next; link != list && held > GUARD_HELD_MAX; link = link->next) {
        size_t mine = connection_held(connection_at(link));
        if (mine > 0)
            connection_refuse(connection_at(link), "too much uploaded by all together");
        held -= mine;
    }
    return held;
}

void guard_sweep(struct guard *guard, int64_t now_us)
{
    h2o_linklist_t *next;
    guard->now_us = now_us;
    size_t held = guard_check(guard, &guard->strangers) + guard_check(guard, &guard->clients);
    held = guard_shed(&guard->strangers, held);
    (void)guard_shed(&guard->clients, held);
    for (h2o_linklist_t *link = guard->lingering.next; link != &guard->lingering; link = next) {
        struct lingering *lingering = H2O_STRUCT_FROM_MEMBER(struct lingering, link, link);
        next = link->next;
        if (now_us >= lingering->until_us)
            lingering_close(lingering);
    }
}

/* Those that were cut off before and are still there count for nothing any more. */
static bool give_up_one(h2o_linklist_t *list)
{
    int looked = 0;
    for (h2o_linklist_t *link = list->next; link != list && looked < GIVE_UP_LOOK_MAX; link = link->next, looked++) {
        struct connection *connection = connection_at(link);
        if (connection->in_flight == 0 && !connection->is_cut) {
            connection_refuse(connection, "room for another");
            return true;
        }
    }
    return false;
}

bool guard_make_room(struct guard *guard)
{
    return give_up_one(&guard->strangers) || give_up_one(&guard->clients);
}

static void close_idle(h2o_linklist_t *list)
{
    for (h2o_linklist_t *link = list->next; link != list; link = link->next)
        if (connection_at(link)->in_flight == 0 && !connection_at(link)->is_cut)
            connection_shut(connection_at(link));
}

void guard_close_idle(struct guard *guard)
{
    h2o_linklist_t *next;
    close_idle(&guard->strangers);
    close_idle(&guard->clients);
    for (h2o_linklist_t *link = guard->lingering.next; link != &guard->lingering; link = next) {
        next = link->next;
        lingering_close(H2O_STRUCT_FROM_MEMBER(struct lingering, link, link));
    }
}
