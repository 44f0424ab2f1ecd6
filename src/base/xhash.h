/*
 * xhash: 64 and 128 bit hashes (XXH3) for tables in memory. Not for strangers' promises: where equality decides about
 * money, the full text is compared too, or the database decides.
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
