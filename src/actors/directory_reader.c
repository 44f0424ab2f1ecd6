/*
 * The reading half. The epoch keeps records for ever and hands unregistered ones out again; a reader is therefore kept,
 * with its index, until the directory goes.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "directory.h"
#include "directory_inside.h"
#include "xhash.h"

enum { INDEX_LEN_MIN = 64 };

struct directory_reader {
    ck_epoch_record_t record;
    struct directory *directory;
    struct directory_reader *next; /* of all readers of the directory */

    /* all slots seen so far, sorted; extended in index_extend() */
    const struct directory_slot **index;
    size_t index_len;
    size_t index_capacity;
    const struct directory_slot *seen[DIRECTORY_PARTS_MAX]; /* each part's newest slot in the index */
};

struct directory_reader *directory_reader_register(struct directory *directory)
{
    (void)pthread_mutex_lock(&directory->readers_lock);
    ck_epoch_record_t *recycled = ck_epoch_recycle(&directory->epoch, NULL);
    struct directory_reader *reader = (struct directory_reader *)recycled; /* its first member */
    if (reader == NULL) {
        reader = aligned_alloc(DIRECTORY_CACHE_LINE, sizeof *reader);
        pm_assert(reader != NULL);
        memset(reader, 0, sizeof *reader);
        reader->directory = directory;
        reader->next = directory->readers;
        directory->readers = reader;
        ck_epoch_register(&directory->epoch, &reader->record, NULL);
    }
    (void)pthread_mutex_unlock(&directory->readers_lock);
    return reader;
}

void directory_reader_unregister(struct directory_reader *reader)
{
    if (reader == NULL)
        return;
    struct directory *directory = reader->directory;
    (void)pthread_mutex_lock(&directory->readers_lock);
    ck_epoch_unregister(&reader->record);
    (void)pthread_mutex_unlock(&directory->readers_lock);
}

void directory_readers_finish(struct directory *directory)
{
    while (directory->readers != NULL) {
        struct directory_reader *reader = directory->readers;
        directory->readers = reader->next;
        free(reader->index);
        free(reader);
    }
}

void directory_begin(struct directory_reader *reader)
{
    ck_epoch_begin(&reader->record, NULL);
}

void directory_end(struct directory_reader *reader)
{
    TSAN_RELEASE(reader->directory); /* pairs with TSAN_ACQUIRE where memory is used again */
    (void)ck_epoch_end(&reader->record, NULL);
}

static const struct position *slot_position(const struct directory_slot *slot)
{
    /* Pairs with the store in part_publish_view(). */
    return &atomic_load_explicit(&slot->view, memory_order_acquire)->position;
}

const struct position *directory_find(struct directory_reader *reader, const char *asset, enum position_mode mode)
{
    struct directory *directory = reader->directory;
    uint64_t asset_hash = xhash64(asset, strlen(asset));
    struct directory_part *part = &directory->parts[asset_hash % directory->part_count];
    /* Pairs with the store in part_grow_table(). */
    struct slot_table *table = atomic_load_explicit(&part->table, memory_order_acquire);
    struct directory_slot *slot = slot_table_find(table, table_hash(asset_hash, mode), asset, mode);
    return slot == NULL ? NULL : slot_position(slot);
}

void directory_totals(struct directory_reader *reader, struct portfolio_totals *out)
{
    struct directory *directory = reader->directory;
    *out = (struct portfolio_totals){.positions = 0};
    for (size_t i = 0; i < directory->part_count; i++) {
        /* Pairs with the store in part_publish_totals(). */
        struct totals_view *view = atomic_load_explicit(&directory->parts[i].totals, memory_order_acquire);
        portfolio_add(out, &view->totals);
    }
}

/* ---- visiting in order ---- */

static int compare_slots(const struct directory_slot *a, const struct directory_slot *b)
{
    int by_asset = strcmp(a->asset, b->asset);
    return by_asset != 0 ? by_asset : strcmp(position_mode_word(a->mode), position_mode_word(b->mode));
}

static int compare_index_entries(const void *a, const void *b)
{
    return compare_slots(*(const struct directory_slot *const *)a, *(const struct directory_slot *const *)b);
}

static void index_append(struct directory_reader *reader, const struct directory_slot *slot)
{
    if (reader->index_len == reader->index_capacity) {
        size_t capacity = reader->index_capacity == 0 ? INDEX_LEN_MIN : 2 * reader->index_capacity;
        const struct directory_slot **index = realloc(reader->index, capacity * sizeof index[0]);
        pm_assert(index != NULL);
        reader->index = index;
        reader->index_capacity = capacity;
    }
    reader->index[reader->index_len++] = slot;
}

/* Merges the sorted tail that begins at old_len into the sorted front, from the back, through a copy of the tail. */
static void index_merge(struct directory_reader *reader, size_t old_len)
{
    size_t added = reader->index_len - old_len;
    const struct directory_slot **tail = malloc(added * sizeof tail[0]);
    pm_assert(tail != NULL);
    memcpy(tail, reader->index + old_len, added * sizeof tail[0]);
    size_t front = old_len;
    for (size_t to = reader->index_len; added > 0; to--) {
        if (front > 0 && compare_slots(reader->index[front - 1], tail[added - 1]) > 0)
            reader->index[to - 1] = reader->index[--front];
        else
            reader->index[to - 1] = tail[--added];
    }
    free(tail);
}

/* Only what was added since the last time is sorted. */
static void index_extend(struct directory_reader *reader)
{
    size_t old_len = reader->index_len;
    for (size_t i = 0; i < reader->directory->part_count; i++) {
        /* Pairs with the store in part_add_slot(). */
        const struct directory_slot *newest =
            atomic_load_explicit(&reader->directory->parts[i].newest, memory_order_acquire);
        for (const struct directory_slot *slot = newest; slot != reader->seen[i]; slot = slot->older)
            index_append(reader, slot);
        reader->seen[i] = newest;
    }
    if (reader->index_len == old_len)
        return;
    qsort(reader->index + old_len, reader->index_len - old_len, sizeof reader->index[0], compare_index_entries);
    index_merge(reader, old_len);
}

void directory_visit(struct directory_reader *reader, directory_visit_fn *visit, void *context)
{
    index_extend(reader);
    for (size_t i = 0; i < reader->index_len; i++)
        visit(context, slot_position(reader->index[i]));
}
