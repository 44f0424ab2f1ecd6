#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "directory.h"
#include "metrics_positions.h"
#include "metrics_survey.h"

enum { SECOND = 1000000, PARTS = 3 };
#define NOW ((int64_t)1700000000 * SECOND)

/* What a position is, in whole units; price 0: none. */
struct row {
    const char *asset;
    enum position_mode mode;
    int64_t size, price;
    int64_t held_s, price_age_s; /* 0 s held: nobody knows since when */
};

struct fixture {
    struct directory *directory;
    struct survey *survey;
    const struct survey_result *result;
    int64_t next_at_us;
};

static void publish(struct fixture *fixture, const struct row *row)
{
    struct position position;
    position_init(&position, row->asset, row->mode, (struct uuid){{0}}, 1);
    position.size = decimal_from_units((int128)row->size * DECIMAL_ONE);
    position.realized_pnl = decimal_from_units(DECIMAL_ONE / 2);
    if (row->mode == POSITION_MODE_HEDGE) {
        position.long_size = decimal_from_units((int128)(row->size > 0 ? row->size : 0) * DECIMAL_ONE);
        position.short_size = decimal_from_units((int128)(row->size < 0 ? -row->size : 0) * DECIMAL_ONE);
    }
    if (row->price != 0)
        position.current_price = decimal_from_units((int128)row->price * DECIMAL_ONE);
    position.price_updated_at_us = NOW - row->price_age_s * SECOND;
    position.opened_at_us = row->held_s != 0 ? NOW - row->held_s * SECOND : TIME_NONE;
    position.version = 1;
    (void)directory_publish(directory_part(fixture->directory, directory_part_index(fixture->directory, row->asset)),
                            &position);
}

static void fixture_init(struct fixture *fixture, size_t assets_max)
{
    fixture->directory = directory_create(PARTS);
    struct survey_settings settings = {
        .directory = fixture->directory, .assets_max = assets_max, .staleness_us = 300LL * SECOND};
    fixture->survey = survey_create(&settings);
    fixture->result = NULL;
}

static void fixture_look(struct fixture *fixture, int64_t steady_us)
{
    survey_put(fixture->survey, fixture->result);
    fixture->next_at_us =
        survey_receive(fixture->survey, NULL, 0, (struct actor_time){.wall_us = NOW, .steady_us = steady_us})
            .deadline_us;
    fixture->result = survey_get(fixture->survey);
}

static void fixture_finish(struct fixture *fixture)
{
    survey_put(fixture->survey, fixture->result);
    survey_destroy(fixture->survey);
    directory_destroy(fixture->directory);
}

static void expect_assets(const struct fixture *fixture, const char *expected, const char *name)
{
    char found[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < fixture->result->position_count; i++)
        len += (size_t)snprintf(found + len, sizeof found - len, "%s ", fixture->result->positions[i].asset);
    cr_expect_str_eq(found, expected, "%s", name);
}

static const struct row rows[] = {
    {"BUSDT", POSITION_MODE_ONE_WAY, 3, 100, 60, 1},   {"AUSDT", POSITION_MODE_ONE_WAY, -5, 100, 61, 2},
    {"CUSDT", POSITION_MODE_HEDGE, 2, 100, 3600, 301}, {"CUSDT", POSITION_MODE_ONE_WAY, -2, 100, 0, 300},
    {"DUSDT", POSITION_MODE_ONE_WAY, 9, 0, 100, 400},  {"EUSDT", POSITION_MODE_ONE_WAY, 0, 7000, 5, 5},
    {"FUSDT", POSITION_MODE_ONE_WAY, 1, 300, 1, 100},
};

Test(metrics_survey, open_assets_come_first_then_the_largest_exposure_then_the_name)
{
    static const struct {
        size_t assets_max;
        const char *assets;
        size_t left_out;
    } table[] = {
        {0, "", 6},
        {1, "AUSDT ", 5},
        {2, "AUSDT CUSDT CUSDT ", 4}, /* both modes count together: 400 */
        {3, "AUSDT BUSDT CUSDT CUSDT ", 3},
        {4, "AUSDT BUSDT CUSDT CUSDT FUSDT ", 2},
        {5, "AUSDT BUSDT CUSDT CUSDT DUSDT FUSDT ", 1}, /* open without a price before closed */
        {6, "AUSDT BUSDT CUSDT CUSDT DUSDT EUSDT FUSDT ", 0},
        {SURVEY_ASSETS_MAX, "AUSDT BUSDT CUSDT CUSDT DUSDT EUSDT FUSDT ", 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fixture fixture;
        char name[32];
        snprintf(name, sizeof name, "%zu assets", table[i].assets_max);
        fixture_init(&fixture, table[i].assets_max);
        for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
            publish(&fixture, &rows[row]);
        fixture_look(&fixture, 1);
        expect_assets(&fixture, table[i].assets, name);
        cr_expect_eq(fixture.result->assets_left_out, table[i].left_out, "%s", name);
        fixture_finish(&fixture);
    }
}

Test(metrics_survey, the_largest_of_thousands_are_those_that_sorting_finds)
{
    enum { COUNT = 5000, LARGEST = 37 };
    struct fixture fixture;
    fixture_init(&fixture, LARGEST);
    for (int64_t i = 0; i < COUNT; i++) {
        char asset[ASSET_LEN_MAX + 1];
        snprintf(asset, sizeof asset, "N%04dUSDT", (int)i);
        int64_t size = 1 + i * 2003 % COUNT; /* each size from 1 to COUNT once: 2003 is prime to it */
        publish(&fixture, &(struct row){asset, POSITION_MODE_ONE_WAY, i % 2 == 0 ? size : -size, 10, 1, 1});
    }
    fixture_look(&fixture, 1);
    cr_assert_eq(fixture.result->position_count, (size_t)LARGEST);
    for (size_t i = 0; i < LARGEST; i++) {
        cr_expect_gt(fixture.result->positions[i].exposure, (int128)10 * (COUNT - LARGEST) * DECIMAL_ONE);
        cr_expect(i == 0 || strcmp(fixture.result->positions[i - 1].asset, fixture.result->positions[i].asset) < 0);
    }
    cr_expect_eq(fixture.result->assets_left_out, (size_t)(COUNT - LARGEST));
    cr_expect_eq(fixture.result->exposure.sum, (int128)10 * COUNT * (COUNT + 1) / 2 * DECIMAL_ONE);
    fixture_finish(&fixture);
}

static uint64_t at_most(const struct survey_distribution *distribution, uint64_t bound)
{
    uint64_t count = 0;
    for (size_t i = 0; i < distribution->bound_count && distribution->bounds[i] <= bound; i++)
        count += distribution->counts[i];
    return count;
}

static uint64_t total(const struct survey_distribution *distribution)
{
    return at_most(distribution, UINT64_MAX) + distribution->counts[distribution->bound_count];
}

Test(metrics_survey, distributions_count_open_positions_by_what_is_known_of_them)
{
    struct fixture fixture;
    fixture_init(&fixture, 0);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        publish(&fixture, &rows[row]);
    publish(&fixture, &(struct row){"GUSDT", POSITION_MODE_ONE_WAY, 1, 100000001, 99999999, 100000});
    publish(&fixture, &(struct row){"HUSDT", POSITION_MODE_ONE_WAY, 1, 1, -5, -5}); /* a clock was set back */
    fixture_look(&fixture, 1);
    const struct survey_result *result = fixture.result;
    cr_expect_eq(total(&result->exposure), 7u, "the closed one and the one without a price are not in it");
    cr_expect_eq(at_most(&result->exposure, 1), 1u);
    cr_expect_eq(at_most(&result->exposure, 100), 1u);
    cr_expect_eq(at_most(&result->exposure, 1000), 6u);
    cr_expect_eq(at_most(&result->exposure, 100000000), 6u);
    cr_expect_eq(result->exposure.sum, ((int128)300 + 500 + 200 + 200 + 300 + 100000001 + 1) * DECIMAL_ONE);
    cr_expect_eq(total(&result->held), 7u, "nobody knows since when one is open");
    cr_expect_eq(at_most(&result->held, 60), 3u, "a bound belongs to what is below");
    cr_expect_eq(at_most(&result->held, 300), 5u);
    cr_expect_eq(at_most(&result->held, 7776000), 6u);
    cr_expect_eq(total(&result->price_age), 7u);
    cr_expect_eq(at_most(&result->price_age, 1), 2u);
    cr_expect_eq(at_most(&result->price_age, 300), 5u);
    cr_expect_eq(result->price_age.sum, ((int128)1 + 2 + 301 + 300 + 100 + 100000) * SECOND);
    cr_expect_eq(result->stale_prices, 3u, "older than the threshold, or missing");
    cr_expect_eq(result->oldest_price_at_us, NOW - 100000LL * SECOND);
    fixture_finish(&fixture);
}

Test(metrics_survey, it_looks_again_when_something_changed_and_now_and_then_anyway)
{
    struct fixture fixture;
    fixture_init(&fixture, 5);
    cr_expect_null(survey_get(fixture.survey), "there is nothing before the first look");
    int64_t start = 1000;
    fixture_look(&fixture, start);
    const struct survey_result *first = fixture.result;
    cr_assert_not_null(first);
    cr_expect_eq(first->position_count, 0u);
    cr_expect_eq(fixture.next_at_us, start + SURVEY_INTERVAL_US);
    publish(&fixture, &rows[0]);
    fixture_look(&fixture, start + SURVEY_INTERVAL_US - 1);
    cr_expect_eq(fixture.result, first, "too early");
    fixture_look(&fixture, start + SURVEY_INTERVAL_US);
    cr_expect_eq(fixture.result->position_count, 1u);
    const struct survey_result *second = fixture.result;
    fixture_look(&fixture, start + 2 * SURVEY_INTERVAL_US);
    cr_expect_eq(fixture.result, second, "nothing changed");
    const struct survey_result *kept = survey_get(fixture.survey);
    fixture_look(&fixture, start + SURVEY_INTERVAL_US + SURVEY_IDLE_US);
    cr_expect_neq(fixture.result, kept, "ages change by themselves");
    cr_expect_eq(kept->position_count, 1u, "what somebody holds stays");
    survey_put(fixture.survey, kept);
    fixture_finish(&fixture);
}

/* ---- the page ---- */

static char *page_of(const struct survey_result *result)
{
    char *text = NULL;
    size_t len = 0;
    FILE *page = open_memstream(&text, &len);
    fputs("\n", page);
    positions_metrics_write(page, result, NOW + SECOND / 2);
    fclose(page);
    return text;
}

Test(metrics_survey, the_page_has_what_is_known_of_each_position)
{
    static const char *const lines[] = {
        "position_manager_position_size{asset=\"AUSDT\",mode=\"one-way\"} -5",
        "position_manager_position_size{asset=\"CUSDT\",mode=\"hedge\"} 2",
        "position_manager_position_exposure_usdt{asset=\"AUSDT\",mode=\"one-way\"} 500",
        "position_manager_position_realized_pnl_usdt{asset=\"AUSDT\",mode=\"one-way\"} 0.5",
        "position_manager_position_unrealized_pnl_usdt{asset=\"AUSDT\",mode=\"one-way\"} 0",
        "position_manager_position_price_age_seconds{asset=\"CUSDT\",mode=\"one-way\"} 300.5",
        "position_manager_position_held_seconds{asset=\"BUSDT\",mode=\"one-way\"} 60.5",
        "position_manager_position_size{asset=\"EUSDT\",mode=\"one-way\"} 0",
        "position_manager_open_position_exposure_usdt_bucket{le=\"1000\"} 5",
        "position_manager_open_position_exposure_usdt_sum 1500",
        "position_manager_open_position_held_seconds_bucket{le=\"+Inf\"} 5",
        "position_manager_open_position_price_age_seconds_sum 704",
        "position_manager_stale_prices 2",
        "position_manager_oldest_price_age_seconds 301.5",
        "position_manager_assets_without_series 0",
    };
    static const char *const absent[] = {"exposure_usdt{asset=\"DUSDT\"", "price_age_seconds{asset=\"DUSDT\"",
                                         "held_seconds{asset=\"EUSDT\"",
                                         "held_seconds{asset=\"CUSDT\",mode=\"one-way\""};
    struct fixture fixture;
    fixture_init(&fixture, 10);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        publish(&fixture, &rows[row]);
    fixture_look(&fixture, 1);
    char *page = page_of(fixture.result);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char whole[256];
        snprintf(whole, sizeof whole, "\n%s\n", lines[i]);
        cr_expect_not_null(strstr(page, whole), "missing: %s", lines[i]);
    }
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        cr_expect_null(strstr(page, absent[i]), "%s", absent[i]);
    free(page);
    fixture_finish(&fixture);
}

Test(metrics_survey, switched_off_it_leaves_every_series_of_single_assets_out)
{
    struct fixture fixture;
    fixture_init(&fixture, 0);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
        publish(&fixture, &rows[row]);
    fixture_look(&fixture, 1);
    char *page = page_of(fixture.result);
    cr_expect_null(strstr(page, "position_manager_position_"));
    cr_expect_null(strstr(page, "asset="));
    cr_expect_not_null(strstr(page, "\nposition_manager_assets_without_series 6\n"));
    cr_expect_not_null(strstr(page, "\nposition_manager_open_position_held_seconds_count 5\n"));
    free(page);
    fixture_finish(&fixture);
}

Test(metrics_survey, names_that_a_wide_pattern_lets_in_are_escaped)
{
    struct fixture fixture;
    fixture_init(&fixture, 1);
    publish(&fixture, &(struct row){"\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\", POSITION_MODE_HEDGE, 1, 1, 1, 1});
    fixture_look(&fixture, 1);
    char *page = page_of(fixture.result);
    cr_expect_not_null(strstr(
        page,
        "position_size{asset=\"\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\\\"\\\\\",mode="
        "\"hedge\"} 1\n"));
    free(page);
    fixture_finish(&fixture);
}
