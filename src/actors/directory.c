/*
 * The writing half. A publication stores, in this order, each so that whoever sees it sees what came before it:
 * the part's new totals, the position's new view, and for a new position its place in the table. A reader looks in the
 * opposite order, so the totals it finds count every position it has seen.
 */
#include "directory.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "directory_inside.h"
#include "xhash.h"

enum {
    TABLE_LEN_MIN = 64, /* a power of two */
    SLAB_SLOTS = 64,
    POLL_INTERVAL = 16,  /* publications */
    UNDER_WAY_BITS = 8,  /* of directory.changes: more than there are parts */
    DISTURBED_BITS = 20, /* of what directory_change_count() returns */
};

/* Numbers the readings of directory_change_count() that met a publication. */
static atomic_uint_fast64_t disturbed_readings;

struct slot_slab {
    struct slot_slab *next;
    size_t used;
    struct directory_slot slots[SLAB_SLOTS];
};

/* ---- the table ---- */

static struct slot_table *table_create(struct directory *directory, size_t len)
{
    struct slot_table *table = malloc(sizeof *table + len * sizeof table->places[0]);
    pm_assert(table != NULL);
    table->directory = directory;
    table->mask = len - 1;
    for (size_t i = 0; i < len; i++)
        atomic_init(&table->places[i], NULL);
    return table;
}

struct directory_slot *slot_table_find(const struct slot_table *table, uint32_t hash, const char *asset,
                                       enum position_mode mode)
{
    for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        /* Pairs with the store in table_insert(). Ends at a free place: the table is at most half full. */
        struct directory_slot *slot = atomic_load_explicit(&table->places[i], memory_order_acquire);
        if (slot == NULL)
            return NULL;
        if (slot->hash == hash && slot->mode == mode && strcmp(slot->asset, asset) == 0)
            return slot;
    }
}

static void table_insert(struct slot_table *table, struct directory_slot *slot)
{
    size_t i = slot->hash & table->mask;
    while (atomic_load_explicit(&table->places[i], memory_order_relaxed) != NULL) /* our own */
        i = (i + 1) & table->mask;
    /* Pairs with the load in slot_table_find(): whoever finds the slot sees its key, its view and the totals. */
    atomic_store_explicit(&table->places[i], slot, memory_order_release);
}

/* Called by ck_epoch_poll() on the writer's thread. */
static void on_table_unused(ck_epoch_entry_t *entry)
{
    struct slot_table *table = (struct slot_table *)entry; /* its first member */
    TSAN_ACQUIRE(table->directory);                        /* pairs with TSAN_RELEASE in directory_end() */
    free(table);
}

/* Our own pointer: only the writer stores it. */
static struct slot_table *part_table(const struct directory_part *part)
{
    return atomic_load_explicit(&part->table, memory_order_relaxed);
}

static void part_grow_table(struct directory_part *part)
{
    struct slot_table *table = part_table(part);
    struct slot_table *bigger = table_create(part->directory, 2 * (table->mask + 1));
    for (size_t i = 0; i <= table->mask; i++) {
        struct directory_slot *slot = atomic_load_explicit(&table->places[i], memory_order_relaxed);
        if (slot != NULL)
            table_insert(bigger, slot);
    }
    /* Pairs with the load in directory_find(). */
    atomic_store_explicit(&part->table, bigger, memory_order_release);
    ck_epoch_call(&part->record, &table->retired, on_table_unused);
}

/* ---- lifetime ---- */

static void part_init(struct directory_part *part, struct directory *directory)
{
    part->directory = directory;
    ck_epoch_register(&directory->epoch, &part->record, NULL);
    pool_init(&part->views, directory, sizeof(struct view));
    pool_init(&part->totals_views, directory, sizeof(struct totals_view));
    atomic_init(&part->table, table_create(directory, TABLE_LEN_MIN));
    struct totals_view *totals = pool_get(&part->totals_views);
    totals->totals = (struct portfolio_totals){.positions = 0};
    atomic_init(&part->totals, totals);
}

static void part_finish(struct directory_part *part)
{
    ck_epoch_barrier(&part->record); /* old tables; nobody is in a section any more */
    free(part_table(part));
    pool_finish(&part->views);
    pool_finish(&part->totals_views);
    while (part->slot_slabs != NULL) {
        struct slot_slab *slab = part->slot_slabs;
        part->slot_slabs = slab->next;
        free(slab);
    }
}

struct directory *directory_create(size_t part_count)
{
    pm_assert(part_count >= 1 && part_count <= DIRECTORY_PARTS_MAX);
    size_t bytes = sizeof(struct directory) + part_count * sizeof(struct directory_part);
    struct directory *directory = aligned_alloc(DIRECTORY_CACHE_LINE, bytes); /* both sizes are multiples of the line */
    pm_assert(directory != NULL);
    memset(directory, 0, bytes);
    ck_epoch_init(&directory->epoch);
    directory->part_count = part_count;
    int error = pthread_mutex_init(&directory->readers_lock, NULL);
    pm_assert(error == 0);
    for (size_t i = 0; i < part_count; i++)
        part_init(&directory->parts[i], directory);
    return directory;
}

void directory_destroy(struct directory *directory)
{
    if (directory == NULL)
        return;
    for (size_t i = 0; i < directory->part_count; i++)
        part_finish(&directory->parts[i]);
    directory_readers_finish(directory);
    (void)pthread_mutex_destroy(&directory->readers_lock);
    free(directory);
}

/* ---- parts ---- */

size_t directory_part_index(const struct directory *directory, const char *asset)
{
    return xhash64(asset, strlen(asset)) % directory->part_count;
}

size_t directory_part_count(const struct directory *directory)
{
    return directory->part_count;
}

struct directory_part *directory_part(struct directory *directory, size_t index)
{
    pm_assert(index < directory->part_count);
    return &directory->parts[index];
}

struct directory_slot *directory_part_find(struct directory_part *part, const char *asset, enum position_mode mode)
{
    uint32_t hash = table_hash(xhash64(asset, strlen(asset)), mode);
    return slot_table_find(part_table(part), hash, asset, mode);
}

/* ---- publishing ---- */

/* A slot that nobody can find yet. */
static struct directory_slot *part_new_slot(struct directory_part *part, const struct position *position, uint32_t hash)
{
    struct slot_slab *slab = part->slot_slabs;
    if (slab == NULL || slab->used == SLAB_SLOTS) {
        slab = malloc(sizeof *slab);
        pm_assert(slab != NULL);
        slab->next = part->slot_slabs;
        slab->used = 0;
        part->slot_slabs = slab;
    }
    struct directory_slot *slot = &slab->slots[slab->used++];
    slot->hash = hash;
    slot->mode = position->mode;
    memcpy(slot->asset, position->asset, sizeof slot->asset);
    return slot;
}

/* position's contribution takes the place of before's; before may be NULL. */
static void part_publish_totals(struct directory_part *part, const struct position *before,
                                const struct position *position)
{
    struct totals_view *old = atomic_load_explicit(&part->totals, memory_order_relaxed); /* our own */
    struct totals_view *new = pool_get(&part->totals_views);
    struct portfolio_totals contribution;
    new->totals = old->totals;
    if (before != NULL) {
        portfolio_contribution(before, &contribution);
        portfolio_subtract(&new->totals, &contribution);
    }
    portfolio_contribution(position, &contribution);
    portfolio_add(&new->totals, &contribution);
    /* Pairs with the load in directory_totals(). */
    atomic_store_explicit(&part->totals, new, memory_order_release);
    pool_retire(&part->record, &old->node);
}

/* Makes a slot with its first view findable. */
static void part_add_slot(struct directory_part *part, struct directory_slot *slot)
{
    size_t count = atomic_load_explicit(&part->slot_count, memory_order_relaxed) + 1; /* our own */
    if (2 * count > part_table(part)->mask + 1)
        part_grow_table(part);
    slot->older = atomic_load_explicit(&part->newest, memory_order_relaxed);
    table_insert(part_table(part), slot);
    /* Pairs with the load in directory_visit(). */
    atomic_store_explicit(&part->newest, slot, memory_order_release);
    /* Pairs with the load in directory_position_count(). */
    atomic_store_explicit(&part->slot_count, count, memory_order_release);
}

static struct directory_slot *part_publish_view(struct directory_part *part, struct directory_slot *slot,
                                                const struct position *position, uint32_t hash)
{
    struct view *new = pool_get(&part->views);
    new->position = *position;
    if (slot == NULL) {
        slot = part_new_slot(part, position, hash);
        atomic_init(&slot->view, new);
        part_add_slot(part, slot);
        return slot;
    }
    struct view *old = atomic_load_explicit(&slot->view, memory_order_relaxed); /* our own */
    /* Pairs with the load in slot_position() of the readers. */
    atomic_store_explicit(&slot->view, new, memory_order_release);
    pool_retire(&part->record, &old->node);
    return slot;
}

struct directory_slot *directory_publish(struct directory_part *part, const struct position *position)
{
    struct directory *directory = part->directory;
    uint64_t asset_hash = xhash64(position->asset, strlen(position->asset));
    pm_assert(&directory->parts[asset_hash % directory->part_count] == part);
    uint32_t hash = table_hash(asset_hash, position->mode);
    struct directory_slot *slot = slot_table_find(part_table(part), hash, position->asset, position->mode);

    /* Begun and under way; both pair with the load in directory_change_count(). */
    (void)atomic_fetch_add(&directory->changes, (UINT64_C(1) << UNDER_WAY_BITS) + 1);
    /* Retiring inside a section of its own: other parts' writers move the epoch on, too. */
    ck_epoch_begin(&part->record, NULL);
    part_publish_totals(part, slot == NULL ? NULL : directory_slot_position(slot), position);
    slot = part_publish_view(part, slot, position, hash);
    (void)ck_epoch_end(&part->record, NULL);
    (void)atomic_fetch_sub(&directory->changes, 1);

    if (++part->publications_since_poll >= POLL_INTERVAL)
        directory_part_reclaim(part);
    return slot;
}

const struct position *directory_slot_position(const struct directory_slot *slot)
{
    return &atomic_load_explicit(&slot->view, memory_order_relaxed)->position; /* the writer's own */
}

void directory_part_reclaim(struct directory_part *part)
{
    part->publications_since_poll = 0;
    (void)ck_epoch_poll(&part->record);
}

/* ---- counts ---- */

uint64_t directory_change_count(const struct directory *directory)
{
    uint64_t changes = atomic_load(&directory->changes);
    uint64_t begun = changes >> UNDER_WAY_BITS;
    uint64_t under_way = changes & ((1U << UNDER_WAY_BITS) - 1);
    if (under_way == 0)
        return begun << DISTURBED_BITS;
    /* Something is just being swapped: no two such readings are equal, or a swap could hide between them. */
    uint64_t disturbed = atomic_fetch_add_explicit(&disturbed_readings, 1, memory_order_relaxed);
    uint64_t distinct = disturbed % ((1U << DISTURBED_BITS) - 1) + 1;
    return (begun - 1) << DISTURBED_BITS | distinct;
}

uint64_t directory_position_count(const struct directory *directory)
{
    uint64_t count = 0;
    for (size_t i = 0; i < directory->part_count; i++)
        count += atomic_load_explicit(&directory->parts[i].slot_count, memory_order_acquire);
    return count;
}
