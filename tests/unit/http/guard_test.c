#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guard.h"

/* One watched connection over a socket pair; the test plays libh2o and the peer. */
struct bench {
    h2o_evloop_t *loop;
    struct guard guard;
    atomic_uint_fast32_t total;
    h2o_socket_t *socket;
    struct connection *connection;
    int peer;
};

static struct bench bench;

static void set_up(void)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    bench.loop = h2o_evloop_create();
    guard_init(&bench.guard, &bench.total);
    bench.socket = h2o_evloop_socket_create(bench.loop, pair[0], 0);
    bench.peer = pair[1];
    guard_watch(&bench.guard, bench.socket);
    bench.connection = bench.socket->on_close.data;
    connection_hand_over(bench.connection);
}

static void tear_down(void)
{
    close(bench.peer);
}

TestSuite(guard, .init = set_up, .fini = tear_down);

static bool is_cut(void)
{
    char byte;
    return recv(bench.peer, &byte, 1, 0) == 0;
}

Test(guard, a_connection_is_counted_until_it_is_closed)
{
    cr_expect_eq(bench.guard.count, 1);
    cr_expect_eq(atomic_load(&bench.total), 1);
    h2o_socket_close(bench.socket);
    cr_expect_eq(bench.guard.count, 0);
    cr_expect_eq(atomic_load(&bench.total), 0);
}

Test(guard, an_answer_that_is_not_taken_ends_the_connection)
{
    cr_expect(connection_begin(bench.connection));
    guard_sweep(&bench.guard, 1000000);
    guard_sweep(&bench.guard, GUARD_STALL_US);
    cr_expect_not(is_cut());
    guard_sweep(&bench.guard, GUARD_STALL_US + 1);
    cr_expect(is_cut());
}

Test(guard, bytes_that_move_keep_a_slow_reader_connected)
{
    cr_expect(connection_begin(bench.connection));
    for (int64_t at_us = 0; at_us <= GUARD_ANSWER_US; at_us += GUARD_STALL_US / 2) {
        bench.socket->bytes_written += 100;
        guard_sweep(&bench.guard, at_us);
    }
    cr_expect_not(is_cut());
}

Test(guard, without_a_completed_request_moving_bytes_do_not_help_for_ever)
{
    cr_expect(connection_begin(bench.connection));
    for (int64_t at_us = 0; at_us <= GUARD_QUIET_US + GUARD_STALL_US; at_us += GUARD_STALL_US / 2) {
        bench.socket->bytes_written += 100;
        guard_sweep(&bench.guard, at_us);
    }
    cr_expect(is_cut());
}

Test(guard, a_completed_request_starts_the_clock_anew)
{
    cr_expect(connection_begin(bench.connection));
    bench.guard.now_us = GUARD_QUIET_US;
    connection_end(bench.connection, false);
    guard_sweep(&bench.guard, 2 * GUARD_QUIET_US);
    cr_expect_not(is_cut());
    guard_sweep(&bench.guard, 2 * GUARD_QUIET_US + 1);
    cr_expect(is_cut());
}

Test(guard, lost_requests_have_a_budget_that_completed_ones_refill)
{
    for (int i = 0; i < 3 * GUARD_RESETS_MAX; i++) {
        cr_expect(connection_begin(bench.connection));
        connection_end(bench.connection, true);
        cr_expect(connection_begin(bench.connection));
        connection_end(bench.connection, false);
    }
    cr_expect_not(is_cut());
    for (int i = 0; i < GUARD_RESETS_MAX; i++) {
        cr_expect(connection_begin(bench.connection));
        connection_end(bench.connection, true);
    }
    cr_expect_not(is_cut());
    (void)connection_begin(bench.connection);
    connection_end(bench.connection, true);
    cr_expect(is_cut());
}

Test(guard, more_requests_than_streams_end_the_connection)
{
    for (int i = 0; i < GUARD_IN_FLIGHT_MAX; i++)
        cr_expect(connection_begin(bench.connection));
    cr_expect_not(connection_begin(bench.connection));
    cr_expect(is_cut());
    cr_expect_eq(bench.guard.in_flight, GUARD_IN_FLIGHT_MAX + 1);
}

Test(guard, closing_idle_connections_spares_busy_ones)
{
    cr_expect(connection_begin(bench.connection));
    guard_close_idle(&bench.guard);
    cr_expect_not(is_cut());
    connection_end(bench.connection, false);
    guard_close_idle(&bench.guard);
    cr_expect(is_cut());
}

Test(guard, a_lingering_connection_swallows_bytes_until_the_peer_or_the_time_ends_it)
{
    char sink[64];
    connection_linger(bench.connection);
    h2o_socket_close(bench.socket);
    cr_expect_eq(bench.guard.count, 1, "it still counts");
    cr_expect_eq(recv(bench.peer, sink, sizeof sink, 0), 0, "the peer reads the end");
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(send(bench.peer, sink, sizeof sink, MSG_NOSIGNAL), (ssize_t)sizeof sink);
        h2o_evloop_run(bench.loop, 10);
    }
    cr_expect_eq(bench.guard.count, 1);
    guard_sweep(&bench.guard, GUARD_LINGER_US - 1);
    cr_expect_eq(bench.guard.count, 1);
    guard_sweep(&bench.guard, GUARD_LINGER_US);
    cr_expect_eq(bench.guard.count, 0);
}

Test(guard, a_lingering_peer_that_closes_is_forgotten_at_once)
{
    connection_linger(bench.connection);
    h2o_socket_close(bench.socket);
    shutdown(bench.peer, SHUT_WR);
    for (int i = 0; i < 10 && bench.guard.count > 0; i++)
        h2o_evloop_run(bench.loop, 10);
    cr_expect_eq(bench.guard.count, 0);
}
