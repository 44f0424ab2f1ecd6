/*
 * metrics_names: what the counters and histograms of base/metrics.h are called outside.
 *
 * Private to metrics_*.c. A counter without an entry does not compile away: a unit test looks for holes. Entries of one
 * family stand next to each other, since a family is one piece of the page.
 */
#ifndef PM_METRICS_NAMES_H
#define PM_METRICS_NAMES_H

#include <stddef.h>

#include "metrics.h"

#define METRICS_PREFIX "position_manager_"

struct counter_name {
    enum metric metric;
    const char *family; /* without prefix */
    const char *label;  /* "outcome=\"applied\"", or NULL */
    const char *help;   /* of the family: that of its first entry counts */
};
extern const struct counter_name counter_names[METRIC_COUNT];

struct histogram_name {
    enum histogram histogram;
    const char *family;
    const char *help;
    unsigned fraction_digits; /* the observed unit is 10^-fraction_digits of the shown one */
};
extern const struct histogram_name histogram_names[HISTOGRAM_COUNT];

#endif
