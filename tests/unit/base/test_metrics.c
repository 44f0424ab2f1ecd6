#include <criterion/criterion.h>
#include <signal.h>

#include "metrics.h"

Test(metrics, counters_start_at_zero_and_add_up)
{
    for (int i = 0; i < METRIC_COUNT; i++)
        cr_assert_eq(metric_value((enum metric)i), 0, "metric %d", i);
    metric_add(METRIC_COMMITS, 3);
    metric_add(METRIC_COMMITS, 4);
    cr_assert_eq(metric_value(METRIC_COMMITS), 7);
    cr_assert_eq(metric_value(METRIC_COMMIT_ROLLBACKS), 0);
}

Test(metrics, every_reason_of_refusal_has_a_counter)
{
    for (int i = STATUS_NOT_JSON; i <= STATUS_REFUSAL_LAST; i++) {
        metric_refused((enum status)i);
        cr_assert_eq(metric_refused_value((enum status)i), 1, "%s", status_word((enum status)i));
    }
}

Test(metrics, what_is_no_refusal_is_an_assert, .signal = SIGABRT)
{
    metric_refused(STATUS_IGNORED);
}

Test(metrics, unknown_metric_is_an_assert, .signal = SIGABRT)
{
    metric_add(METRIC_COUNT, 1);
}

Test(metrics, bounds_rise_and_fit)
{
    for (int i = 0; i < HISTOGRAM_COUNT; i++) {
        struct histogram_reading reading;
        histogram_read((enum histogram)i, &reading);
        cr_assert(reading.bucket_count > 0 && reading.bucket_count <= HISTOGRAM_BUCKETS_MAX, "histogram %d", i);
        for (size_t bucket = 1; bucket < reading.bucket_count; bucket++)
            cr_assert_gt(reading.bounds[bucket], reading.bounds[bucket - 1], "histogram %d bucket %zu", i, bucket);
        cr_assert_eq(reading.count, 0);
    }
}

Test(metrics, bound_belongs_to_its_bucket_and_the_next_value_does_not)
{
    struct histogram_reading reading;
    histogram_read(HISTOGRAM_COMMIT_SECONDS, &reading);
    size_t count = reading.bucket_count;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        histogram_observe(HISTOGRAM_COMMIT_SECONDS, reading.bounds[i]);
        histogram_observe(HISTOGRAM_COMMIT_SECONDS, reading.bounds[i] + 1);
        sum += 2 * reading.bounds[i] + 1;
    }
    histogram_read(HISTOGRAM_COMMIT_SECONDS, &reading);
    cr_assert_eq(reading.counts[0], 1);
    for (size_t i = 1; i < count; i++)
        cr_assert_eq(reading.counts[i], 2, "bucket %zu", i);
    cr_assert_eq(reading.counts[count], 1);
    cr_assert_eq(reading.count, 2 * count);
    cr_assert_eq(reading.sum, sum);
}

Test(metrics, zero_falls_into_the_first_bucket_and_the_largest_behind_the_last)
{
    histogram_observe(HISTOGRAM_COMMIT_ROWS, 0);
    histogram_observe(HISTOGRAM_COMMIT_ROWS, UINT64_MAX);
    struct histogram_reading reading;
    histogram_read(HISTOGRAM_COMMIT_ROWS, &reading);
    cr_assert_eq(reading.counts[0], 1);
    cr_assert_eq(reading.counts[reading.bucket_count], 1);
}
