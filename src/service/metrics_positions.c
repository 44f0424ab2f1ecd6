#include "metrics_positions.h"

#include <stdbool.h>

#include "metrics_names.h"
#include "metrics_page.h"

enum { LABELS_LEN_MAX = 128, MICRO = 6, UNITS = 8 };

#define NAME(name) METRICS_PREFIX name

/* One figure of a position; false where it has none. */
typedef bool figure_fn(const struct survey_position *position, int64_t now_us, int128 *out);

static bool size(const struct survey_position *position, int64_t now_us, int128 *out)
{
    (void)now_us;
    *out = position->size;
    return true;
}

static bool exposure(const struct survey_position *position, int64_t now_us, int128 *out)
{
    (void)now_us;
    *out = position->exposure;
    return position->is_priced;
}

static bool unrealized_pnl(const struct survey_position *position, int64_t now_us, int128 *out)
{
    (void)now_us;
    *out = position->unrealized_pnl;
    return true;
}

static bool realized_pnl(const struct survey_position *position, int64_t now_us, int128 *out)
{
    (void)now_us;
    *out = position->realized_pnl;
    return true;
}

/* A clock that was set back makes no negative age. */
static bool age(int64_t at_us, int64_t now_us, int128 *out)
{
    *out = at_us < now_us ? (int128)now_us - at_us : 0;
    return at_us != TIME_NONE;
}

static bool price_age(const struct survey_position *position, int64_t now_us, int128 *out)
{
    return age(position->price_updated_at_us, now_us, out) && position->is_priced;
}

static bool held(const struct survey_position *position, int64_t now_us, int128 *out)
{
    return age(position->opened_at_us, now_us, out);
}

/* Assets match a pattern that the operator may set to anything, so their names are escaped. */
static void format_labels(const struct survey_position *position, char out[LABELS_LEN_MAX])
{
    char asset[2 * ASSET_LEN_MAX + 2];
    page_escape(position->asset, asset, sizeof asset);
    snprintf(out, LABELS_LEN_MAX, "asset=\"%s\",mode=\"%s\"", asset, position_mode_word(position->mode));
}

struct position_family {
    const char *name;
    const char *help;
    figure_fn *figure;
    unsigned fraction_digits;
};

static const struct position_family families[] = {
    {NAME("position_size"), "Signed size of a position, of the largest ones.", size, UNITS},
    {NAME("position_exposure_usdt"), "Exposure of a position, of the largest ones.", exposure, UNITS},
    {NAME("position_unrealized_pnl_usdt"), "Unrealized PnL of a position, of the largest ones.", unrealized_pnl, UNITS},
    {NAME("position_realized_pnl_usdt"), "Realized PnL of a position, of the largest ones.", realized_pnl, UNITS},
    {NAME("position_price_age_seconds"), "Age of a position's price, of the largest ones.", price_age, MICRO},
    {NAME("position_held_seconds"), "Time since a position was opened, of the largest ones.", held, MICRO},
};

static void write_family(FILE *page, const struct survey_result *result, int64_t now_us,
                         const struct position_family *family)
{
    page_family(page, family->name, "gauge", family->help);
    for (size_t i = 0; i < result->position_count; i++) {
        char labels[LABELS_LEN_MAX];
        int128 figure;
        if (!family->figure(&result->positions[i], now_us, &figure))
            continue;
        format_labels(&result->positions[i], labels);
        page_sample_scaled(page, family->name, labels, figure, family->fraction_digits);
    }
}

static void write_distribution(FILE *page, const char *name, const char *help,
                               const struct survey_distribution *distribution, unsigned sum_fraction_digits)
{
    struct page_buckets buckets = {.bounds = distribution->bounds,
                                   .counts = distribution->counts,
                                   .bound_count = distribution->bound_count,
                                   .sum = distribution->sum,
                                   .sum_fraction_digits = sum_fraction_digits};
    page_histogram(page, name, help, &buckets);
}

void positions_metrics_write(FILE *page, const struct survey_result *result, int64_t now_us)
{
    int128 oldest = 0;
    (void)age(result->oldest_price_at_us, now_us, &oldest);
    page_gauge(page, NAME("stale_prices"), "Open positions whose price is missing or older than the threshold.",
               result->stale_prices);
    if (result->oldest_price_at_us != TIME_NONE)
        page_gauge_scaled(page, NAME("oldest_price_age_seconds"), "Age of the oldest price of an open position.",
                          oldest, MICRO);
    write_distribution(page, NAME("open_position_exposure_usdt"), "Open positions by their exposure, now.",
                       &result->exposure, UNITS);
    write_distribution(page, NAME("open_position_held_seconds"), "Open positions by the time they are held, now.",
                       &result->held, MICRO);
    write_distribution(page, NAME("open_position_price_age_seconds"), "Open positions by their price's age, now.",
                       &result->price_age, MICRO);
    page_gauge(page, NAME("assets_without_series"), "Assets that have no series of their own (METRICS_ASSETS_MAX).",
               result->assets_left_out);
    for (size_t i = 0; result->position_count > 0 && i < sizeof families / sizeof families[0]; i++)
        write_family(page, result, now_us, &families[i]);
}
