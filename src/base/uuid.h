/*
 * uuid: identifiers of positions, snapshots and messages (RFC 4122 version 4).
 */
#ifndef PM_UUID_H
#define PM_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { UUID_LEN = 16, UUID_TEXT_LEN = 36 };

struct uuid {
    uint8_t bytes[UUID_LEN];
};

/* A new random one, from the kernel's generator, read in bulk per thread. Thread: any. */
struct uuid uuid_generate(void);

/* Lower-case text, not terminated; writes UUID_TEXT_LEN bytes. */
void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_LEN]);

/* Fails: STATUS_INVALID unless it is 36 characters of the canonical form, either case. */
enum status uuid_parse(const char *text, size_t len, struct uuid *out) PM_MUST_USE;

bool uuid_is_equal(const struct uuid *a, const struct uuid *b);

#endif
