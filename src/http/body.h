/*
 * body: the buffer in which a loop renders answers, and bodies that are kept and handed out by reference.
 *
 * The buffer grows and is reused, so that the steady state allocates nothing. A kept body is counted memory of libh2o:
 * each request that is being sent holds a reference, so it may be replaced meanwhile. Counts are not atomic. Thread:
 * one loop's.
 */
#ifndef PM_BODY_H
#define PM_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

/* What one rendering may grow to; beyond it the answer is INTERNAL instead of a process without memory. */
enum { BODY_LEN_LIMIT = 512 * 1024 * 1024 };

struct body {
    char *bytes;
    size_t len;
    size_t capacity;
    bool failed; /* a writer ran out of the room it asked for, or the limit was reached */
};

void body_finish(struct body *body);
void body_clear(struct body *body);

/* Opens a writer with at least `room` bytes behind what is there. Close it before the next. */
struct text body_open(struct body *body, size_t room);
void body_close(struct body *body, const struct text *text);

/* Appends a few bytes. */
void body_raw(struct body *body, const char *bytes, size_t len);
#define BODY_LITERAL(body, literal) body_raw((body), (literal), sizeof(literal) - 1)

struct kept_body {
    char *bytes; /* shared memory of libh2o, NULL: none yet */
    size_t len;
    uint64_t change_count; /* directory_change_count() before it was rendered */
    int64_t rendered_us;   /* steady */
};

/* Whether it still says what a new rendering would. ttl_us: how old it may be. */
bool kept_body_is_fresh(const struct kept_body *kept, uint64_t change_count, int64_t now_us, int64_t ttl_us);
/* Replaces what is kept by a copy of the body. */
void kept_body_set(struct kept_body *kept, const struct body *body, uint64_t change_count, int64_t now_us);
void kept_body_finish(struct kept_body *kept);

#endif
