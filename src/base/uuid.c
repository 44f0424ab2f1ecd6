#include "uuid.h"

#include "check.h"
#include "hex.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { POOL_LEN = 256 }; /* bytes asked of the kernel at once: it hands out as many without being interrupted */

/* Random bytes of this thread that nobody has had yet. */
static _Thread_local uint8_t pool[POOL_LEN];
static _Thread_local size_t pool_used = POOL_LEN;

static void refill_pool(void)
{
    size_t have = 0;
    while (have < POOL_LEN) {
        ssize_t got = getrandom(pool + have, POOL_LEN - have, 0);
        /* The kernel's generator fails only by a signal before it is seeded; anything else is no kernel we run on. */
        pm_assert(got > 0 || errno == EINTR);
        have += got > 0 ? (size_t)got : 0;
    }
    pool_used = 0;
}

struct uuid uuid_generate(void)
{
    struct uuid uuid;
    if (pool_used + UUID_LEN > POOL_LEN)
        refill_pool();
    memcpy(uuid.bytes, pool + pool_used, UUID_LEN);
    pool_used += UUID_LEN;
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4: random */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* the variant of RFC 4122 */
    return uuid;
}

/* Whether a dash stands before this byte's two digits: 8-4-4-4-12. */
static bool has_dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (size_t i = 0; i < UUID_LEN; i++) {
        if (has_dash_before(i))
            *at++ = '-';
        *at++ = digits[uuid->bytes[i] >> 4];
        *at++ = digits[uuid->bytes[i] & 0x0f];
    }
}

enum status uuid_parse(const char *text, size_t len, struct uuid *out)
{
    if (len != UUID_TEXT_LEN)
        return STATUS_INVALID;
    struct uuid parsed;
    const char *at = text;
    for (size_t i = 0; i < UUID_LEN; i++) {
        if (has_dash_before(i) && *at++ != '-')
            return STATUS_INVALID;
        int high = hex_digit(at[0]);
        int low = hex_digit(at[1]);
        if (high < 0 || low < 0)
            return STATUS_INVALID;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *out = parsed;
    return STATUS_OK;
}

bool uuid_is_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, UUID_LEN) == 0;
}
