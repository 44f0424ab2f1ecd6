#include "consumer_pool.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { SLAB_COUNT_MIN = 32 };

struct consumer_slab {
    struct consumer_slab *next;
    size_t count;
    struct pooled_delivery items[];
};

static char content_type_json[] = "application/json";

void consumer_pool_init(struct consumer_pool *pool, size_t capacity)
{
    *pool = (struct consumer_pool){.capacity = capacity};
}

static void free_parts(struct delivery *delivery)
{
    free(delivery->body);
    if (delivery->content_type != content_type_json)
        free(delivery->content_type);
    delivery->body = NULL;
    delivery->content_type = NULL;
}

void consumer_pool_finish(struct consumer_pool *pool)
{
    while (pool->slabs != NULL) {
        struct consumer_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        for (size_t i = 0; i < slab->count; i++)
            free_parts(&slab->items[i].delivery);
        free(slab);
    }
    *pool = (struct consumer_pool){0};
}

/* As many as there are, as far as capacity and memory allow. */
static void make_slab(struct consumer_pool *pool)
{
    size_t count = pool->made > SLAB_COUNT_MIN ? pool->made : SLAB_COUNT_MIN;
    if (count > pool->capacity - pool->made)
        count = pool->capacity - pool->made;
    struct consumer_slab *slab;
    while ((slab = calloc(1, sizeof *slab + count * sizeof slab->items[0])) == NULL)
        if ((count /= 2) == 0)
            return;
    slab->next = pool->slabs;
    slab->count = count;
    pool->slabs = slab;
    pool->made += count;
    for (size_t i = count; i-- > 0;) {
        slab->items[i].delivery.head.next = pool->free != NULL ? &pool->free->head : NULL;
        pool->free = &slab->items[i].delivery;
    }
}

struct delivery *consumer_pool_get(struct consumer_pool *pool)
{
    if (pool->in_use >= pool->capacity)
        return NULL;
    if (pool->free == NULL)
        make_slab(pool);
    struct delivery *delivery = pool->free;
    if (delivery == NULL)
        return NULL;
    pool->free = (struct delivery *)delivery->head.next;
    pool->in_use++;
    memset(delivery, 0, sizeof *delivery);
    return delivery;
}

void consumer_pool_put(struct consumer_pool *pool, struct delivery *delivery)
{
    if (delivery == NULL)
        return;
    pm_assert(pool->in_use > 0 && pool->bodies_len >= delivery->body_len);
    pool->bodies_len -= delivery->body_len;
    free_parts(delivery);
    delivery->head.next = pool->free != NULL ? &pool->free->head : NULL;
    pool->free = delivery;
    pool->in_use--;
}

enum status consumer_pool_body(struct consumer_pool *pool, struct delivery *delivery, size_t len)
{
    pm_assert(delivery->body == NULL);
    if (len > POOL_BODY_LEN_MAX)
        return STATUS_FULL;
    delivery->body = malloc(len > 0 ? len : 1);
    if (delivery->body == NULL)
        return STATUS_FULL;
    delivery->body_len = len;
    pool->bodies_len += len;
    return STATUS_OK;
}

void consumer_pool_content_type(struct delivery *delivery, const char *text, size_t len)
{
    if (len == sizeof content_type_json - 1 && memcmp(text, content_type_json, len) == 0)
        delivery->content_type = content_type_json;
    else
        delivery->content_type = strndup(text, len);
}
