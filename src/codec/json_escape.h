/*
 * json_escape: the four hex digits of an escape, which the scanner checks and the strings read. Internal to codec.
 */
#ifndef PM_JSON_ESCAPE_H
#define PM_JSON_ESCAPE_H

#include <stdint.h>

#include "hex.h"

enum { UNICODE_ESCAPE_LEN = 6 };

/* The number that the \u escape at `at` stands for, or -1 if there is none. Thread: any. */
static inline int32_t unicode_escape(const char *at, const char *end)
{
    if (end - at < UNICODE_ESCAPE_LEN || at[0] != '\\' || at[1] != 'u')
        return -1;
    int32_t code = 0;
    for (int i = 2; i < UNICODE_ESCAPE_LEN; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

#endif
