#include "orders.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { BUCKETS = 8192 };

struct order_slot {
    struct order_slot *bucket_next;
    struct order_slot *newer, *older; /* in the list of cached ones, while references is 0 */
    struct order_total committed;
    struct order_total pending;
    uint64_t hash;
    uint32_t references;
    bool is_known;
    uint8_t mode;
    char asset[ASSET_LEN_MAX + 1];
    char key[ORDER_KEY_LEN_MAX + 1];
};

struct orders {
    struct order_slot *buckets[BUCKETS];
    struct order_slot *newest, *oldest; /* cached */
    struct order_slot *free;            /* by bucket_next */
    size_t cached_count;
    size_t cached_count_max;
};

struct orders *orders_create(size_t cached_count_max)
{
    struct orders *orders = calloc(1, sizeof *orders);
    pm_assert(orders != NULL);
    orders->cached_count_max = cached_count_max;
    return orders;
}

void orders_destroy(struct orders *orders)
{
    if (orders == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (orders->buckets[i] != NULL) {
            struct order_slot *slot = orders->buckets[i];
            orders->buckets[i] = slot->bucket_next;
            free(slot);
        }
    }
    while (orders->free != NULL) {
        struct order_slot *slot = orders->free;
        orders->free = slot->bucket_next;
        free(slot);
    }
    free(orders);
}

static void cached_unlink(struct orders *orders, struct order_slot *slot)
{
    if (slot->newer != NULL)
        slot->newer->older = slot->older;
    else
        orders->newest = slot->older;
    if (slot->older != NULL)
        slot->older->newer = slot->newer;
    else
        orders->oldest = slot->newer;
    slot->newer = slot->older = NULL;
    orders->cached_count--;
}

static void cached_link_newest(struct orders *orders, struct order_slot *slot)
{
    slot->older = orders->newest;
    slot->newer = NULL;
    if (orders->newest != NULL)
        orders->newest->newer = slot;
    else
        orders->oldest = slot;
    orders->newest = slot;
    orders->cached_count++;
}

static void slot_release(struct orders *orders, struct order_slot *slot)
{
    struct order_slot **link = &orders->buckets[slot->hash % BUCKETS];
    while (*link != slot)
        link = &(*link)->bucket_next;
    *link = slot->bucket_next;
    slot->bucket_next = orders->free;
    orders->free = slot;
}

static struct order_slot *slot_new(struct orders *orders, const struct delivery *delivery, uint64_t hash)
{
    struct order_slot *slot = orders->free;
    if (slot != NULL)
        orders->free = slot->bucket_next;
    else
        slot = malloc(sizeof *slot);
    pm_assert(slot != NULL);
    *slot = (struct order_slot){.hash = hash,
                                .committed = ORDER_TOTAL_ZERO,
                                .pending = ORDER_TOTAL_ZERO,
                                .mode = delivery->said.execution.mode};
    memcpy(slot->asset, delivery->asset, sizeof slot->asset);
    memcpy(slot->key, delivery->order_key, sizeof slot->key);
    slot->bucket_next = orders->buckets[hash % BUCKETS];
    orders->buckets[hash % BUCKETS] = slot;
    return slot;
}

struct order_slot *orders_get(struct orders *orders, const struct delivery *delivery)
{
    uint64_t hash = xhash64(delivery->order_key, strlen(delivery->order_key)) ^
                    xhash64(delivery->asset, strlen(delivery->asset)) * 31 ^ delivery->said.execution.mode;
    struct order_slot *slot = orders->buckets[hash % BUCKETS];
    while (slot != NULL && !(slot->hash == hash && slot->mode == delivery->said.execution.mode &&
                             strcmp(slot->asset, delivery->asset) == 0 && strcmp(slot->key, delivery->order_key) == 0))
        slot = slot->bucket_next;
    if (slot == NULL)
        slot = slot_new(orders, delivery, hash);
    else if (slot->references == 0)
        cached_unlink(orders, slot);
    slot->references++;
    return slot;
}

void orders_put(struct orders *orders, struct order_slot *slot)
{
    pm_assert(slot->references > 0);
    if (--slot->references > 0)
        return;
    if (!slot->is_known) {
        slot_release(orders, slot);
        return;
    }
    cached_link_newest(orders, slot);
    if (orders->cached_count > orders->cached_count_max) {
        struct order_slot *oldest = orders->oldest;
        cached_unlink(orders, oldest);
        slot_release(orders, oldest);
    }
}

bool order_is_known(const struct order_slot *slot)
{
    return slot->is_known;
}

void order_set_committed(struct order_slot *slot, const struct order_total *committed)
{
    slot->committed = *committed;
    slot->is_known = true;
}

void order_forget(struct order_slot *slot)
{
    slot->committed = ORDER_TOTAL_ZERO;
    slot->is_known = false;
}

struct order_total order_total_now(const struct order_slot *slot)
{
    struct order_total total = slot->committed;
    order_total_add(&total, &slot->pending);
    return total;
}

void order_apply(struct order_slot *slot, const struct fill *fill)
{
    struct order_total addend = order_total_of(fill);
    order_total_add(&slot->pending, &addend);
}

void order_take_back(struct order_slot *slot, const struct fill *fill)
{
    struct order_total addend = {.notional = wide_negate(fill->notional),
                                 .filled = decimal_negate(fill->quantity),
                                 .fees = decimal_negate(fill->fees)};
    order_total_add(&slot->pending, &addend);
}

void order_commit(struct order_slot *slot, const struct fill *fill)
{
    order_take_back(slot, fill);
    struct order_total addend = order_total_of(fill);
    if (slot->is_known)
        order_total_add(&slot->committed, &addend);
}

void orders_drop_cached(struct orders *orders)
{
    while (orders->oldest != NULL) {
        struct order_slot *oldest = orders->oldest;
        cached_unlink(orders, oldest);
        slot_release(orders, oldest);
    }
}
