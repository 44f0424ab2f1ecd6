#include "metrics.h"

#include <stdatomic.h>

#include "check.h"

/*
 * Threads are dealt onto stripes in turn, so that two of them seldom bump the same cache line; a reading sums the
 * stripes. All accesses are relaxed: a counter orders nothing.
 */
enum { CACHE_LINE = 64, STRIPE_COUNT = 8, REFUSAL_COUNT = STATUS_REFUSAL_LAST + 1 };

struct histogram_stripe {
    atomic_uint_fast64_t counts[HISTOGRAM_BUCKETS_MAX + 1];
    atomic_uint_fast64_t sum;
};

struct stripe {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t counters[METRIC_COUNT];
    atomic_uint_fast64_t refused[REFUSAL_COUNT];
    struct histogram_stripe histograms[HISTOGRAM_COUNT];
};

static struct stripe stripes[STRIPE_COUNT];
static atomic_uint threads_dealt;

static struct stripe *own_stripe(void)
{
    static _Thread_local struct stripe *own;
    if (own == NULL)
        own = &stripes[atomic_fetch_add_explicit(&threads_dealt, 1, memory_order_relaxed) % STRIPE_COUNT];
    return own;
}

/* Microseconds from 50 us to 30 s: a commit, a request and a stalled neighbour all fall between. */
static const uint64_t time_bounds[] = {50,    100,    250,    500,    1000,    2500,    5000,    10000,    25000,
                                       50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};
static const uint64_t row_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};

enum {
    TIME_BOUND_COUNT = sizeof time_bounds / sizeof time_bounds[0],
    ROW_BOUND_COUNT = sizeof row_bounds / sizeof row_bounds[0],
};
_Static_assert((int)TIME_BOUND_COUNT <= (int)HISTOGRAM_BUCKETS_MAX, "time buckets fit");
_Static_assert((int)ROW_BOUND_COUNT <= (int)HISTOGRAM_BUCKETS_MAX, "row buckets fit");

static const struct {
    const uint64_t *bounds;
    size_t count;
} scales[HISTOGRAM_COUNT] = {
    [HISTOGRAM_COMMIT_SECONDS] = {time_bounds, TIME_BOUND_COUNT},
    [HISTOGRAM_COMMIT_ROWS] = {row_bounds, ROW_BOUND_COUNT},
    [HISTOGRAM_EVENT_VISIBLE_SECONDS] = {time_bounds, TIME_BOUND_COUNT},
    [HISTOGRAM_EVENT_ACKED_SECONDS] = {time_bounds, TIME_BOUND_COUNT},
    [HISTOGRAM_HTTP_SECONDS] = {time_bounds, TIME_BOUND_COUNT},
};

static void bump(atomic_uint_fast64_t *counter, uint64_t amount)
{
    (void)atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static uint64_t reading(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void metric_add(enum metric metric, uint64_t amount)
{
    pm_assert((unsigned)metric < METRIC_COUNT);
    bump(&own_stripe()->counters[metric], amount);
}

uint64_t metric_value(enum metric metric)
{
    pm_assert((unsigned)metric < METRIC_COUNT);
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPE_COUNT; i++)
        sum += reading(&stripes[i].counters[metric]);
    return sum;
}

void metric_refused(enum status reason)
{
    pm_assert(status_is_refusal(reason));
    bump(&own_stripe()->refused[reason], 1);
}

uint64_t metric_refused_value(enum status reason)
{
    pm_assert(status_is_refusal(reason));
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPE_COUNT; i++)
        sum += reading(&stripes[i].refused[reason]);
    return sum;
}

/* At most 18 steps, most values among the first: a search would not be faster. */
static size_t bucket_index(enum histogram histogram, uint64_t value)
{
    size_t index = 0;
    while (index < scales[histogram].count && value > scales[histogram].bounds[index])
        index++;
    return index;
}

void histogram_observe(enum histogram histogram, uint64_t value)
{
    pm_assert((unsigned)histogram < HISTOGRAM_COUNT);
    struct histogram_stripe *stripe = &own_stripe()->histograms[histogram];
    bump(&stripe->sum, value);
    bump(&stripe->counts[bucket_index(histogram, value)], 1);
}

void histogram_read(enum histogram histogram, struct histogram_reading *out)
{
    pm_assert((unsigned)histogram < HISTOGRAM_COUNT);
    *out = (struct histogram_reading){.bucket_count = scales[histogram].count, .bounds = scales[histogram].bounds};
    for (size_t i = 0; i < STRIPE_COUNT; i++) {
        const struct histogram_stripe *stripe = &stripes[i].histograms[histogram];
        out->sum += reading(&stripe->sum);
        for (size_t bucket = 0; bucket <= out->bucket_count; bucket++) {
            uint64_t count = reading(&stripe->counts[bucket]);
            out->counts[bucket] += count;
            out->count += count; /* the sum of what was read, so that the last bucket always says the same */
        }
    }
}
