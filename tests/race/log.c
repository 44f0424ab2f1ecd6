/*
 * Threads that log as fast as they can, some registered and some not, and a drainer that sleeps on the wake descriptor
 * without a timeout. Every line comes out once and in its thread's order, or is counted as dropped.
 */
#include "log.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 5, REGISTERED = 3, LINES = 20000 };

static atomic_bool is_over;

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
        (void)log_drain(fd, "race");
    }
    (void)log_drain(fd, "race");
    return NULL;
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
        if (strstr(line, "\"event\":\"over\"") != NULL)
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
    pm_assert(count + dropped == (uint64_t)THREADS * LINES + 1);
    (void)fclose(file);
    return 0;
}
