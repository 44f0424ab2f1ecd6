#include "metrics_survey.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "encode.h"
#include "metrics_largest.h"
#include "portfolio.h"

enum { SECOND_US = 1000000 };

/* A result and how many hold it, the survey itself included while it is the newest. */
struct held_result {
    size_t holders;
    struct survey_result result;
};

struct survey {
    struct survey_settings settings;
    struct directory_reader *reader; /* the actor's */
    uint64_t change_count;           /* at the last look */
    int64_t look_at_us;              /* steady; not before this */
    int64_t look_anyway_us;
    pthread_mutex_t lock; /* of newest and of all holders; held for a few instructions */
    struct held_result *newest;
};

static const uint64_t exposure_bounds[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
static const uint64_t held_bounds[] = {60, 300, 900, 3600, 14400, 43200, 86400, 259200, 604800, 2592000, 7776000};
static const uint64_t price_age_bounds[] = {1, 5, 15, 30, 60, 120, 300, 900, 3600, 86400};

enum {
    EXPOSURE_BOUND_COUNT = sizeof exposure_bounds / sizeof exposure_bounds[0],
    HELD_BOUND_COUNT = sizeof held_bounds / sizeof held_bounds[0],
    PRICE_AGE_BOUND_COUNT = sizeof price_age_bounds / sizeof price_age_bounds[0],
};
_Static_assert((int)HELD_BOUND_COUNT <= (int)SURVEY_BOUNDS_MAX, "the longest list of bounds fits");

/* One look at everything. */
struct look {
    const struct survey *survey;
    int64_t now_us; /* wall */
    struct survey_distribution exposure, held, price_age;
    struct wide exposure_sum;
    int64_t oldest_price_at_us;
    uint64_t stale_prices;
    struct asset_positions asset; /* whose positions are just being visited; count 0: none */
    struct largest largest;
};

/* ---- what one position adds ---- */

static void observe_exposure(struct look *look, struct wide exposure)
{
    /* Exposure counts 10^-16, a bound whole ones: two steps of DECIMAL_ONE. */
    size_t i = 0;
    while (i < EXPOSURE_BOUND_COUNT &&
           wide_compare(exposure, wide_multiply((int128)exposure_bounds[i] * DECIMAL_ONE, DECIMAL_ONE)) > 0)
        i++;
    look->exposure.counts[i]++;
    look->exposure_sum = wide_add(look->exposure_sum, exposure);
}

/* A clock that was set back makes no negative age. */
static int64_t age_us(int64_t at_us, int64_t now_us)
{
    return at_us < now_us ? now_us - at_us : 0;
}

static void observe_age(struct survey_distribution *distribution, int64_t age)
{
    size_t i = 0;
    while (i < distribution->bound_count && age > (int64_t)distribution->bounds[i] * SECOND_US)
        i++;
    distribution->counts[i]++;
    distribution->sum += age;
}

static void observe_open(struct look *look, const struct position *position, struct wide exposure)
{
    if (position_price_is_stale(position, look->now_us, look->survey->settings.staleness_us))
        look->stale_prices++;
    if (position->opened_at_us != TIME_NONE)
        observe_age(&look->held, age_us(position->opened_at_us, look->now_us));
    if (decimal_is_none(position->current_price))
        return;
    observe_exposure(look, exposure);
    if (position->price_updated_at_us == TIME_NONE)
        return;
    observe_age(&look->price_age, age_us(position->price_updated_at_us, look->now_us));
    if (look->oldest_price_at_us == TIME_NONE || position->price_updated_at_us < look->oldest_price_at_us)
        look->oldest_price_at_us = position->price_updated_at_us;
}

static void finish_asset(struct look *look)
{
    if (look->asset.count > 0)
        largest_offer(&look->largest, &look->asset);
    look->asset = (struct asset_positions){.count = 0};
}

static void visit(void *context, const struct position *position)
{
    struct look *look = context;
    struct asset_positions *asset = &look->asset;
    /* The two modes of an asset are neighbours. */
    if (asset->count > 0 && strcmp(asset->positions[0]->asset, position->asset) != 0)
        finish_asset(look);
    int128 price = decimal_or_zero(position->current_price).units;
    struct wide exposure = wide_multiply(position_gross_units(position), price);
    bool is_open = position_is_open(position);
    pm_assert(asset->count < ASSET_POSITIONS_MAX);
    asset->positions[asset->count++] = position;
    asset->exposure = wide_add(asset->exposure, exposure);
    asset->is_open |= is_open;
    if (is_open)
        observe_open(look, position, exposure);
}

/* ---- the result ---- */

static void copy_position(struct survey_position *to, const struct position *position)
{
    int128 price = decimal_or_zero(position->current_price).units;
    *to = (struct survey_position){
        .size = position->size.units,
        .exposure = portfolio_round(wide_multiply(position_gross_units(position), price)),
        .unrealized_pnl = position->unrealized_pnl.units,
        .realized_pnl = position->realized_pnl.units,
        .price_updated_at_us = position->price_updated_at_us,
        .opened_at_us = position_is_open(position) ? position->opened_at_us : TIME_NONE,
        .is_priced = !decimal_is_none(position->current_price),
        .mode = (enum position_mode)position->mode,
    };
    memcpy(to->asset, position->asset, sizeof to->asset);
}

static struct held_result *make_result(struct look *look)
{
    size_t position_count = 0;
    for (size_t i = 0; i < look->largest.count; i++)
        position_count += look->largest.assets[i].count;
    struct held_result *held = calloc(1, sizeof *held + position_count * sizeof held->result.positions[0]);
    pm_assert(held != NULL);
    look->exposure.sum = portfolio_round(look->exposure_sum);
    held->result = (struct survey_result){
        .exposure = look->exposure,
        .held = look->held,
        .price_age = look->price_age,
        .oldest_price_at_us = look->oldest_price_at_us,
        .stale_prices = look->stale_prices,
        .assets_left_out = look->largest.offered - look->largest.count,
    };
    for (size_t i = 0; i < look->largest.count; i++) {
        const struct asset_positions *asset = &look->largest.assets[i];
        for (size_t j = 0; j < asset->count; j++)
            copy_position(&held->result.positions[held->result.position_count++], asset->positions[j]);
    }
    return held;
}

static struct held_result *look_at_everything(struct survey *survey, int64_t now_us)
{
    struct look look = {
        .survey = survey,
        .now_us = now_us,
        .exposure = {.bounds = exposure_bounds, .bound_count = EXPOSURE_BOUND_COUNT},
        .held = {.bounds = held_bounds, .bound_count = HELD_BOUND_COUNT},
        .price_age = {.bounds = price_age_bounds, .bound_count = PRICE_AGE_BOUND_COUNT},
        .oldest_price_at_us = TIME_NONE,
    };
    largest_init(&look.largest, survey->settings.assets_max);
    directory_begin(survey->reader);
    directory_visit(survey->reader, visit, &look);
    finish_asset(&look);
    largest_sort(&look.largest);
    struct held_result *held = make_result(&look); /* the positions are the section's */
    directory_end(survey->reader);
    largest_finish(&look.largest);
    return held;
}

/* ---- who holds it ---- */

static void let_go(struct survey *survey, struct held_result *held)
{
    (void)pthread_mutex_lock(&survey->lock);
    bool is_last = --held->holders == 0;
    (void)pthread_mutex_unlock(&survey->lock);
    if (is_last)
        free(held);
}

static void publish(struct survey *survey, struct held_result *held)
{
    held->holders = 1;
    (void)pthread_mutex_lock(&survey->lock);
    struct held_result *before = survey->newest;
    survey->newest = held;
    (void)pthread_mutex_unlock(&survey->lock);
    if (before != NULL)
        let_go(survey, before);
}

const struct survey_result *survey_get(struct survey *survey)
{
    (void)pthread_mutex_lock(&survey->lock);
    struct held_result *held = survey->newest;
    if (held != NULL)
        held->holders++;
    (void)pthread_mutex_unlock(&survey->lock);
    return held == NULL ? NULL : &held->result;
}

void survey_put(struct survey *survey, const struct survey_result *result)
{
    if (result != NULL)
        let_go(survey, (struct held_result *)((char *)(uintptr_t)result - offsetof(struct held_result, result)));
}

/* ---- the actor ---- */

struct actor_plan survey_receive(void *context, struct message **batch, size_t count, struct actor_time now)
{
    struct survey *survey = context;
    (void)batch;
    pm_assert(count == 0);
    if (now.steady_us >= survey->look_at_us) {
        survey->look_at_us = now.steady_us + SURVEY_INTERVAL_US;
        uint64_t change_count = directory_change_count(survey->settings.directory);
        if (change_count != survey->change_count || now.steady_us >= survey->look_anyway_us) {
            survey->change_count = change_count;
            survey->look_anyway_us = now.steady_us + SURVEY_IDLE_US;
            publish(survey, look_at_everything(survey, now.wall_us));
        }
    }
    return (struct actor_plan){.deadline_us = survey->look_at_us};
}

struct survey *survey_create(const struct survey_settings *settings)
{
    pm_assert(settings->assets_max <= SURVEY_ASSETS_MAX);
    struct survey *survey = calloc(1, sizeof *survey);
    pm_assert(survey != NULL);
    survey->settings = *settings;
    survey->reader = directory_reader_register(settings->directory);
    (void)pthread_mutex_init(&survey->lock, NULL);
    return survey;
}

void survey_destroy(struct survey *survey)
{
    if (survey == NULL)
        return;
    if (survey->newest != NULL)
        let_go(survey, survey->newest);
    directory_reader_unregister(survey->reader);
    (void)pthread_mutex_destroy(&survey->lock);
    free(survey);
}
