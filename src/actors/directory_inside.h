/*
 * directory_inside: what the writing half (directory.c), the reading half (directory_reader.c) and the memory
 * (directory_pool.c) of the directory share. For nobody else.
 *
 * Pointers that cross threads are C11 atomics; only the grace periods are ck_epoch's. ThreadSanitizer cannot see those,
 * so the end of a section is told to it as a release, and the reuse of memory as an acquire.
 */
#ifndef PM_DIRECTORY_INSIDE_H
#define PM_DIRECTORY_INSIDE_H

#include <ck_epoch.h>
#include <pthread.h>
#include <stdatomic.h>

#include "directory.h"
#include "tsan.h"

enum { DIRECTORY_CACHE_LINE = 64 };

/* ---- memory of one kind, for one part; only its writer touches it ---- */

/* The head of what is retired and used again. */
struct pool_node {
    ck_epoch_entry_t retired; /* while readers may still look */
    struct pool *pool;
    struct pool_node *next; /* while free */
};

struct pool {
    size_t object_bytes;
    struct pool_node *free;
    struct pool_slab *slabs;
    struct directory *directory;
    size_t slab_count;
};

void pool_init(struct pool *pool, struct directory *directory, size_t object_bytes);
void pool_finish(struct pool *pool);
/* A node to be written anew. Grows by a slab if none is free. Fails: never (aborts without memory). */
void *pool_get(struct pool *pool);
/* Gives a node back after a grace period. record: the calling writer's. */
void pool_retire(ck_epoch_record_t *record, struct pool_node *node);

/* ---- what readers reach ---- */

/* A position's state; immutable while published. */
struct view {
    struct pool_node node;
    struct position position;
};

/* A part's totals; immutable while published. */
struct totals_view {
    struct pool_node node;
    struct portfolio_totals totals;
};

struct directory_slot {
    struct view *_Atomic view;    /* never NULL once the slot can be found */
    struct directory_slot *older; /* added before this one; constant once the slot can be found */
    uint32_t hash;
    uint8_t mode;
    char asset[ASSET_LEN_MAX + 1];
};

/* Open addressing, at most half full, insert only. A bigger one takes its place; the old one is freed after a grace
 * period. */
struct slot_table {
    ck_epoch_entry_t retired;
    struct directory *directory;
    size_t mask;
    struct directory_slot *_Atomic places[];
};

/* Part and place in the table come from different bits, so that a part's table is filled evenly. */
static inline uint32_t table_hash(uint64_t asset_hash, enum position_mode mode)
{
    return (uint32_t)(asset_hash >> 32) + (uint32_t)mode;
}

/* Finds a slot, or NULL. Thread: the part's writer, or a reader inside a section. */
struct directory_slot *slot_table_find(const struct slot_table *table, uint32_t hash, const char *asset,
                                       enum position_mode mode);

struct slot_slab;

struct directory_part {
    /* readers look here, the writer stores */
    _Alignas(DIRECTORY_CACHE_LINE) struct slot_table *_Atomic table;
    struct totals_view *_Atomic totals;
    struct directory_slot *_Atomic newest; /* the last slot added; the others by ->older */
    atomic_size_t slot_count;

    /* the writer's own */
    _Alignas(DIRECTORY_CACHE_LINE) ck_epoch_record_t record;
    struct directory *directory;
    struct pool views;
    struct pool totals_views;
    struct slot_slab *slot_slabs;
    unsigned publications_since_poll;
};

struct directory {
    ck_epoch_t epoch;
    size_t part_count;
    pthread_mutex_t readers_lock; /* registration only */
    struct directory_reader *readers;

    /* publications begun << 8 | under way; see directory_change_count() */
    _Alignas(DIRECTORY_CACHE_LINE) atomic_uint_fast64_t changes;

    struct directory_part parts[];
};

/* Frees what the readers kept. For directory_destroy(). */
void directory_readers_finish(struct directory *directory);

#endif
