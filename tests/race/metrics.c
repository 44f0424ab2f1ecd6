/* Threads that bump the same figures while one reads: nothing is lost, and a histogram's count is the sum of its
 * buckets. */
#include "metrics.h"

#include <pthread.h>

#include "check.h"

enum { THREADS = 10, BUMPS = 20000 };

static void *bump_much(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < BUMPS; i++) {
        metric_add(METRIC_COMMITS, 2);
        metric_refused(STATUS_BAD_TIME);
        histogram_observe(HISTOGRAM_COMMIT_ROWS, i % 3);
    }
    return NULL;
}

static void check_reading(void)
{
    struct histogram_reading reading;
    histogram_read(HISTOGRAM_COMMIT_ROWS, &reading);
    uint64_t count = 0;
    for (size_t i = 0; i <= reading.bucket_count; i++)
        count += reading.counts[i];
    pm_assert(count == reading.count);
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pm_assert(pthread_create(&threads[i], NULL, bump_much, NULL) == 0);
    uint64_t before = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = metric_value(METRIC_COMMITS);
        pm_assert(now >= before);
        before = now;
        check_reading();
    }
    for (int i = 0; i < THREADS; i++)
        pm_assert(pthread_join(threads[i], NULL) == 0);
    struct histogram_reading reading;
    histogram_read(HISTOGRAM_COMMIT_ROWS, &reading);
    uint64_t bumps = (uint64_t)THREADS * BUMPS;
    pm_assert(metric_value(METRIC_COMMITS) == 2 * bumps);
    pm_assert(metric_refused_value(STATUS_BAD_TIME) == bumps);
    pm_assert(reading.count == bumps && reading.counts[0] + reading.counts[1] == bumps);
    return 0;
}
