/*
 * orders: what each order has contributed so far (contract §3.2, "nested, cumulative"), as a shard knows it.
 *
 * A slot holds the committed total, if it is known, and the sum of what is applied and not yet committed; both are
 * exact, so taking an effect back is a subtraction. Slots of deliveries on their way are counted and stay; of the
 * others the most recently used ones are kept as a cache, up to a bound. Keyed by order, asset and mode. Thread: the
 * shard's.
 */
#ifndef PM_ORDERS_H
#define PM_ORDERS_H

#include "message.h"

struct orders;
struct order_slot;

/* cached_count_max: slots kept for orders nobody is waiting for. Owns: the caller. */
struct orders *orders_create(size_t cached_count_max);
void orders_destroy(struct orders *orders);

/* The slot of an execution's order, made if it is not there, counted once more; give it back with orders_put. */
struct order_slot *orders_get(struct orders *orders, const struct delivery *delivery);
void orders_put(struct orders *orders, struct order_slot *slot);

/* Whether the committed total is known. */
bool order_is_known(const struct order_slot *slot);
/* Says the committed total, as the database has it. */
void order_set_committed(struct order_slot *slot, const struct order_total *committed);
/* Forgets it: it must be asked for again. */
void order_forget(struct order_slot *slot);

/* Committed and pending together; an unknown committed total counts as zero (enough for incremental executions). */
struct order_total order_total_now(const struct order_slot *slot);

/* A fill's effect was applied, taken back, or committed. */
void order_apply(struct order_slot *slot, const struct fill *fill);
void order_take_back(struct order_slot *slot, const struct fill *fill);
void order_commit(struct order_slot *slot, const struct fill *fill);

/* Drops every slot that nobody holds: someone else has written to the tables. */
void orders_drop_cached(struct orders *orders);

#endif
