#include "identities.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { RECENT_WAYS = 4, PENDING_BUCKETS = 4096 };

struct recent_bucket {
    struct hash128 hashes[RECENT_WAYS]; /* newest first; all zero: empty */
    uint64_t fingerprints[RECENT_WAYS];
};

struct identities {
    struct recent_bucket *recent;
    size_t recent_mask;
    struct delivery *pending[PENDING_BUCKETS];
};

struct identities *identities_create(size_t recent_count_max)
{
    size_t buckets = 1;
    while (buckets * RECENT_WAYS < recent_count_max)
        buckets *= 2;
    struct identities *identities = calloc(1, sizeof *identities);
    pm_assert(identities != NULL);
    identities->recent = calloc(buckets, sizeof *identities->recent);
    pm_assert(identities->recent != NULL);
    identities->recent_mask = buckets - 1;
    return identities;
}

void identities_destroy(struct identities *identities)
{
    if (identities == NULL)
        return;
    free(identities->recent);
    free(identities);
}

static size_t pending_bucket(struct hash128 hash)
{
    return (size_t)(hash.low % PENDING_BUCKETS);
}

struct delivery *identities_find_pending(const struct identities *identities, const struct delivery *like)
{
    struct delivery *found = identities->pending[pending_bucket(like->identity_hash)];
    while (found != NULL && strcmp(found->identity, like->identity) != 0)
        found = found->identity_link;
    return found;
}

void identities_add_pending(struct identities *identities, struct delivery *delivery)
{
    struct delivery **bucket = &identities->pending[pending_bucket(delivery->identity_hash)];
    delivery->identity_link = *bucket;
    *bucket = delivery;
}

void identities_remove_pending(struct identities *identities, struct delivery *delivery)
{
    struct delivery **link = &identities->pending[pending_bucket(delivery->identity_hash)];
    while (*link != NULL && *link != delivery)
        link = &(*link)->identity_link;
    if (*link == NULL)
        return;
    *link = delivery->identity_link;
    delivery->identity_link = NULL;
}

bool identities_find_recent(const struct identities *identities, struct hash128 hash, uint64_t *fingerprint)
{
    const struct recent_bucket *bucket = &identities->recent[hash.high & identities->recent_mask];
    for (size_t i = 0; i < RECENT_WAYS; i++) {
        if (bucket->hashes[i].high == hash.high && bucket->hashes[i].low == hash.low) {
            *fingerprint = bucket->fingerprints[i];
            return true;
        }
    }
    return false;
}

void identities_add_recent(struct identities *identities, struct hash128 hash, uint64_t fingerprint)
{
    struct recent_bucket *bucket = &identities->recent[hash.high & identities->recent_mask];
    memmove(&bucket->hashes[1], &bucket->hashes[0], sizeof bucket->hashes - sizeof bucket->hashes[0]);
    memmove(&bucket->fingerprints[1], &bucket->fingerprints[0],
            sizeof bucket->fingerprints - sizeof bucket->fingerprints[0]);
    bucket->hashes[0] = hash;
    bucket->fingerprints[0] = fingerprint;
}
