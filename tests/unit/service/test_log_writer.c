#define _GNU_SOURCE /* pipe2, F_SETPIPE_SZ */

#include "log_writer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum { STOP_MS = 60000, READ_MS = 60000, AT_ONCE_US = 30000000 };

static void open_pipe(int fds[2])
{
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
}

/* Reads until text is there or the time is over. */
static bool is_read_within(int fd, const char *text, int deadline_ms)
{
    static char page[65536];
    size_t len = 0;
    int64_t end_us = clock_steady_us() + deadline_ms * 1000LL;
    while (clock_steady_us() < end_us && len < sizeof page - 1) {
        struct pollfd readable = {fd, POLLIN, 0};
        if (poll(&readable, 1, 20) != 1)
            continue;
        ssize_t count = read(fd, page + len, sizeof page - 1 - len);
        if (count <= 0)
            return false;
        len += (size_t)count;
        page[len] = '\0';
        if (strstr(page, text) != NULL)
            return true;
    }
    return false;
}

Test(log_writer, a_line_appears_without_anybody_asking, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    struct log_writer *writer = log_writer_start(fds[1], "a-service");
    cr_assert_not_null(writer);
    LOG_EVENT(LOG_LEVEL_INFO, "first_event", NULL, log_int("figure", 42));
    cr_expect(is_read_within(fds[0], "\"first_event\"", READ_MS));
    LOG_EVENT(LOG_LEVEL_INFO, "second_event", NULL, log_text("text", "x"));
    cr_expect(is_read_within(fds[0], "\"second_event\"", READ_MS), "it is woken again after it slept");
    log_writer_stop(writer, STOP_MS);
}

Test(log_writer, what_was_logged_before_the_stop_is_written, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    struct log_writer *writer = log_writer_start(fds[1], "a-service");
    cr_assert_not_null(writer);
    for (int i = 0; i < 100; i++)
        LOG_EVENT(LOG_LEVEL_INFO, "numbered", NULL, log_int("i", i));
    LOG_EVENT(LOG_LEVEL_WARNING, "last_words", NULL, log_bool("final", true));
    log_writer_stop(writer, STOP_MS);
    cr_expect(is_read_within(fds[0], "\"last_words\"", READ_MS));
    close(fds[1]);
}

/* The stop meets the writer in any of its states: asleep, on its way to the drain, behind it. */
Test(log_writer, no_line_is_lost_in_the_moment_of_the_stop, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    for (int round = 0; round < 500; round++) {
        struct log_writer *writer = log_writer_start(fds[1], "a-service");
        cr_assert_not_null(writer);
        for (int i = 0; i < round % 20; i++)
            LOG_EVENT(LOG_LEVEL_INFO, "numbered", NULL, log_int("i", i));
        LOG_EVENT(LOG_LEVEL_INFO, "last_words", NULL, log_int("round", round));
        log_writer_stop(writer, STOP_MS);
        char page[16384];
        ssize_t len = read(fds[0], page, sizeof page - 1);
        cr_assert_gt(len, 0);
        page[len] = '\0';
        cr_assert_not_null(strstr(page, "last_words"), "round %d", round);
    }
}

Test(log_writer, a_reader_that_went_away_ends_nothing, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    struct log_writer *writer = log_writer_start(fds[1], "a-service");
    cr_assert_not_null(writer);
    close(fds[0]);
    signal(SIGPIPE, SIG_DFL); /* the writer's own mask has to hold */
    uint64_t before = log_dropped_count();
    for (int i = 0; i < 100 && log_dropped_count() == before; i++) {
        LOG_EVENT(LOG_LEVEL_INFO, "into_the_void", NULL, log_int("i", i));
        poll(NULL, 0, 100);
    }
    cr_expect_gt(log_dropped_count(), before, "lost lines are counted");
    log_writer_stop(writer, STOP_MS);
}

Test(log_writer, a_reader_that_takes_nothing_does_not_hold_up_the_stop, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    cr_assert_gt(fcntl(fds[1], F_SETPIPE_SZ, 4096), 0);
    struct log_writer *writer = log_writer_start(fds[1], "a-service");
    cr_assert_not_null(writer);
    uint64_t before = log_dropped_count();
    for (int i = 0; i < 5000; i++)
        LOG_EVENT(LOG_LEVEL_INFO, "flood", NULL, log_int("i", i));
    cr_expect_gt(log_dropped_count(), before, "whoever logs is not held up but loses lines");
    int64_t start_us = clock_steady_us();
    log_writer_stop(writer, 200);
    int64_t taken_us = clock_steady_us() - start_us;
    cr_expect_geq(taken_us, 150000);
    cr_expect_lt(taken_us, AT_ONCE_US);
}

Test(log_writer, the_stop_comes_soon_after_silence, .timeout = 300)
{
    int fds[2];
    open_pipe(fds);
    struct log_writer *writer = log_writer_start(fds[1], "a-service");
    cr_assert_not_null(writer);
    poll(NULL, 0, 50);
    int64_t start_us = clock_steady_us();
    log_writer_stop(writer, STOP_MS);
    cr_expect_lt(clock_steady_us() - start_us, AT_ONCE_US);
}

Test(log_writer, stopping_none_does_nothing)
{
    log_writer_stop(NULL, STOP_MS);
}
