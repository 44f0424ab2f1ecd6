/*
 * simulate: plays the stories of seeds and stops at the first that breaks an invariant: names its seed, shortens the
 * story, tells it in words, and plays it again from a file.
 *
 *   simulate                    3000 seeds from 1
 *   simulate --seeds N          N seeds
 *   simulate --from S           starting with seed S
 *   simulate --seed S           that one only
 *   simulate --seconds N        as many seeds as N seconds allow (the long run)
 *   simulate --story FILE       plays the story in the file
 *   simulate --story-to FILE    writes the shortened story of a failure there, instead of telling it only
 *   simulate --tell S           prints the whole story of a seed
 *   simulate --shorten N        seconds to spend on shortening (60; 0: not at all)
 *
 * Ends with 0 if all held, 1 if one did not, 2 if it was not understood.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "log.h"

struct options {
    uint64_t from, count, seconds, shorten_seconds, tell;
    const char *story, *story_to;
};

static int usage(void)
{
    (void)fprintf(stderr, "usage: simulate [--seeds N] [--from S] [--seed S] [--seconds N] [--story FILE] "
                          "[--story-to FILE] [--tell S] [--shorten N]\n");
    return 2;
}

static bool read_option(struct options *options, const char *name, const char *text)
{
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 10);
    if (strcmp(name, "--story") == 0)
        options->story = text;
    else if (strcmp(name, "--story-to") == 0)
        options->story_to = text;
    else if (end == text || *end != '\0')
        return false;
    else if (strcmp(name, "--seeds") == 0)
        options->count = value;
    else if (strcmp(name, "--from") == 0)
        options->from = value;
    else if (strcmp(name, "--seed") == 0) {
        options->from = value;
        options->count = 1;
    } else if (strcmp(name, "--seconds") == 0) {
        options->seconds = value;
        options->count = UINT64_MAX;
    } else if (strcmp(name, "--shorten") == 0)
        options->shorten_seconds = value;
    else if (strcmp(name, "--tell") == 0)
        options->tell = value;
    else
        return false;
    return true;
}

static bool read_story(struct story *story, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return false;
    }
    int wrong = story_read(story, file);
    (void)fclose(file);
    if (wrong != 0)
        (void)fprintf(stderr, "%s:%d: not understood\n", path, wrong);
    return wrong == 0;
}

static void write_story(const struct story *story, const struct verdict *verdict, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return;
    }
    (void)fprintf(file, "# breaks \"%s\": %s\n", verdict->invariant, verdict->detail);
    story_print(story, file);
    (void)fclose(file);
    (void)printf("again with: simulate --story %s\n", path);
}

/* Shortens and tells a story that broke something. */
static void tell_failure(struct story *story, struct verdict *verdict, const struct options *options)
{
    size_t messages = story->message_count;
    size_t steps = verdict->played < story->step_count ? verdict->played : story->step_count;
    if (options->shorten_seconds > 0) {
        size_t tries = story_shorten(story, verdict, options->shorten_seconds);
        (void)printf("shortened from %zu messages and %zu steps to %zu messages and %zu steps in %zu tries: \"%s\": "
                     "%s\n\n",
                     messages, steps, story->message_count, story->step_count, tries, verdict->invariant,
                     verdict->detail);
    }
    story_print(story, stdout);
    (void)printf("\n");
    if (options->story_to != NULL)
        write_story(story, verdict, options->story_to);
}

static int play_file(struct story *story, const struct options *options)
{
    struct verdict verdict;
    if (!read_story(story, options->story))
        return 2;
    judge(story, &verdict);
    if (verdict.held) {
        (void)printf("the story holds: %zu messages, %zu steps\n", story->message_count, story->step_count);
        return 0;
    }
    (void)printf("%s breaks \"%s\" after %zu steps: %s\n", options->story, verdict.invariant, verdict.played,
                 verdict.detail);
    if (options->story_to != NULL)
        tell_failure(story, &verdict, options);
    return 1;
}

static int play_seeds(struct story *story, const struct options *options)
{
    struct tally tally;
    struct verdict verdict;
    uint64_t seed;
    if (judge_seeds(options->from, options->count, options->seconds, &seed, &verdict, &tally)) {
        (void)printf("%" PRIu64 " seeds held: %" PRIu64 " steps, %" PRIu64 " crashes, %" PRIu64 " conflicts, %" PRIu64
                     " repeats found at commit, %" PRIu64 " redeliveries, %" PRIu64 " announcements\n",
                     tally.seeds, tally.steps, tally.crashes, tally.conflicts, tally.repeats, tally.redeliveries,
                     tally.announcements);
        return 0;
    }
    (void)printf("seed %" PRIu64 " breaks \"%s\" after %zu steps: %s\nagain with: simulate --seed %" PRIu64 "\n", seed,
                 verdict.invariant, verdict.played, verdict.detail, seed);
    story_make(story, seed);
    judge(story, &verdict);
    if (verdict.held)
        (void)printf("played by itself it holds: it depends on something that is not in the story\n");
    else
        tell_failure(story, &verdict, options);
    return 1;
}

int main(int argc, char **argv)
{
    struct options options = {.from = 1, .count = 3000, .shorten_seconds = 60, .tell = UINT64_MAX};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !read_option(&options, argv[i], argv[i + 1]))
            return usage();
    log_set_level(LOG_LEVEL_ERROR);
    static struct story story;
    if (options.story != NULL)
        return play_file(&story, &options);
    if (options.tell == UINT64_MAX)
        return play_seeds(&story, &options);
    story_make(&story, options.tell);
    story_print(&story, stdout);
    return 0;
}
