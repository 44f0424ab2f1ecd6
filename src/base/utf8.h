/*
 * utf8: where a well-formed UTF-8 sequence ends. The one judge of it, for messages, queries, log lines and parameters
 * alike.
 */
#ifndef PM_UTF8_H
#define PM_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The length (1 to 4) of the well-formed sequence that starts at `at`, 0 if there is none: overlong forms, encoded
 * surrogates and what lies above U+10FFFF are not well-formed. at < end. Thread: any.
 */
static inline size_t utf8_sequence_len(const unsigned char *at, const unsigned char *end)
{
    unsigned char lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead < 0xC2 || lead > 0xF4 || (size_t)(end - at) < len)
        return 0;
    /* Four leads narrow their second byte; everywhere else any continuation byte does. */
    unsigned char second_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char second_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < second_min || at[1] > second_max)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

/* Whether all of it is well-formed UTF-8 without a NUL, so that it can be a terminated string and a database text. */
static inline bool utf8_is_plain(const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
    while (at < end) {
        size_t step = utf8_sequence_len(at, end);
        if (step == 0 || *at == 0)
            return false;
        at += step;
    }
    return true;
}

/* The largest length, at most len_max, that cuts no sequence of well-formed text in two. */
static inline size_t utf8_cut(const char *bytes, size_t len, size_t len_max)
{
    if (len <= len_max)
        return len;
    while (len_max > 0 && ((unsigned char)bytes[len_max] & 0xC0) == 0x80)
        len_max--;
    return len_max;
}

#endif
