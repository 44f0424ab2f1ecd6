/*
 * order_sums: what the fills of one transaction add to each order: one row an order, however many of its fills are
 * committed together. Keyed by order, asset and mode, as the table of orders is. Sums are exact.
 *
 * order_sums_clear(), order_sums_add() for each fill, then the entries in the order in which their first fill came.
 * Buffers are reused: no allocation in the steady state. Aborts without memory. Thread: one at a time.
 */
#ifndef PM_ORDER_SUMS_H
#define PM_ORDER_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "message.h"

struct order_sum {
    const struct delivery *first; /* names the order; borrowed, valid as long as the transaction's deliveries are */
    uint64_t hash;
    size_t place;
    struct order_total total;
};

struct order_sums {
    struct order_sum *entries; /* array; zero-initialised: none yet */
    size_t count;
    size_t capacity;  /* 0 or a power of two */
    uint32_t *places; /* twice the capacity; by hash: 1 + the index of an entry, 0: free */
};

void order_sums_clear(struct order_sums *sums);
/* Adds the fill of an execution that names an order. */
void order_sums_add(struct order_sums *sums, const struct delivery *delivery);
void order_sums_free(struct order_sums *sums);

#endif
