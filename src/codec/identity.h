/*
 * identity: what tells one execution from another (contract §3.3): keys that fit their columns, whatever was sent.
 *
 * Internal to codec. An id that is too long, or that cannot stand in a terminated UTF-8 text, is replaced by "sha256:"
 * and the hex digits of its digest. Thread: any.
 */
#ifndef PM_IDENTITY_H
#define PM_IDENTITY_H

#include "decode.h"
#include "json_scan.h"

/* Writes prefix and id, at most capacity bytes with the terminator. capacity: at least 74 and the prefix's length. */
void identity_put(const char *prefix, const struct json_value *id, char *out, size_t capacity);
/* Writes "d:" and the first half of the body's SHA-256 in hex. */
void identity_put_digest(const char *body, size_t len, char out[sizeof((struct decoded *)0)->identity]);
/* What must be the same when an identity comes again: asset, mode, side, order, quantity and price. Stored, so it must
 * never change. */
uint64_t identity_fingerprint(const struct decoded *decoded);

#endif
