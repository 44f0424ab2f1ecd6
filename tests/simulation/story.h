/*
 * story: what happens in one run of the simulator, written out: the messages that upstream publishes and the steps,
 * each with its numbers. A seed becomes a story, the world plays it, and nothing else decides what happens; so a story
 * that fails can be shortened piece by piece, printed in words, kept in a file and played again.
 *
 * Whatever is left of a story is a story: a step that finds nothing to do does nothing. At the end everything is let
 * come to rest. Plain values. Thread: one.
 */
#ifndef PM_STORY_H
#define PM_STORY_H

#include <stdio.h>

#include "world.h"

enum { STORY_STEPS_MAX = 2500 };

/* Fields that do not apply, or are not said, are STORY_NONE. Figures are units of 10^-8. */
#define STORY_NONE INT64_MIN

struct story_message {
    int64_t market; /* 1: a market event; 0: an execution */
    int64_t asset;  /* 0 to WORLD_ASSETS_MAX-1, in words A to F */
    int64_t hedge, sell, cumulative, reduce_only;
    int64_t quantity, price, fee;       /* executions */
    int64_t identity, order;            /* executions: numbers of names */
    int64_t mark, realized, at, digest; /* market events; at: microseconds after the beginning */
};

enum story_op {
    OP_DELIVER,       /* a: how many at most */
    OP_SHARD,         /* a: which, b: messages at most */
    OP_AGGREGATOR,    /* a: messages at most */
    OP_TAKE_REQUESTS, /* the committer looks into its mailbox */
    OP_CARRY_OUT,     /* a: request */
    OP_ANSWER,        /* a: request */
    OP_PUBLISH,       /* the publisher takes what is there */
    OP_CONFIRM,       /* a: how many, b: picked by, 0: oldest first */
    OP_ACKNOWLEDGE,   /* the consumer takes what came home */
    OP_TIME,          /* a: microseconds */
    OP_FOREIGN,       /* a: row, b: enum world_foreign */
    OP_REFUSE,        /* a: row, whose next writing the database does not take */
    OP_DISK,          /* a: 1 stands still, 0 moves */
    OP_BROKER,        /* a: 1 takes no publications, 0 does */
    OP_LOSE_DATABASE, /* what was sent is answered only after the outcome was asked for; a: 1 the server cannot tell */
    OP_LOSE_CONSUMER,
    OP_CRASH, /* a: announcements that the next run may have unconfirmed */
    OP_QUIET, /* everything that was delivered comes to rest, and is looked at */
    OP_COUNT
};

struct story_step {
    uint8_t op; /* enum story_op */
    uint64_t a, b;
};

struct story {
    uint64_t prefetch, announcements;
    uint64_t batch; /* what an actor takes at once while everything comes to rest */
    size_t message_count, step_count;
    struct story_message messages[WORLD_MESSAGES_MAX];
    struct story_step steps[STORY_STEPS_MAX];
};

/* ---- story.c ---- */
/* The story of a seed: messages of all kinds, and steps under a weather of its own. */
void story_make(struct story *story, uint64_t seed);
/*
 * Plays it in a fresh world, to the end or until world->broken is set; *played is the number of steps begun. The caller
 * owes world_finish().
 */
void story_play(const struct story *story, struct world *world, size_t *played);

/* ---- story_text.c ---- */
void story_print(const struct story *story, FILE *file);
/* Reads what story_print() wrote; lines that start with '#' are skipped. Returns 0, or the number of the wrong line. */
int story_read(struct story *story, FILE *file);

#endif
