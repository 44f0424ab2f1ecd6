/*
 * directory: what readers see: the committed state of every position and the exact totals, without locks.
 *
 * Written by the shards: each owns one part. A position's view is immutable; a change publishes a new view and the old
 * one is reused after every reader has left its section (ck_epoch). A part's totals are published before the view that
 * they include, so a reader that sees a position sees totals that count it. Positions are never removed.
 *
 * Readers register once per thread and read inside begin/end; what they were handed is valid until end. A section is
 * short and never blocks: a reader that stays inside holds up the reuse of memory, nothing else.
 */
#ifndef PM_DIRECTORY_H
#define PM_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portfolio.h"
#include "position.h"

struct directory;
struct directory_part;   /* one shard's, writer side */
struct directory_slot;   /* one position's place; lives as long as the directory */
struct directory_reader; /* one reading thread's registration */

enum { DIRECTORY_PARTS_MAX = 64 };

/*
 * Makes an empty one. part_count: 1 to DIRECTORY_PARTS_MAX. Owns: the caller; destroy when no reader or writer is at
 * work any more, registered or not; NULL is accepted. Fails: never (aborts without memory).
 */
struct directory *directory_create(size_t part_count);
void directory_destroy(struct directory *directory);

/* The part to which an asset belongs: both modes of an asset share one. asset: terminated, upper case. Thread: any. */
size_t directory_part_index(const struct directory *directory, const char *asset);
size_t directory_part_count(const struct directory *directory);

/* ---- writing: each function by the part's one writer ---- */

struct directory_part *directory_part(struct directory *directory, size_t index);

/* Finds a position's slot, or NULL. */
struct directory_slot *directory_part_find(struct directory_part *part, const char *asset, enum position_mode mode);

/*
 * Publishes a position's committed state: its contribution replaces the old one in the part's totals, then its view is
 * swapped. Inserts the slot if it is new. Copies *position. Returns the slot. Cost does not depend on the number of
 * positions.
 */
struct directory_slot *directory_publish(struct directory_part *part, const struct position *position);

/* The published state; never NULL. Valid for the writer until it publishes that position again. */
const struct position *directory_slot_position(const struct directory_slot *slot);

/* Lets retired views be reused; called now and then by the writer (directory_publish does it too). */
void directory_part_reclaim(struct directory_part *part);

/* ---- reading ---- */

/*
 * Registers the calling thread. Owns: the caller; unregister from the same thread or after it has ended.
 * Fails: never (aborts without memory).
 */
struct directory_reader *directory_reader_register(struct directory *directory);
void directory_reader_unregister(struct directory_reader *reader);

void directory_begin(struct directory_reader *reader);
void directory_end(struct directory_reader *reader);

/* Inside a section. NULL: no such position. */
const struct position *directory_find(struct directory_reader *reader, const char *asset, enum position_mode mode);

/*
 * Inside a section: calls visit for every position, ordered by asset (bytes), then by the mode's word (hedge before
 * one-way). The order is kept in an index of the reader's own that is extended only when positions were added.
 */
typedef void directory_visit_fn(void *context, const struct position *position);
void directory_visit(struct directory_reader *reader, directory_visit_fn *visit, void *context);

/* Sums the parts' totals. Inside a section. Cost: the number of parts. */
void directory_totals(struct directory_reader *reader, struct portfolio_totals *out);

/*
 * Rises with every publication; equal readings before and after mean nothing changed between. While a publication is
 * just under way, no two readings are equal. Thread: any, no section needed.
 */
uint64_t directory_change_count(const struct directory *directory);
uint64_t directory_position_count(const struct directory *directory);

#endif
