/*
 * metrics_page: the grammar of Prometheus text 0.0.4: families, samples, labels, exact numbers.
 *
 * Writes to a FILE (of open_memstream). Floating point is not used: a figure is an integer and how many of its digits
 * are fractional, so sums of money stay exact. Thread: any, one at a time per FILE.
 */
#ifndef PM_METRICS_PAGE_H
#define PM_METRICS_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "decimal.h"

/* HELP and TYPE of a family; its samples follow at once. name: whole. */
void page_family(FILE *page, const char *name, const char *type, const char *help);

/* One sample. labels: inside the braces, escaped, or NULL. */
void page_sample(FILE *page, const char *name, const char *labels, uint64_t value);
/* The same of value x 10^-fraction_digits (at most 8), trailing zeros trimmed. */
void page_sample_scaled(FILE *page, const char *name, const char *labels, int128 value, unsigned fraction_digits);

/* A family of one sample without labels. */
void page_gauge(FILE *page, const char *name, const char *help, uint64_t value);
void page_gauge_scaled(FILE *page, const char *name, const char *help, int128 value, unsigned fraction_digits);

/* How many were at or below each bound and above the one before; the last of the counts, above all bounds. */
struct page_buckets {
    const uint64_t *bounds;
    const uint64_t *counts; /* bound_count + 1, not cumulative */
    size_t bound_count;
    unsigned bound_fraction_digits; /* a bound's unit is 10^-this of the shown one */
    int128 sum;
    unsigned sum_fraction_digits;
};
/* A whole histogram family. The count is that of the buckets: +Inf and _count agree even while others observe. */
void page_histogram(FILE *page, const char *name, const char *help, const struct page_buckets *buckets);

/* Writes a label's value with its escapes, terminated, cut at size. */
void page_escape(const char *text, char *out, size_t size);

#endif
