/*
 * shorten.c: makes a failing story short: halves, quarters and so on down to single messages and steps are left out,
 * and numbers lowered, for as long as the same invariant breaks.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "judge.h"

struct shortening {
    struct story *story; /* the shortest so far */
    struct story *candidate;
    struct verdict *verdict; /* of the shortest */
    char invariant[sizeof((struct verdict *)NULL)->invariant];
    size_t tries;
    int64_t until_us;
};

static bool is_over(const struct shortening *shortening)
{
    return clock_steady_us() > shortening->until_us;
}

/* Takes the candidate over if it breaks the same. */
static bool try_candidate(struct shortening *shortening)
{
    struct verdict verdict;
    if (is_over(shortening))
        return false;
    shortening->tries++;
    judge(shortening->candidate, &verdict);
    if (verdict.held || strcmp(verdict.invariant, shortening->invariant) != 0)
        return false;
    *shortening->story = *shortening->candidate;
    *shortening->verdict = verdict;
    return true;
}

/* ---- leaving out ---- */

static void cut(void *items, size_t *count, size_t item_size, size_t first, size_t len)
{
    char *bytes = items;
    memmove(bytes + first * item_size, bytes + (first + len) * item_size, (*count - first - len) * item_size);
    *count -= len;
}

static bool leave_out(struct shortening *shortening, bool messages, size_t first, size_t len)
{
    struct story *candidate = shortening->candidate;
    *candidate = *shortening->story;
    if (messages)
        cut(candidate->messages, &candidate->message_count, sizeof candidate->messages[0], first, len);
    else
        cut(candidate->steps, &candidate->step_count, sizeof candidate->steps[0], first, len);
    return try_candidate(shortening);
}

static bool leave_out_all(struct shortening *shortening, bool messages)
{
    bool any = false;
    size_t *count = messages ? &shortening->story->message_count : &shortening->story->step_count;
    for (size_t len = *count / 2 + 1; len > 0; len /= 2) {
        for (size_t end = *count;
             end >= len && !is_over(shortening);) { /* from the end: what came last matters least */
            bool gone = leave_out(shortening, messages, end - len, len);
            any |= gone;
            end = gone && end - len > *count ? *count : end - len;
        }
    }
    return any;
}

/* ---- lowering ---- */

static bool lower_step(struct shortening *shortening, size_t index, bool second, uint64_t to)
{
    *shortening->candidate = *shortening->story;
    struct story_step *step = &shortening->candidate->steps[index];
    uint64_t *number = second ? &step->b : &step->a;
    if (to >= *number)
        return false;
    *number = to;
    return try_candidate(shortening);
}

static bool lower_steps(struct shortening *shortening)
{
    bool any = false;
    for (size_t i = 0; i < shortening->story->step_count * 2 && !is_over(shortening); i++) {
        const struct story_step *step = &shortening->story->steps[i / 2];
        bool second = i % 2 == 1;
        any |= lower_step(shortening, i / 2, second, 0) || lower_step(shortening, i / 2, second, 1);
        for (uint64_t now = second ? step->b : step->a; now > 1 && (lower_step(shortening, i / 2, second, now / 2) ||
                                                                    lower_step(shortening, i / 2, second, now - 1));
             now = second ? step->b : step->a)
            any = true;
    }
    return any;
}

static bool set_field(struct shortening *shortening, size_t index, size_t offset, int64_t to)
{
    *shortening->candidate = *shortening->story;
    int64_t *field = (int64_t *)(void *)((char *)&shortening->candidate->messages[index] + offset);
    if (*field == to || *field == STORY_NONE)
        return false;
    *field = to;
    return try_candidate(shortening);
}

#define OFFSET(name) offsetof(struct story_message, name)

static bool plain_messages(struct shortening *shortening)
{
    static const struct {
        size_t offset;
        int64_t plain;
    } plain[] = {
        {OFFSET(asset), 0},
        {OFFSET(hedge), 0},
        {OFFSET(sell), 0},
        {OFFSET(cumulative), 0},
        {OFFSET(reduce_only), 0},
        {OFFSET(order), STORY_NONE},
        {OFFSET(realized), STORY_NONE},
        {OFFSET(at), STORY_NONE},
        {OFFSET(fee), STORY_NONE},
        {OFFSET(digest), 1},
        {OFFSET(quantity), DECIMAL_ONE},
        {OFFSET(price), DECIMAL_ONE},
        {OFFSET(mark), DECIMAL_ONE},
    };
    bool any = false;
    for (size_t i = 0; i < shortening->story->message_count; i++)
        for (size_t j = 0; j < sizeof plain / sizeof plain[0]; j++)
            any |= set_field(shortening, i, plain[j].offset, plain[j].plain);
    return any;
}

static bool widen_batch(struct shortening *shortening)
{
    *shortening->candidate = *shortening->story;
    shortening->candidate->batch = WORLD_BATCH_MAX;
    return shortening->story->batch != WORLD_BATCH_MAX && try_candidate(shortening);
}

static bool lower_room(struct shortening *shortening)
{
    bool any = false;
    for (uint64_t room = 1; room < shortening->story->prefetch; room *= 2) {
        *shortening->candidate = *shortening->story;
        shortening->candidate->prefetch = room;
        if (try_candidate(shortening)) {
            any = true;
            break;
        }
    }
    *shortening->candidate = *shortening->story;
    shortening->candidate->announcements = 1;
    return any | (shortening->story->announcements > 1 && try_candidate(shortening));
}

size_t story_shorten(struct story *story, struct verdict *verdict, uint64_t seconds)
{
    struct shortening shortening = {.story = story,
                                    .candidate = malloc(sizeof *story),
                                    .verdict = verdict,
                                    .until_us = clock_steady_us() + (int64_t)seconds * 1000000};
    pm_assert(shortening.candidate != NULL && !verdict->held);
    memcpy(shortening.invariant, verdict->invariant, sizeof shortening.invariant);
    if (verdict->played < story->step_count) /* what would have come later */
        (void)leave_out(&shortening, false, verdict->played, story->step_count - verdict->played);
    for (bool any = true; any && !is_over(&shortening);) {
        any = leave_out_all(&shortening, false); /* first what takes the most time to play */
        any |= leave_out_all(&shortening, true);
        any |= plain_messages(&shortening);
        any |= lower_steps(&shortening);
        any |= lower_room(&shortening);
        any |= widen_batch(&shortening);
    }
    free(shortening.candidate);
    return shortening.tries;
}
