/*
 * First one line at a time, logged just when the drainer that took the last one is about to sleep on the wake
 * descriptor without a timeout: a wake-up that is lost hangs the test. Then threads that log as fast as they can, some
 * registered and some not: every line comes out once and in its thread's order, or is counted as dropped.
 */
#include "log.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 5, REGISTERED = 3, LINES = 20000, CLOSE_LINES = 8000, CLOSE_DAWDLE_MAX = 100000 };

static atomic_bool is_over;
static atomic_size_t drained;

static void *log_much(void *argument)
{
    int64_t self = (int64_t)(intptr_t)argument;
    if (self < REGISTERED)
        log_register_thread("racer");
    for (int64_t i = 1; i <= LINES; i++) {
        LOG_EVENT(LOG_LEVEL_INFO, "race", "trace", log_int("racer", self), log_int("line", i));
        if (i % 128 == 0)
            (void)poll(NULL, 0, 1); /* lets the drainer fall asleep now and then */
    }
    return NULL;
}

static void *drain(void *argument)
{
    int fd = *(int *)argument;
    struct pollfd wake = {.fd = log_wake_fd(), .events = POLLIN};
    while (!atomic_load(&is_over)) {
        (void)poll(&wake, 1, -1);
        atomic_fetch_add(&drained, log_drain(fd, "race"));
    }
    (void)log_drain(fd, "race");
    return NULL;
}

static void log_closely(void)
{
    unsigned seed = 5;
    for (size_t i = 0; i < CLOSE_LINES; i++) {
        while (i % 2 == 0 && atomic_load(&drained) < i)
            (void)sched_yield();
        seed = seed * 1664525 + 1013904223;
        for (volatile unsigned spins = (seed >> 8) % CLOSE_DAWDLE_MAX; spins > 0; spins--) {
        }
        LOG_EVENT(LOG_LEVEL_INFO, "close", NULL, log_int("n", (int64_t)i));
    }
}

static int64_t number_behind(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    pm_assert(at != NULL);
    return strtoll(at + strlen(key), NULL, 10);
}

static uint64_t count_lines(FILE *file)
{
    int64_t last[THREADS] = {0};
    uint64_t count = 0;
    char line[1024];
    while (fgets(line, sizeof line, file) != NULL) {
        pm_assert(line[0] == '{' && strcmp(line + strlen(line) - 2, "}\n") == 0);
        if (strstr(line, "\"event\":\"log_lines_dropped\"") != NULL)
            continue;
        count++;
        if (strstr(line, "\"event\":\"race\"") == NULL)
            continue;
        int64_t thread = number_behind(line, "\"racer\":");
        int64_t number = number_behind(line, "\"line\":");
        pm_assert(thread >= 0 && thread < THREADS && number > last[thread]);
        last[thread] = number;
    }
    return count;
}

int main(void)
{
    FILE *file = tmpfile();
    pm_assert(file != NULL);
    int fd = fileno(file);
    pthread_t drainer;
    pthread_t threads[THREADS];
    pm_assert(pthread_create(&drainer, NULL, drain, &fd) == 0);
    log_closely();
    for (intptr_t i = 0; i < THREADS; i++)
        pm_assert(pthread_create(&threads[i], NULL, log_much, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pm_assert(pthread_join(threads[i], NULL) == 0);
    atomic_store(&is_over, true);
    LOG_EVENT(LOG_LEVEL_INFO, "over", NULL, log_bool("over", true)); /* wakes the drainer; a lost wake-up would hang */
    pm_assert(pthread_join(drainer, NULL) == 0);

    rewind(file);
    uint64_t count = count_lines(file);
    uint64_t dropped = log_dropped_count();
    (void)fprintf(stderr, "%llu lines, %llu dropped\n", (unsigned long long)count, (unsigned long long)dropped);
    pm_assert(count + dropped == (uint64_t)THREADS * LINES + CLOSE_LINES + 1);
    (void)fclose(file);
    return 0;
}
