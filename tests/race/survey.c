/*
 * A writer, a survey that looks again and again, and pages that take its results and put them back. A result that is
 * freed under a page's eyes, or of which two looks share a piece, shows: every figure of a position is tied to its
 * size.
 */
#include "metrics_survey.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "metrics_positions.h"

enum { ASSETS = 200, SHOWN = 40, ROUNDS = 300, PAGES = 2, PAGES_MIN = 20 };

static struct directory *directory;
static struct survey *survey;
static atomic_bool is_over;
static atomic_uint_fast64_t page_count;

static void publish(int number, int64_t size)
{
    char asset[ASSET_LEN_MAX + 1];
    struct position position;
    (void)snprintf(asset, sizeof asset, "A%05dUSDT", number);
    position_init(&position, asset, POSITION_MODE_ONE_WAY, (struct uuid){{0}}, 1);
    position.size = decimal_from_units(size * DECIMAL_ONE);
    position.current_price = decimal_from_units(3 * (int128)DECIMAL_ONE);
    position.price_updated_at_us = size;
    position.opened_at_us = 2 * size;
    position.realized_pnl = decimal_from_units(5 * size);
    position.version = 1;
    (void)directory_publish(directory_part(directory, 0), &position);
}

static void *write_all(void *argument)
{
    (void)argument;
    /* Until the others have had their turns, however late a busy machine lets them begin. */
    for (int64_t round = 1; round <= ROUNDS || atomic_load(&page_count) < PAGES_MIN; round++) {
        for (int number = 0; number < ASSETS; number++)
            publish(number, round * ASSETS + number);
    }
    atomic_store(&is_over, true);
    return NULL;
}

static void *look(void *argument)
{
    (void)argument;
    struct actor_time now = {.wall_us = 1000000000, .steady_us = 1};
    while (!atomic_load(&is_over)) {
        now.steady_us += SURVEY_IDLE_US;
        (void)survey_receive(survey, NULL, 0, now);
    }
    return NULL;
}

static void check_result(const struct survey_result *result)
{
    pm_assert(result->position_count <= SHOWN && (result->position_count == SHOWN) == (result->assets_left_out > 0));
    for (size_t i = 0; i < result->position_count; i++) {
        const struct survey_position *position = &result->positions[i];
        int64_t size = (int64_t)(position->size / DECIMAL_ONE);
        pm_assert(position->exposure == 3 * position->size && position->realized_pnl == 5 * size);
        pm_assert(position->price_updated_at_us == size && position->opened_at_us == 2 * size);
        pm_assert(i == 0 || strcmp(result->positions[i - 1].asset, position->asset) < 0);
    }
}

static void *make_pages(void *argument)
{
    (void)argument;
    static char pages[PAGES][1 << 20];
    static atomic_size_t taken;
    char *memory = pages[atomic_fetch_add(&taken, 1)];
    while (!atomic_load(&is_over)) {
        const struct survey_result *result = survey_get(survey);
        if (result == NULL)
            continue;
        check_result(result);
        FILE *page = fmemopen(memory, sizeof pages[0], "w");
        pm_assert(page != NULL);
        positions_metrics_write(page, result, 2000000000);
        (void)fclose(page);
        survey_put(survey, result);
        (void)atomic_fetch_add(&page_count, 1);
    }
    return NULL;
}

int main(void)
{
    directory = directory_create(1);
    struct survey_settings settings = {.directory = directory, .assets_max = SHOWN, .staleness_us = 1};
    survey = survey_create(&settings);
    pthread_t threads[2 + PAGES];
    pm_assert(pthread_create(&threads[0], NULL, look, NULL) == 0);
    for (size_t i = 0; i < PAGES; i++)
        pm_assert(pthread_create(&threads[1 + i], NULL, make_pages, NULL) == 0);
    pm_assert(pthread_create(&threads[1 + PAGES], NULL, write_all, NULL) == 0);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        pm_assert(pthread_join(threads[i], NULL) == 0);
    pm_assert(atomic_load(&page_count) >= PAGES_MIN);
    survey_destroy(survey);
    directory_destroy(directory);
    (void)printf("survey: %llu pages\n", (unsigned long long)atomic_load(&page_count));
    return 0;
}
