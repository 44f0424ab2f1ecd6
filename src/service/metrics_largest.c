#include "metrics_largest.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

void largest_init(struct largest *largest, size_t max)
{
    *largest = (struct largest){.max = max};
    if (max == 0)
        return;
    largest->assets = calloc(max, sizeof largest->assets[0]);
    pm_assert(largest->assets != NULL);
}

void largest_finish(struct largest *largest)
{
    free(largest->assets);
    *largest = (struct largest){.max = 0};
}

static int compare_names(const struct asset_positions *a, const struct asset_positions *b)
{
    return strcmp(a->positions[0]->asset, b->positions[0]->asset);
}

/* Whether a is to be shown rather than b. */
static bool is_before(const struct asset_positions *a, const struct asset_positions *b)
{
    if (a->is_open != b->is_open)
        return a->is_open;
    int by_exposure = wide_compare(a->exposure, b->exposure);
    return by_exposure != 0 ? by_exposure > 0 : compare_names(a, b) < 0;
}

static void sift_up(struct largest *largest, size_t i)
{
    struct asset_positions rising = largest->assets[i];
    for (; i > 0 && is_before(&largest->assets[(i - 1) / 2], &rising); i = (i - 1) / 2)
        largest->assets[i] = largest->assets[(i - 1) / 2];
    largest->assets[i] = rising;
}

static void sift_down(struct largest *largest, size_t i)
{
    struct asset_positions sinking = largest->assets[i];
    for (size_t child = 2 * i + 1; child < largest->count; child = 2 * i + 1) {
        if (child + 1 < largest->count && is_before(&largest->assets[child], &largest->assets[child + 1]))
            child++;
        if (!is_before(&sinking, &largest->assets[child]))
            break;
        largest->assets[i] = largest->assets[child];
        i = child;
    }
    largest->assets[i] = sinking;
}

void largest_offer(struct largest *largest, const struct asset_positions *asset)
{
    pm_assert(asset->count > 0 && asset->count <= ASSET_POSITIONS_MAX);
    largest->offered++;
    if (largest->count < largest->max) {
        largest->assets[largest->count] = *asset;
        sift_up(largest, largest->count++);
    } else if (largest->max > 0 && is_before(asset, &largest->assets[0])) {
        largest->assets[0] = *asset;
        sift_down(largest, 0);
    }
}

static int compare_entries(const void *a, const void *b)
{
    return compare_names(a, b);
}

void largest_sort(struct largest *largest)
{
    if (largest->count > 1)
        qsort(largest->assets, largest->count, sizeof largest->assets[0], compare_entries);
}
