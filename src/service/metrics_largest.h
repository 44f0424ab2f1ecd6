/*
 * metrics_largest: which assets get series of their own when there are more assets than series allowed.
 *
 * Open ones come before closed ones, then the larger exposure, then the name. Both modes of an asset count together.
 * Memory is bounded by the maximum, whatever is offered; an offer costs a comparison, or a few where it gets in.
 * Thread: one at a time. Pointers to positions are borrowed from the directory's section in which they were offered.
 */
#ifndef PM_METRICS_LARGEST_H
#define PM_METRICS_LARGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "position.h"
#include "wide.h"

enum { ASSET_POSITIONS_MAX = 2 }; /* one a mode */

struct asset_positions {
    struct wide exposure; /* of all of them, 10^-16 */
    bool is_open;         /* any of them */
    size_t count;
    const struct position *positions[ASSET_POSITIONS_MAX];
};

struct largest {
    struct asset_positions *assets; /* a heap, the one that has to go next at its root */
    size_t count;
    size_t max;
    size_t offered;
};

/* max: 0 takes none. Owns: the caller; largest_finish(). Fails: never (aborts without memory). */
void largest_init(struct largest *largest, size_t max);
void largest_finish(struct largest *largest);

/* Takes the asset in if it belongs to the largest so far. It has at least one position. */
void largest_offer(struct largest *largest, const struct asset_positions *asset);

/* Puts assets in the order of their names. Nothing may be offered afterwards. */
void largest_sort(struct largest *largest);

#endif
