#define _GNU_SOURCE /* memfd_create */

#include "judge.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"

enum { STORY_SECONDS_MAX = 20, SEEDS_PER_DOUBLE = 16 };

/* What the two processes share. */
struct court {
    struct verdict verdict;
    struct tally tally;
    uint64_t seed; /* under way */
};

/* ---- inside the process that plays ---- */

static struct world *play(const struct story *story, struct verdict *verdict)
{
    struct world *world = malloc(sizeof *world);
    pm_assert(world != NULL);
    story_play(story, world, &verdict->played);
    verdict->held = world->broken == NULL;
    if (!verdict->held) {
        (void)snprintf(verdict->invariant, sizeof verdict->invariant, "%s", world->broken);
        (void)snprintf(verdict->detail, sizeof verdict->detail, "%s", world->broken_detail);
    }
    return world;
}

static uint64_t end_world(struct world *world)
{
    uint64_t digest = world_digest(world);
    world_finish(world);
    free(world);
    return digest;
}

static void add_up(struct tally *tally, const struct world *world, const struct verdict *verdict)
{
    tally->seeds++;
    tally->steps += verdict->played;
    tally->crashes += world->crash_count;
    tally->conflicts += world->conflict_count;
    tally->repeats += world->repeat_count;
    tally->redeliveries += world->redelivery_count;
    tally->announcements += world->announcement_count;
}

static void play_seed(struct story *story, struct court *court)
{
    struct verdict *verdict = &court->verdict;
    (void)alarm(STORY_SECONDS_MAX); /* whoever hangs is ended */
    story_make(story, court->seed);
    struct world *world = play(story, verdict);
    add_up(&court->tally, world, verdict);
    uint64_t digest = end_world(world);
    if (!verdict->held || court->seed % SEEDS_PER_DOUBLE != 0)
        return;
    if (digest == end_world(play(story, verdict)) || !verdict->held)
        return;
    verdict->held = false;
    (void)snprintf(verdict->invariant, sizeof verdict->invariant, "replayable");
    (void)snprintf(verdict->detail, sizeof verdict->detail, "the same story went another way the second time");
}

/* ---- the two processes ---- */

static struct court *court_open(void)
{
    struct court *court = mmap(NULL, sizeof *court, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pm_assert(court != MAP_FAILED);
    return court;
}

/* The text of a failed assert in what the process left on its standard error; else what is there at all. */
static void name_end(struct verdict *verdict, int last_words, int status)
{
    char text[2048];
    ssize_t len = pread(last_words, text, sizeof text - 1, 0);
    text[len < 0 ? 0 : len] = '\0';
    (void)snprintf(verdict->detail, sizeof verdict->detail, "%.*s", (int)strcspn(text, "\n"), text);
    verdict->held = false;
    const char *assertion = strstr(text, "assertion failed");
    const char *expression = assertion == NULL ? NULL : strstr(assertion, ": ");
    if (expression != NULL)
        (void)snprintf(verdict->invariant, sizeof verdict->invariant, "assert: %.*s",
                       (int)strcspn(expression + 2, "\n"), expression + 2);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        (void)snprintf(verdict->invariant, sizeof verdict->invariant, "liveness: it hangs");
    else
        (void)snprintf(verdict->invariant, sizeof verdict->invariant, "the process ended (%d)",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void wait_for(pid_t child, int last_words, struct court *court)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        pm_assert(errno == EINTR);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        name_end(&court->verdict, last_words, status);
    (void)close(last_words);
}

static pid_t fork_speaking_into(int last_words)
{
    (void)fflush(NULL);
    pid_t child = fork();
    pm_assert(child >= 0);
    if (child == 0) {
        (void)dup2(last_words, STDERR_FILENO);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would look at what it finds */
    }
    return child;
}

void judge(const struct story *story, struct verdict *verdict)
{
    struct court *court = court_open();
    int last_words = memfd_create("last-words", 0);
    pid_t child = fork_speaking_into(last_words);
    if (child == 0) {
        (void)alarm(STORY_SECONDS_MAX);
        (void)play(story, &court->verdict);
        _exit(0);
    }
    wait_for(child, last_words, court);
    *verdict = court->verdict;
    (void)munmap(court, sizeof *court);
}

bool judge_seeds(uint64_t from, uint64_t count, uint64_t seconds, uint64_t *seed, struct verdict *verdict,
                 struct tally *tally)
{
    struct court *court = court_open();
    court->verdict.held = true;
    int last_words = memfd_create("last-words", 0);
    pid_t child = fork_speaking_into(last_words);
    if (child == 0) {
        struct story *story = malloc(sizeof *story);
        pm_assert(story != NULL);
        int64_t until_us = clock_steady_us() + (int64_t)seconds * 1000000;
        for (uint64_t i = 0; i < count && court->verdict.held; i++) {
            if (seconds != 0 && clock_steady_us() > until_us)
                break;
            court->seed = from + i;
            play_seed(story, court);
        }
        free(story);
        exit(0); /* so that a leak is told */
    }
    wait_for(child, last_words, court);
    *seed = court->seed;
    *verdict = court->verdict;
    *tally = court->tally;
    (void)munmap(court, sizeof *court);
    return verdict->held;
}
