#define _GNU_SOURCE /* pipe2, F_SETPIPE_SZ */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "log_line.h"

enum { OUTPUT_MAX = 1 << 20 };

static char output[OUTPUT_MAX];

/* Drains into a file and returns what was written. */
static const char *drained(size_t *line_count)
{
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    *line_count = log_drain(fileno(file), "svc");
    rewind(file);
    output[fread(output, 1, sizeof output - 1, file)] = '\0';
    (void)fclose(file);
    return output;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        count++;
    return count;
}

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1;
}

Test(log, drain_of_nothing_writes_nothing)
{
    size_t count;
    cr_assert_str_empty(drained(&count));
    cr_assert_eq(count, 0);
}

Test(log, event_of_an_unregistered_thread_comes_out_once)
{
    LOG_EVENT(LOG_LEVEL_ERROR, "happened", "t", log_text("what", "this"), log_int("n", 3));
    size_t count;
    const char *text = drained(&count);
    cr_assert_eq(count, 1);
    cr_assert_not_null(strstr(text, "\"level\":\"ERROR\",\"event\":\"happened\",\"service\":\"svc\",\"trace_id\":\"t\","
                                    "\"what\":\"this\",\"n\":3}\n"));
    cr_assert_str_empty(drained(&count));
}

Test(log, registered_thread_is_named)
{
    log_register_thread("a-name-that-is-longer");
    log_register_thread("again"); /* keeps its ring */
    LOG_EVENT(LOG_LEVEL_INFO, "happened", NULL, log_int("n", 1));
    size_t count;
    cr_assert_not_null(strstr(drained(&count), "\"thread\":\"a-name-that-is-\","));
}

Test(log, events_below_the_level_are_not_recorded)
{
    size_t count;
    cr_assert(!log_is_enabled(LOG_LEVEL_DEBUG));
    log_set_level(LOG_LEVEL_WARNING);
    LOG_EVENT(LOG_LEVEL_INFO, "quiet", NULL, log_int("n", 1));
    log_event(LOG_LEVEL_INFO, "quiet", NULL, NULL, 0);
    LOG_EVENT(LOG_LEVEL_WARNING, "loud", NULL, log_int("n", 1));
    const char *text = drained(&count);
    cr_assert_eq(count, 1);
    cr_assert_null(strstr(text, "quiet"));
    log_set_level(LOG_LEVEL_DEBUG);
    LOG_EVENT(LOG_LEVEL_DEBUG, "deep", NULL, log_int("n", 1));
    cr_assert_not_null(strstr(drained(&count), "\"level\":\"DEBUG\",\"event\":\"deep\""));
}

Test(log, lines_keep_their_order_around_the_ring)
{
    log_register_thread("writer");
    int64_t number = 0;
    for (int round = 0; round < 40; round++) { /* several times the ring's length */
        for (int i = 0; i < 100; i++)
            LOG_EVENT(LOG_LEVEL_INFO, "counted", "trace", log_int("n", number + i), log_text("pad", "abcdefghijklm"));
        size_t count;
        const char *text = drained(&count);
        cr_assert_eq(count, 100, "round %d", round);
        for (int i = 0; i < 100; i++, number++) {
            char wanted[32];
            int len = snprintf(wanted, sizeof wanted, "\"n\":%lld,", (long long)number);
            text = strstr(text, wanted);
            cr_assert_not_null(text, "%s", wanted);
            text += len;
        }
    }
    cr_assert_eq(log_dropped_count(), 0);
}

Test(log, full_ring_drops_counts_and_tells_once)
{
    for (int i = 0; i < 5000; i++)
        LOG_EVENT(LOG_LEVEL_INFO, "flood", NULL, log_int("n", i), log_text("pad", "abcdefghijklmnopqrstuvwxyz"));
    uint64_t dropped = log_dropped_count();
    cr_assert_gt(dropped, 0);
    size_t count;
    const char *text = drained(&count);
    size_t kept = count_of(text, "\"event\":\"flood\"");
    cr_assert_eq(kept + dropped, 5000);
    cr_assert_eq(count, kept + 1);
    char wanted[96];
    (void)snprintf(wanted, sizeof wanted, "\"dropped\":%llu,\"dropped_total\":%llu}", (unsigned long long)dropped,
                   (unsigned long long)dropped);
    cr_assert_not_null(strstr(text, "\"level\":\"WARNING\",\"event\":\"log_lines_dropped\""));
    cr_assert_not_null(strstr(text, wanted));
    LOG_EVENT(LOG_LEVEL_INFO, "room", NULL, log_int("n", 1));
    text = drained(&count);
    cr_assert_eq(count, 1);
    cr_assert_null(strstr(text, "log_lines_dropped"));
}

Test(log, lines_that_cannot_be_written_count_as_dropped)
{
    (void)signal(SIGPIPE, SIG_IGN);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    (void)close(ends[0]);
    for (int i = 0; i < 3; i++)
        LOG_EVENT(LOG_LEVEL_INFO, "lost", NULL, log_int("n", i));
    (void)log_drain(ends[1], "svc");
    cr_assert_eq(log_dropped_count(), 3);
    (void)log_drain(ends[1], "svc"); /* the line about them is lost, too, and counts for nothing */
    cr_assert_eq(log_dropped_count(), 3);
    (void)close(ends[1]);
}

static void *read_slowly(void *argument)
{
    int fd = *(int *)argument;
    size_t *len = malloc(sizeof *len);
    *len = 0;
    ssize_t got;
    while ((got = read(fd, output + *len, 700)) > 0)
        *len += (size_t)got;
    return len;
}

Test(log, slow_reader_of_a_descriptor_that_does_not_block_gets_all)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, 0), 0);
    cr_assert_geq(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
    cr_assert_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 300; i++)
        LOG_EVENT(LOG_LEVEL_INFO, "slow", NULL, log_int("n", i), log_text("pad", "abcdefghijklmnopqrstuvwxyz"));
    pthread_t reader;
    cr_assert_eq(pthread_create(&reader, NULL, read_slowly, &ends[0]), 0);
    cr_assert_eq(log_drain(ends[1], "svc"), 300);
    (void)close(ends[1]);
    void *len;
    cr_assert_eq(pthread_join(reader, &len), 0);
    output[*(size_t *)len] = '\0';
    free(len);
    (void)close(ends[0]);
    cr_assert_eq(count_of(output, "\"event\":\"slow\""), 300);
    cr_assert_eq(log_dropped_count(), 0);
}

Test(log, descriptor_is_readable_while_lines_wait)
{
    size_t count;
    LOG_EVENT(LOG_LEVEL_INFO, "early", NULL, log_int("n", 1));
    int fd = log_wake_fd();
    cr_assert_eq(log_wake_fd(), fd);
    cr_assert(is_readable(fd), "a line was there before the descriptor");
    (void)drained(&count);
    cr_assert_eq(count, 1);
    cr_assert(!is_readable(fd));
    LOG_EVENT(LOG_LEVEL_INFO, "late", NULL, log_int("n", 1));
    LOG_EVENT(LOG_LEVEL_INFO, "late", NULL, log_int("n", 2));
    cr_assert(is_readable(fd));
    (void)drained(&count);
    cr_assert_eq(count, 2);
    cr_assert(!is_readable(fd));
}

static void *log_one(void *unused)
{
    (void)unused;
    log_register_thread("short");
    LOG_EVENT(LOG_LEVEL_INFO, "one", NULL, log_int("n", 1));
    return NULL;
}

Test(log, threads_beyond_the_registry_share_a_ring)
{
    for (int i = 0; i < 70; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, log_one, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    size_t count;
    const char *text = drained(&count);
    cr_assert_eq(count, 70);
    cr_assert_eq(count_of(text, "\"thread\":\"short\""), 64);
}
