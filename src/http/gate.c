#include "gate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { GATE_KEY_WORDS = GATE_KEY_LEN_MAX / 8 };

#define MINUTE_NS 60000000000LL
#define SECOND_NS 1000000000LL

/* A key's text, padded with zeros, and its length: equal blocks are equal keys. */
struct gate_block {
    uint64_t words[GATE_KEY_WORDS];
    uint64_t len;
};

/* A cache line of its own, so that busy keys do not slow each other down. */
struct gate_key {
    _Alignas(64) atomic_int_fast64_t full_at_ns;
    int64_t token_ns; /* the time in which one token grows */
    uint32_t limit;
    struct gate_block block;
};

struct gate {
    struct gate_key *keys;
    size_t count;
    bool limited;
};

static void gate_block_fill(struct gate_block *block, const char *text, size_t len)
{
    memset(block, 0, sizeof *block);
    memcpy(block->words, text, len);
    block->len = len;
}

struct gate *gate_create(bool limited)
{
    struct gate *gate = calloc(1, sizeof *gate);
    pm_assert(gate != NULL);
    gate->limited = limited;
    return gate;
}

void gate_destroy(struct gate *gate)
{
    if (gate == NULL)
        return;
    free(gate->keys);
    free(gate);
}

static void gate_key_set_limit(struct gate_key *key, uint32_t limit)
{
    key->limit = limit;
    key->token_ns = limit == 0 ? MINUTE_NS : MINUTE_NS / limit;
    atomic_init(&key->full_at_ns, INT64_MIN);
}

enum status gate_add_key(struct gate *gate, const char *text, uint32_t limit_per_minute)
{
    size_t len = strlen(text);
    if (len == 0 || len > GATE_KEY_LEN_MAX)
        return STATUS_INVALID;
    int known = gate_find_key(gate, text, len);
    if (known >= 0) {
        gate_key_set_limit(&gate->keys[known], limit_per_minute);
        return STATUS_OK;
    }
    struct gate_key *keys = aligned_alloc(_Alignof(struct gate_key), (gate->count + 1) * sizeof *keys);
    pm_assert(keys != NULL);
    if (gate->count > 0)
        memcpy(keys, gate->keys, gate->count * sizeof *keys);
    free(gate->keys);
    gate->keys = keys;
    struct gate_key *key = &keys[gate->count++];
    memset(key, 0, sizeof *key);
    gate_block_fill(&key->block, text, len);
    gate_key_set_limit(key, limit_per_minute);
    return STATUS_OK;
}

/* No early end: the time must not tell how much of a key was right. */
static uint64_t gate_block_difference(const struct gate_block *a, const struct gate_block *b)
{
    uint64_t difference = a->len ^ b->len;
    for (size_t i = 0; i < GATE_KEY_WORDS; i++)
        difference |= a->words[i] ^ b->words[i];
    return difference;
}

int gate_find_key(const struct gate *gate, const char *text, size_t len)
{
    if (len == 0 || len > GATE_KEY_LEN_MAX)
        return -1;
    struct gate_block asked;
    gate_block_fill(&asked, text, len);
    int found = -1;
    for (size_t i = 0; i < gate->count; i++) {
        uint64_t difference = gate_block_difference(&asked, &gate->keys[i].block);
        int mask = -(int)(difference == 0); /* all ones where equal */
        found = (found & ~mask) | ((int)i & mask);
    }
    return found;
}

static uint32_t seconds_up(int64_t ns)
{
    return ns <= 0 ? 0 : (uint32_t)((ns + SECOND_NS - 1) / SECOND_NS);
}

/* missing_ns: how much of the bucket has still to grow. */
static struct gate_verdict gate_verdict_of(const struct gate_key *key, bool allowed, int64_t missing_ns)
{
    struct gate_verdict verdict = {.allowed = allowed, .limit = key->limit, .reset_s = seconds_up(missing_ns)};
    int64_t room_ns = (int64_t)key->limit * key->token_ns - missing_ns;
    verdict.remaining = room_ns <= 0 ? 0 : (uint32_t)(room_ns / key->token_ns);
    if (!allowed) {
        verdict.retry_after_s = seconds_up(key->token_ns - room_ns);
        if (verdict.retry_after_s == 0)
            verdict.retry_after_s = 1;
    }
    return verdict;
}

struct gate_verdict gate_take(struct gate *gate, int key_index, int64_t now_us)
{
    pm_assert(key_index >= 0 && (size_t)key_index < gate->count);
    struct gate_key *key = &gate->keys[key_index];
    if (!gate->limited)
        return (struct gate_verdict){.allowed = true, .limit = key->limit, .remaining = key->limit};
    int64_t now_ns = now_us * 1000;
    int64_t size_ns = (int64_t)key->limit * key->token_ns;
    int64_t full_at_ns = atomic_load_explicit(&key->full_at_ns, memory_order_relaxed);
    for (;;) {
        int64_t missing_ns = full_at_ns > now_ns ? full_at_ns - now_ns : 0;
        int64_t after_ns = missing_ns + key->token_ns;
        if (after_ns > size_ns)
            return gate_verdict_of(key, false, missing_ns);
        /* Nothing but the number itself is shared, so no order with other memory is needed. */
        if (atomic_compare_exchange_weak_explicit(&key->full_at_ns, &full_at_ns, now_ns + after_ns,
                                                  memory_order_relaxed, memory_order_relaxed))
            return gate_verdict_of(key, true, after_ns);
    }
}
