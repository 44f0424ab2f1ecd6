#include "metrics_page.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"

enum { FRACTION_DIGITS_MAX = 8 };

/* decimal_format_units() counts in 10^-8. */
static const int64_t units_of[FRACTION_DIGITS_MAX + 1] = {100000000, 10000000, 1000000, 100000, 10000,
                                                          1000,      100,      10,      1};

static void format_scaled(int128 value, unsigned fraction_digits, char out[DECIMAL_TEXT_LEN_MAX])
{
    pm_assert(fraction_digits <= FRACTION_DIGITS_MAX);
    decimal_format_units(value * units_of[fraction_digits], 0, out);
}

void page_family(FILE *page, const char *name, const char *type, const char *help)
{
    fprintf(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_sample(FILE *page, const char *name, const char *labels, const char *value)
{
    if (labels != NULL)
        fprintf(page, "%s{%s} %s\n", name, labels, value);
    else
        fprintf(page, "%s %s\n", name, value);
}

void page_sample(FILE *page, const char *name, const char *labels, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    write_sample(page, name, labels, text);
}

void page_sample_scaled(FILE *page, const char *name, const char *labels, int128 value, unsigned fraction_digits)
{
    char text[DECIMAL_TEXT_LEN_MAX];
    format_scaled(value, fraction_digits, text);
    write_sample(page, name, labels, text);
}

void page_gauge(FILE *page, const char *name, const char *help, uint64_t value)
{
    page_family(page, name, "gauge", help);
    page_sample(page, name, NULL, value);
}

void page_gauge_scaled(FILE *page, const char *name, const char *help, int128 value, unsigned fraction_digits)
{
    page_family(page, name, "gauge", help);
    page_sample_scaled(page, name, NULL, value, fraction_digits);
}

void page_histogram(FILE *page, const char *name, const char *help, const struct page_buckets *buckets)
{
    char bound[DECIMAL_TEXT_LEN_MAX], sum[DECIMAL_TEXT_LEN_MAX];
    uint64_t count = 0;
    page_family(page, name, "histogram", help);
    for (size_t i = 0; i < buckets->bound_count; i++) {
        count += buckets->counts[i];
        format_scaled(buckets->bounds[i], buckets->bound_fraction_digits, bound);
        fprintf(page, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name, bound, count);
    }
    count += buckets->counts[buckets->bound_count];
    format_scaled(buckets->sum, buckets->sum_fraction_digits, sum);
    fprintf(page, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %s\n%s_count %" PRIu64 "\n", name, count, name, sum, name,
            count);
}

void page_escape(const char *text, char *out, size_t size)
{
    pm_assert(size > 0);
    size_t len = 0;
    for (; *text != '\0' && len + 2 < size; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            out[len++] = '\\';
        out[len++] = *text == '\n' ? 'n' : *text;
    }
    out[len] = '\0';
}
