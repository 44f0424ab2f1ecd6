/* Stories: from a seed, as text, and played. */
#define _GNU_SOURCE /* open_memstream, fmemopen */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "log.h"

static void quiet(void)
{
    log_set_level(LOG_LEVEL_ERROR);
}

TestSuite(story, .init = quiet);

static struct story first, second;

static int read_text(const char *text)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    int wrong = story_read(&second, file);
    (void)fclose(file);
    return wrong;
}

Test(story, what_is_printed_reads_back_as_the_same_story)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        char *text = NULL;
        size_t len = 0;
        story_make(&first, seed);
        FILE *file = open_memstream(&text, &len);
        story_print(&first, file);
        (void)fclose(file);
        cr_assert_eq(read_text(text), 0, "seed %u", (unsigned)seed);
        free(text);
        cr_assert_eq(first.message_count, second.message_count);
        cr_assert_eq(first.step_count, second.step_count);
        cr_assert_eq(first.prefetch, second.prefetch);
        cr_expect(memcmp(first.messages, second.messages, first.message_count * sizeof first.messages[0]) == 0);
        for (size_t i = 0; i < first.step_count; i++)
            cr_assert(first.steps[i].op == second.steps[i].op && first.steps[i].a == second.steps[i].a &&
                          first.steps[i].b == second.steps[i].b,
                      "seed %u, step %zu", (unsigned)seed, i);
    }
}

Test(story, a_line_that_is_not_understood_is_named)
{
    static const struct {
        const char *text;
        int wrong;
    } rows[] = {
        {"# words\nprefetch 3\nthe broker delivers 2\n", 0},
        {"the broker delivers\n", 1},
        {"prefetch 0\n", 1},
        {"\nmessage asset=A quantity=1\n", 2},
        {"message asset=Z quantity=1 price=1\n", 1},
        {"message asset=A quantity=1 price=1 colour=3\n", 1},
        {"message asset=A quantity=1 price=1\nthe service dies\n", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(read_text(rows[i].text), rows[i].wrong, "%s", rows[i].text);
}

Test(story, the_same_story_goes_the_same_way_each_time)
{
    uint64_t digests[2];
    for (size_t i = 0; i < 2; i++) {
        struct world *world = malloc(sizeof *world);
        size_t played = 0;
        story_make(&first, 5);
        story_play(&first, world, &played);
        cr_assert_null(world->broken, "%s: %s", world->broken, world->broken_detail);
        digests[i] = world_digest(world);
        world_finish(world);
        free(world);
    }
    cr_expect_eq(digests[0], digests[1]);
}

#define NO_ROOM "assert: capacities[i] >= 1 && capacities[i] <= CAPACITY_MAX"

/* Without room for announcements no mailbox can be made: an assert, which the judge has to live through. */
static void make_failing(void)
{
    story_make(&first, 5);
    first.announcements = 0;
}

Test(story, an_assert_is_a_verdict_with_its_expression)
{
    struct verdict verdict;
    make_failing();
    judge(&first, &verdict);
    cr_expect_not(verdict.held);
    cr_expect_str_eq(verdict.invariant, NO_ROOM);
}

Test(story, a_failing_story_is_shortened_to_what_it_needs)
{
    struct verdict verdict;
    make_failing();
    cr_assert_gt(first.step_count, 0);
    judge(&first, &verdict);
    size_t tries = story_shorten(&first, &verdict, 300);
    cr_expect_gt(tries, 0);
    cr_expect_eq(first.message_count, 0, "it does not take a message");
    cr_expect_eq(first.step_count, 0, "nor a step");
    cr_expect_str_eq(verdict.invariant, NO_ROOM);
}
