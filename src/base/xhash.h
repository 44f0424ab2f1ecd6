/*
 * xhash: 64 and 128 bit hashes (XXH3) for tables in memory. They are quick and not cryptographic, so equal hashes are
 * not taken for equal texts: the text is compared too, or the database decides. One place relies on 128 bits alone, and
 * on a fingerprint of the content besides: the memory of recent identities (identities.h).
 */
#ifndef PM_XHASH_H
#define PM_XHASH_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t high, low;
};

/* Thread: any. */
uint64_t xhash64(const void *bytes, size_t len);
struct hash128 xhash128(const void *bytes, size_t len);

#endif
