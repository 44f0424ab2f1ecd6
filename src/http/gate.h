/*
 * gate: who may ask, and how often (contract §2.1). Pure: the time is passed in.
 *
 * Keys are compared in the same time for any wrong key: each is kept in a block of fixed size and every block is looked
 * at in full. A key's budget is a token bucket of its limit's size that refills evenly over a minute. The bucket is one
 * atomic number, the steady time at which it will be full again, so the loops share it without a lock.
 */
#ifndef PM_GATE_H
#define PM_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { GATE_KEY_LEN_MAX = 256 };

struct gate;

/* What the bucket said about one request; all for the RateLimit-* headers. */
struct gate_verdict {
    bool allowed;
    uint32_t limit;
    uint32_t remaining;
    uint32_t reset_s;       /* until the bucket is full again, rounded up */
    uint32_t retry_after_s; /* at least 1 where not allowed, else 0 */
};

/* Owns: the caller. limited: false hands out verdicts that always allow. Thread: one, before the gate is shared. */
struct gate *gate_create(bool limited);
void gate_destroy(struct gate *gate);

/*
 * Adds a key. A key that is there already takes the new limit. A limit of 0 allows nothing.
 * Thread: one, before the gate is shared. Fails: STATUS_INVALID (empty, or longer than GATE_KEY_LEN_MAX).
 */
enum status gate_add_key(struct gate *gate, const char *text, uint32_t limit_per_minute) PM_MUST_USE;

/* The index of a key, or -1. Thread: any. */
int gate_find_key(const struct gate *gate, const char *text, size_t len);

/* Takes one token of a key's bucket. now_us: steady. Thread: any. */
struct gate_verdict gate_take(struct gate *gate, int key, int64_t now_us);

#endif
