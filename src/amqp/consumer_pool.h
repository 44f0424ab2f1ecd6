/*
 * consumer_pool: the memory of deliveries, bounded in number, and of their bodies, counted in bytes.
 *
 * Deliveries are made when first needed, so that an idle service stays small: as many again as there are, so that what
 * is taken behind a backlog soon stays the same however its bursts fall. They are kept until the end. Each body has a
 * block of its own, as long as it came. Internal to the consumer. Thread: the consumer's.
 */
#ifndef PM_CONSUMER_POOL_H
#define PM_CONSUMER_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "message.h"
#include "status.h"

enum { POOL_BODY_LEN_MAX = 1 << 30 }; /* no broker carries more (RabbitMQ: 512 MiB) */

/* A delivery and what only the consumer needs to know of it. */
struct pooled_delivery {
    struct delivery delivery; /* first: the two share an address */
    uint32_t slot;            /* in the window of its generation */
};

struct consumer_slab;

struct consumer_pool {
    struct consumer_slab *slabs;
    struct delivery *free; /* by head.next */
    size_t capacity;
    size_t made; /* deliveries, in use or free */
    size_t in_use;
    size_t bodies_len; /* of all bodies together */
};

/* Owns: the caller; finish frees all, also what is not home. */
void consumer_pool_init(struct consumer_pool *pool, size_t capacity);
void consumer_pool_finish(struct consumer_pool *pool);

/* An empty delivery; NULL when all are in use or memory is short. */
struct delivery *consumer_pool_get(struct consumer_pool *pool);
/* Takes it back with its body. NULL is accepted. */
void consumer_pool_put(struct consumer_pool *pool, struct delivery *delivery);

/* Makes room for a body of len bytes in .body and sets .body_len. Fails: STATUS_FULL (no memory, or beyond
 * POOL_BODY_LEN_MAX). */
enum status consumer_pool_body(struct consumer_pool *pool, struct delivery *delivery, size_t len) PM_MUST_USE;
/* Keeps a copy of the content type; the usual one costs no memory. */
void consumer_pool_content_type(struct delivery *delivery, const char *text, size_t len);

#endif
