/*
 * simulate: runs worlds from seeds and stops at the first that breaks an invariant, naming its seed.
 *
 *   simulate                 600 seeds from 1
 *   simulate --seeds N       N seeds
 *   simulate --from S        starting with seed S
 *   simulate --seed S        that one only, then says what happened in it
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "world.h"

enum { STEPS_MAX = 4000 };

struct tally {
    uint64_t steps, crashes, conflicts, repeats, redeliveries, announcements;
};

static bool run_seed(uint64_t seed, struct tally *tally)
{
    struct world *world = malloc(sizeof *world);
    if (world == NULL)
        return false;
    world_init(world, seed);
    world_make_stream(world, 50 + world_random(world, WORLD_MESSAGES_MAX - 60));
    for (uint64_t i = 0; i < STEPS_MAX && world->broken == NULL; i++)
        world_step(world);
    if (world->broken == NULL)
        world_settle(world);
    if (world->broken == NULL)
        world_check_settled(world);
    bool whole = world->broken == NULL;
    if (!whole)
        (void)printf("seed %" PRIu64 " breaks \"%s\" after %" PRIu64 " steps: %s\n", seed, world->broken, world->steps,
                     world->broken_detail);
    tally->steps += world->steps;
    tally->crashes += world->crash_count;
    tally->conflicts += world->conflict_count;
    tally->repeats += world->repeat_count;
    tally->redeliveries += world->redelivery_count;
    tally->announcements += world->announcement_count;
    world_finish(world);
    free(world);
    return whole;
}

int main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t count = 600;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seeds") == 0) {
            count = value;
        } else if (strcmp(argv[i], "--from") == 0) {
            from = value;
        } else if (strcmp(argv[i], "--seed") == 0) {
            from = value;
            count = 1;
        } else {
            (void)fprintf(stderr, "usage: simulate [--seeds N] [--from S] [--seed S]\n");
            return 2;
        }
    }
    log_set_level(LOG_LEVEL_ERROR);
    struct tally tally = {0};
    for (uint64_t seed = from; seed < from + count; seed++) {
        if (!run_seed(seed, &tally)) {
            (void)printf("again with: simulate --seed %" PRIu64 "\n", seed);
            return 1;
        }
    }
    (void)printf("%" PRIu64 " seeds held: %" PRIu64 " steps, %" PRIu64 " crashes, %" PRIu64 " conflicts, %" PRIu64
                 " repeats found at commit, %" PRIu64 " redeliveries, %" PRIu64 " announcements\n",
                 count, tally.steps, tally.crashes, tally.conflicts, tally.repeats, tally.redeliveries,
                 tally.announcements);
    return 0;
}
