#include <stdlib.h>

#include "check.h"
#include "directory_inside.h"

enum { SLAB_OBJECTS = 32 };

/* Objects follow the head, each aligned as the largest of their members (128-bit integers) wants it. */
struct pool_slab {
    _Alignas(16) struct pool_slab *next;
};

void pool_init(struct pool *pool, struct directory *directory, size_t object_bytes)
{
    pm_assert(object_bytes % _Alignof(struct pool_slab) == 0);
    *pool = (struct pool){.object_bytes = object_bytes, .directory = directory};
}

void pool_finish(struct pool *pool)
{
    while (pool->slabs != NULL) {
        struct pool_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    pool->free = NULL;
}

static void grow(struct pool *pool)
{
    struct pool_slab *slab =
        aligned_alloc(_Alignof(struct pool_slab), sizeof *slab + SLAB_OBJECTS * pool->object_bytes);
    pm_assert(slab != NULL);
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->slab_count++;
    char *object = (char *)(slab + 1);
    for (size_t i = 0; i < SLAB_OBJECTS; i++, object += pool->object_bytes) {
        struct pool_node *node = (struct pool_node *)(void *)object;
        node->pool = pool;
        node->next = pool->free;
        pool->free = node;
    }
}

void *pool_get(struct pool *pool)
{
    if (pool->free == NULL)
        grow(pool);
    struct pool_node *node = pool->free;
    pool->free = node->next;
    return node;
}

/* Called by ck_epoch_poll() on the writer's thread. */
static void on_grace_period_over(ck_epoch_entry_t *entry)
{
    struct pool_node *node = (struct pool_node *)entry; /* its first member */
    TSAN_ACQUIRE(node->pool->directory);                /* pairs with TSAN_RELEASE in directory_end() */
    node->next = node->pool->free;
    node->pool->free = node;
}

void pool_retire(ck_epoch_record_t *record, struct pool_node *node)
{
    ck_epoch_call(record, &node->retired, on_grace_period_over);
}
