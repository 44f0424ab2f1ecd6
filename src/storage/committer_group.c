/*
 * A group, from its requests to an outcome for each item. Normally that is one transaction. Where it fails, the group
 * is tried again without the items that spoilt it (repeats, conflicts), or in halves where the reason is not visible (a
 * lock that somebody holds, a value that the server refuses), so that healthy items are never held up by others for
 * long. Rows that were in the way are remembered and for a while tried only by themselves.
 */
#include "committer_state.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"

/* How long a statement waits for a lock (ms): a whole group; its parts, when a lock is being looked for; a row that had
 * one. */
#define GROUP_LOCK_TIMEOUT "500"
#define PART_LOCK_TIMEOUT  "50"
#define TRIAL_LOCK_TIMEOUT "20"

enum {
    LOCK_FAILURES_MAX = 16, /* in one group; then what is left is not tried, but redone */
    TRIAL_FAILURES_MAX = 4, /* the same of rows tried by themselves */
    UNEXPLAINED_MAX = 3,    /* attempts that failed without a visible reason, before the group is halved */
    HOLD_MIN_US = 50000,
    HOLD_MAX_US = 1000000,
    RANGES_MAX = 64, /* halving twice 2^31 items needs fewer */
};

/* ---- suspects ---- */

static struct suspect *find_suspect(struct committer *committer, const struct uuid *id)
{
    for (size_t i = 0; i < committer->suspect_count; i++) {
        if (uuid_is_equal(&committer->suspects[i].id, id))
            return &committer->suspects[i];
    }
    return NULL;
}

static void hold(struct committer *committer, struct group_member *member)
{
    const struct position *row = &member->item->row;
    member->state = MEMBER_HELD;
    if (member->is_refused) { /* no lock that may end soon: the shard decides how often it tries */
        LOG_EVENT(LOG_LEVEL_WARNING, "position_row_refused", NULL, log_text("asset", row->asset),
                  log_text("mode", position_mode_word((enum position_mode)row->mode)),
                  log_text("sqlstate", committer->connection.sqlstate));
        return;
    }
    struct suspect *suspect = find_suspect(committer, &row->id);
    if (suspect == NULL) {
        LOG_EVENT(LOG_LEVEL_WARNING, "position_row_blocked", NULL, log_text("asset", row->asset),
                  log_text("mode", position_mode_word((enum position_mode)row->mode)),
                  log_text("sqlstate", committer->connection.sqlstate));
        if (committer->suspect_count == SUSPECTS_MAX)
            return;
        suspect = &committer->suspects[committer->suspect_count++];
        *suspect = (struct suspect){.id = row->id, .hold_us = HOLD_MIN_US / 2};
    }
    suspect->hold_us = suspect->hold_us * 2 < HOLD_MAX_US ? suspect->hold_us * 2 : HOLD_MAX_US;
    suspect->until_us = clock_steady_us() + suspect->hold_us;
}

static void forget_suspect(struct committer *committer, const struct uuid *id)
{
    struct suspect *suspect = find_suspect(committer, id);
    if (suspect != NULL)
        *suspect = committer->suspects[--committer->suspect_count];
}

/* Those of which only the row is asked for are told of it when the others are committed. */
static void set_reloads_aside(struct committer *committer)
{
    for (size_t i = 0; i < committer->member_count; i++) {
        if (committer->members[i].item->reload)
            committer->members[i].state = MEMBER_SET_ASIDE;
    }
}

/* Sets those aside that are known to be in the way. */
static void screen(struct committer *committer)
{
    if (committer->suspect_count == 0)
        return;
    const int64_t now_us = clock_steady_us();
    for (size_t i = 0; i < committer->member_count; i++) {
        const struct suspect *suspect = find_suspect(committer, &committer->members[i].item->row.id);
        if (suspect != NULL && committer->members[i].state == MEMBER_TODO)
            committer->members[i].state = suspect->until_us > now_us ? MEMBER_HELD : MEMBER_TRIAL;
    }
}

/* ---- one identity twice in a group ---- */

struct named {
    const struct asked *asked;
    size_t place;
};

static int compare_named(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    const int order = strcmp(a->asked->delivery->identity, b->asked->delivery->identity);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

/*
 * The first stays; the item of the second waits until the first is committed and then finds it. Within one item that
 * cannot be: there the second is marked as a repeat of the first, which stays unacknowledged until it is committed.
 */
static void separate_twins(const struct named *named, size_t count)
{
    for (size_t i = 1, first = 0; i < count; i++) {
        if (strcmp(named[i].asked->delivery->identity, named[first].asked->delivery->identity) != 0) {
            first = i;
            continue;
        }
        named[i].asked->member->has_known_identity = true;
        if (named[i].asked->member != named[first].asked->member)
            continue;
        named[i].asked->delivery->identity_known = true;
        named[i].asked->delivery->known_fingerprint = named[first].asked->delivery->fingerprint;
    }
}

/* Of what was asked last. Only after a failed attempt, so it may allocate. */
static void find_twins(struct committer *committer)
{
    struct named *named = calloc(committer->asked.count + 1, sizeof *named);
    pm_assert(named != NULL);
    size_t count = 0;
    for (size_t i = 0; i < committer->asked.count; i++) {
        const struct asked *asked = &committer->asked.entries[i];
        if (committer_has_identity(asked->delivery) && asked->delivery->journal.wanted && asked->member != NULL)
            named[count++] = (struct named){.asked = asked, .place = i};
    }
    qsort(named, count, sizeof *named, compare_named);
    separate_twins(named, count);
    free(named);
}

/* ---- ranges ---- */

static size_t count_todo(const struct committer *committer, size_t first, size_t last, size_t *any)
{
    size_t count = 0;
    for (size_t i = first; i < last; i++) {
        if (committer->members[i].state == MEMBER_TODO) {
            count++;
            *any = i;
        }
    }
    return count;
}

static void set_todo(struct committer *committer, size_t first, size_t last, enum member_state state)
{
    for (size_t i = first; i < last; i++) {
        if (committer->members[i].state == MEMBER_TODO)
            committer->members[i].state = state;
    }
}

/* Sets aside what spoilt the transaction. *found: whether anything did. */
static enum status set_offenders_aside(struct committer *committer, size_t first, size_t last, bool *found)
{
    const enum status status = committer_ask_with_rows(committer, first, last, MEMBER_TODO);
    if (status != STATUS_OK)
        return status;
    find_twins(committer);
    *found = false;
    for (size_t i = first; i < last; i++) {
        struct group_member *member = &committer->members[i];
        if (member->state == MEMBER_TODO && (member->has_known_identity || member->row_differs)) {
            member->state = MEMBER_SET_ASIDE;
            *found = true;
        }
    }
    return STATUS_OK;
}

struct range {
    size_t first, last;
};

struct ranges {
    struct range stack[RANGES_MAX];
    size_t count;
};

static void push_range(struct ranges *ranges, size_t first, size_t last)
{
    pm_assert(ranges->count < RANGES_MAX);
    ranges->stack[ranges->count++] = (struct range){first, last};
}

static void push_halves(struct ranges *ranges, size_t first, size_t last)
{
    const size_t middle = first + (last - first) / 2;
    push_range(ranges, middle, last);
    push_range(ranges, first, middle);
}

/* What blocks a range is found by halving it; a lock that everything waits for is not looked for at every row. */
static void split_blocked(struct committer *committer, struct ranges *ranges, struct range range)
{
    size_t any = range.first;
    if (pg_error_is(&committer->connection, "55P03"))
        committer->lock_failures++;
    if (count_todo(committer, range.first, range.last, &any) == 1) {
        /* A column that somebody added since: the next connection's statements fill it. */
        committer->has_stale_statements |= pg_error_is(&committer->connection, "23502");
        committer->members[any].is_refused = committer_is_row_refused(&committer->connection);
        hold(committer, &committer->members[any]);
    } else if (committer->lock_failures > LOCK_FAILURES_MAX)
        set_todo(committer, range.first, range.last, MEMBER_HELD);
    else
        push_halves(ranges, range.first, range.last);
}

static void split_unexplained(struct committer *committer, struct ranges *ranges, struct range range)
{
    size_t any = range.first;
    if (count_todo(committer, range.first, range.last, &any) > 1) {
        push_halves(ranges, range.first, range.last);
        return;
    }
    committer->members[any].unexplained = true;
    committer->members[any].state = MEMBER_SET_ASIDE;
}

/* Commits what can be committed of a range, or puts parts of it onto the stack. Fails: STATUS_STOPPING. */
static enum status run_range(struct committer *committer, struct ranges *ranges, struct range range,
                             const char *lock_timeout)
{
    size_t any;
    int unexplained = 0;
    while (count_todo(committer, range.first, range.last, &any) > 0) {
        bool found = false;
        switch (committer_attempt(committer, range.first, range.last, lock_timeout)) {
        case ATTEMPT_DONE:
            set_todo(committer, range.first, range.last, MEMBER_DONE);
            return STATUS_OK;
        case ATTEMPT_MISMATCH:
            if (set_offenders_aside(committer, range.first, range.last, &found) != STATUS_OK)
                return STATUS_STOPPING;
            if (!found && ++unexplained == UNEXPLAINED_MAX) {
                split_unexplained(committer, ranges, range);
                return STATUS_OK;
            }
            break;
        case ATTEMPT_BLOCKED:
            split_blocked(committer, ranges, range);
            return STATUS_OK;
        case ATTEMPT_AGAIN:
            break;
        case ATTEMPT_STOPPING:
            return STATUS_STOPPING;
        }
    }
    return STATUS_OK;
}

static enum status run_ranges(struct committer *committer, size_t first, size_t last, const char *lock_timeout)
{
    struct ranges ranges = {.count = 0};
    push_range(&ranges, first, last);
    while (ranges.count > 0) {
        const struct range range = ranges.stack[--ranges.count];
        const enum status status = run_range(committer, &ranges, range, lock_timeout);
        if (status != STATUS_OK)
            return status;
        lock_timeout = PART_LOCK_TIMEOUT;
    }
    return STATUS_OK;
}

static enum status run_trials(struct committer *committer)
{
    size_t failures = 0;
    for (size_t i = 0; i < committer->member_count; i++) {
        struct group_member *member = &committer->members[i];
        if (member->state != MEMBER_TRIAL)
            continue;
        member->state = failures < TRIAL_FAILURES_MAX ? MEMBER_TODO : MEMBER_HELD;
        const enum status status = run_ranges(committer, i, i + 1, TRIAL_LOCK_TIMEOUT);
        if (status != STATUS_OK)
            return status;
        failures += member->state == MEMBER_HELD;
        if (member->state == MEMBER_DONE)
            forget_suspect(committer, &member->item->row.id);
    }
    return STATUS_OK;
}

/* ---- outcomes ---- */

static void decide(const struct group_member *member)
{
    struct commit_item *item = member->item;
    item->outcome = COMMIT_REDO;
    if (member->row_unusable || member->is_refused) {
        item->outcome = COMMIT_REFUSED;
        return;
    }
    if (member->row_differs || member->unexplained)
        item->outcome = COMMIT_CONFLICT;
}

/* Items that are not done are told what is committed now that the others are. */
static void decide_all(struct committer *committer, bool stopping)
{
    size_t left = 0;
    for (size_t i = 0; i < committer->member_count; i++) {
        struct group_member *member = &committer->members[i];
        member->item->outcome = member->state == MEMBER_DONE ? COMMIT_DONE : COMMIT_REDO;
        left += member->state != MEMBER_DONE;
    }
    static const enum member_state states[] = {MEMBER_SET_ASIDE, MEMBER_HELD};
    for (size_t s = 0; left > 0 && !stopping && s < sizeof states / sizeof states[0]; s++) {
        if (committer_ask_with_rows(committer, 0, committer->member_count, states[s]) != STATUS_OK)
            return;
        find_twins(committer);
        for (size_t i = 0; i < committer->member_count; i++) {
            if (committer->members[i].state == states[s])
                decide(&committer->members[i]);
        }
    }
}

/* Rows are written in the order of their identifiers, so that two writers who both do so cannot deadlock. No
 * allocation. */
static void sort_members(struct group_member *members, size_t count)
{
    for (size_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (size_t i = gap; i < count; i++) {
            const struct group_member moving = members[i];
            size_t at = i;
            for (; at >= gap && memcmp(&members[at - gap].item->row.id, &moving.item->row.id, sizeof(struct uuid)) > 0;
                 at -= gap)
                members[at] = members[at - gap];
            members[at] = moving;
        }
    }
}

void committer_run_group(struct committer *committer)
{
    committer->lock_failures = 0;
    sort_members(committer->members, committer->member_count);
    set_reloads_aside(committer);
    screen(committer);
    enum status status = run_ranges(committer, 0, committer->member_count, GROUP_LOCK_TIMEOUT);
    if (status == STATUS_OK)
        status = run_trials(committer);
    if (committer->has_stale_statements)
        committer_drop_connection(committer, "statements are stale");
    committer->has_stale_statements = false;
    decide_all(committer, status != STATUS_OK);
}
