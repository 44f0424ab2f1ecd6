#include "order_sums.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "xhash.h"

enum { CAPACITY_MIN = 1024, PLACES_PER_ENTRY = 2 };

void order_sums_clear(struct order_sums *sums)
{
    for (size_t i = 0; i < sums->count; i++)
        sums->places[sums->entries[i].place] = 0;
    sums->count = 0;
}

void order_sums_free(struct order_sums *sums)
{
    free(sums->entries);
    free(sums->places);
    *sums = (struct order_sums){0};
}

static bool is_same_order(const struct delivery *a, const struct delivery *b)
{
    return a->said.execution.mode == b->said.execution.mode && strcmp(a->order_key, b->order_key) == 0 &&
           strcmp(a->asset, b->asset) == 0;
}

/* Where the order has its place, or where it would get one. */
static size_t find_place(const struct order_sums *sums, const struct delivery *delivery, uint64_t hash)
{
    const size_t mask = PLACES_PER_ENTRY * sums->capacity - 1;
    size_t place = hash & mask;
    for (; sums->places[place] != 0; place = (place + 1) & mask) {
        const struct order_sum *entry = &sums->entries[sums->places[place] - 1];
        if (entry->hash == hash && is_same_order(entry->first, delivery))
            break;
    }
    return place;
}

static void grow(struct order_sums *sums)
{
    sums->capacity = sums->capacity == 0 ? CAPACITY_MIN : 2 * sums->capacity;
    sums->entries = realloc(sums->entries, sums->capacity * sizeof *sums->entries);
    free(sums->places);
    sums->places = calloc(PLACES_PER_ENTRY * sums->capacity, sizeof *sums->places);
    pm_assert(sums->entries != NULL && sums->places != NULL && sums->capacity < UINT32_MAX);
    for (uint32_t i = 0; i < sums->count; i++) {
        struct order_sum *entry = &sums->entries[i];
        entry->place = find_place(sums, entry->first, entry->hash);
        sums->places[entry->place] = i + 1;
    }
}

void order_sums_add(struct order_sums *sums, const struct delivery *delivery)
{
    if (sums->count == sums->capacity)
        grow(sums);
    const uint64_t hash = xhash64(delivery->order_key, strlen(delivery->order_key));
    const size_t place = find_place(sums, delivery, hash);
    if (sums->places[place] == 0) {
        sums->entries[sums->count] = (struct order_sum){delivery, hash, place, ORDER_TOTAL_ZERO};
        sums->places[place] = (uint32_t)++sums->count;
    }
    const struct order_total addend = order_total_of(&delivery->fill);
    order_total_add(&sums->entries[sums->places[place] - 1].total, &addend);
}
