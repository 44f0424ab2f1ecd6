/*
 * identities: what a shard remembers of execution identities (contract §3.3), before it asks the database.
 *
 * Two memories. `pending`: executions applied and not yet committed, complete, so that a repeat joins the one on its
 * way. `recent`: the newest committed ones, bounded and forgetful (four to a bucket, the oldest gives way): a miss
 * costs a rolled-back transaction, never a wrong figure, because the journal's unique identity decides. Thread: the
 * shard's.
 */
#ifndef PM_IDENTITIES_H
#define PM_IDENTITIES_H

#include "message.h"

struct identities;

/* recent_count_max: rounded up to a power of two; 24 bytes each. Owns: the caller. */
struct identities *identities_create(size_t recent_count_max);
void identities_destroy(struct identities *identities);

/* The uncommitted execution of that identity, or NULL. Compares the full text. */
struct delivery *identities_find_pending(const struct identities *identities, const struct delivery *like);
/* delivery->identity_hash must be set; it is not pending yet. */
void identities_add_pending(struct identities *identities, struct delivery *delivery);
/* No effect if it is not pending. */
void identities_remove_pending(struct identities *identities, struct delivery *delivery);

/* Whether that identity is known to be committed; *fingerprint is then what it was committed with. */
bool identities_find_recent(const struct identities *identities, struct hash128 hash, uint64_t *fingerprint);
void identities_add_recent(struct identities *identities, struct hash128 hash, uint64_t fingerprint);

#endif
