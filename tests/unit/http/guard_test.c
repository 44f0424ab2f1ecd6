#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guard.h"
#include "h2_frames.h"

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

static bool ends_with_a_reset(void)
{
    struct linger linger = {0};
    socklen_t len = sizeof linger;
    cr_assert_eq(getsockopt(h2o_socket_get_fd(bench.socket), SOL_SOCKET, SO_LINGER, &linger, &len), 0);
    return linger.l_onoff != 0 && linger.l_linger == 0;
}

Test(guard, an_idle_connection_ends_without_a_reset)
{
    guard_sweep(&bench.guard, GUARD_QUIET_US + 1);
    cr_expect(is_cut());
    cr_expect_not(ends_with_a_reset());
}

Test(guard, a_connection_with_a_request_under_way_ends_with_a_reset)
{
    cr_expect(connection_begin(bench.connection));
    guard_sweep(&bench.guard, GUARD_QUIET_US + 1);
    cr_expect(is_cut());
    cr_expect(ends_with_a_reset());
}

Test(guard, a_connection_whose_last_answer_is_not_read_ends_with_a_reset)
{
    cr_assert_eq(send(h2o_socket_get_fd(bench.socket), "x", 1, MSG_NOSIGNAL), 1);
    guard_sweep(&bench.guard, GUARD_QUIET_US + 1);
    cr_expect(ends_with_a_reset());
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

Test(guard, frames_that_ask_for_nothing_use_up_an_allowance)
{
    cr_expect(connection_charge(bench.connection, GUARD_ALLOWANCE));
    cr_expect_not(is_cut());
    cr_expect_not(connection_charge(bench.connection, 1));
    cr_expect(connection_is_cut(bench.connection));
    cr_expect(is_cut());
}

Test(guard, the_allowance_grows_with_time_answers_and_bytes_sent)
{
    cr_expect(connection_charge(bench.connection, GUARD_ALLOWANCE));
    bench.guard.now_us = 1000000;
    cr_expect(connection_charge(bench.connection, GUARD_ALLOWANCE_A_SECOND));
    bench.socket->bytes_written += 50 * GUARD_ALLOWANCE_BYTES;
    cr_expect(connection_charge(bench.connection, 50));
    cr_expect(connection_begin(bench.connection));
    connection_end(bench.connection, false);
    cr_expect(connection_charge(bench.connection, GUARD_ALLOWANCE_A_REQUEST));
    cr_expect(connection_begin(bench.connection));
    connection_end(bench.connection, true);
    cr_expect_not(connection_charge(bench.connection, 1), "a lost request gives nothing back");
}

Test(guard, an_allowance_never_grows_beyond_its_size)
{
    bench.guard.now_us = 3600 * 1000000LL;
    cr_expect(connection_charge(bench.connection, GUARD_ALLOWANCE));
    cr_expect_not(connection_charge(bench.connection, 1));
}

Test(guard, a_frame_that_is_judged_ends_the_connection_with_words_and_a_second_later_without)
{
    connection_frames(bench.connection)->is_judging = true;
    connection_refuse(bench.connection, "a reason");
    connection_frames(bench.connection)->is_judging = false;
    cr_expect(connection_is_cut(bench.connection));
    cr_expect_not(is_cut(), "libh2o says GOAWAY first");
    guard_sweep(&bench.guard, 1000000);
    cr_expect(is_cut());
}

Test(guard, who_says_nothing_after_connecting_is_cut_off)
{
    int pair[2];
    char byte;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    guard_watch(&bench.guard, h2o_evloop_socket_create(bench.loop, pair[0], 0));
    guard_sweep(&bench.guard, GUARD_SILENCE_US);
    cr_expect_lt(recv(pair[1], &byte, 1, 0), 0);
    guard_sweep(&bench.guard, GUARD_SILENCE_US + 1);
    cr_expect_eq(recv(pair[1], &byte, 1, 0), 0);
    cr_expect_not(is_cut(), "the other one was handed over, and libh2o has its own limits");
    close(pair[1]);
}

Test(guard, an_answer_that_is_taken_byte_by_byte_ends_the_connection)
{
    cr_expect(connection_begin(bench.connection));
    for (int64_t at_us = 0; at_us <= GUARD_ANSWER_US; at_us += GUARD_STALL_US / 2) {
        cr_expect_not(is_cut());
        bench.socket->bytes_written++;
        guard_sweep(&bench.guard, at_us);
    }
    guard_sweep(&bench.guard, GUARD_ANSWER_US + 1);
    cr_expect(is_cut());
}

Test(guard, room_is_made_by_strangers_first_and_never_by_the_busy)
{
    int pair[2];
    char byte;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    cr_expect(connection_begin(bench.connection));
    cr_expect_not(guard_make_room(&bench.guard), "the only one is busy");
    connection_end(bench.connection, false);
    guard_watch(&bench.guard, h2o_evloop_socket_create(bench.loop, pair[0], 0));
    cr_expect(guard_make_room(&bench.guard));
    cr_expect_eq(recv(pair[1], &byte, 1, 0), 0, "the one that never had an answer, though it came later");
    cr_expect_not(is_cut());
    cr_expect(guard_make_room(&bench.guard), "one that had an answer, if there is no other");
    cr_expect(is_cut());
    cr_expect_not(guard_make_room(&bench.guard));
    close(pair[1]);
}

Test(guard, when_all_together_hold_too_much_those_that_hold_much_go)
{
    connection_frames(bench.connection)->uploads_len = GUARD_HELD_MAX;
    guard_sweep(&bench.guard, 1000000);
    cr_expect(is_cut(), "with what its socket's buffer holds it is more");
}

Test(guard, a_preface_is_known_by_all_of_it)
{
    static const struct {
        const char *bytes;
        enum preface preface;
    } rows[] = {{"", PREFACE_UNSURE},
                {"P", PREFACE_UNSURE},
                {"POST", PREFACE_HTTP1},
                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", PREFACE_UNSURE},
                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PREFACE_HTTP2},
                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", PREFACE_HTTP2},
                {"PRI * HTTP/2.0\r\n\r\nSN", PREFACE_HTTP1},
                {"GET / HTTP/1.1\r\n\r\n", PREFACE_HTTP1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(preface_look(rows[i].bytes, strlen(rows[i].bytes)), rows[i].preface, "row %zu", i);
}
