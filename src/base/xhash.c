#include "xhash.h"

#include <xxhash.h>

uint64_t xhash64(const void *bytes, size_t len)
{
    return XXH3_64bits(bytes, len);
}

struct hash128 xhash128(const void *bytes, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, len);
    return (struct hash128){.high = hash.high64, .low = hash.low64};
}
