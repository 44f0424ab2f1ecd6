/*
 * json_scan: a strict, validating JSON reader (RFC 8259) for messages: one pass, no allocation, numbers kept as text.
 *
 * json-c saturates long integers, accepts single quotes and NaN, and costs five times as much; the rules need the text
 * of a number. Accepts exactly: UTF-8, one value, nothing behind it, nesting up to JSON_DEPTH_MAX; duplicate keys: the
 * last wins. The fuzz test compares it with json-c. Thread: any.
 */
#ifndef PM_JSON_SCAN_H
#define PM_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { JSON_DEPTH_MAX = 16, JSON_FIELDS_MAX = 48 };

enum json_kind { JSON_ABSENT, JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_NUMBER, JSON_STRING, JSON_OBJECT, JSON_ARRAY };

/* A value's place in the body. For strings: the bytes between the quotes, still escaped if has_escapes. */
struct json_value {
    enum json_kind kind;
    bool has_escapes;
    const char *bytes;
    size_t len;
};

/* Checks a whole body; *root is its outermost value. Fails: STATUS_NOT_JSON, STATUS_TOO_DEEP. */
enum status json_check(const char *body, size_t len, struct json_value *root) PM_MUST_USE;

/*
 * Finds members of an object that json_check has passed: out[i] is the value of names[i], JSON_ABSENT where it is not
 * there; keys are compared after unescaping; of equal keys the last wins. count: at most JSON_FIELDS_MAX; a name: at
 * most 31 bytes.
 */
void json_members(const struct json_value *object, const char *const *names, size_t count, struct json_value *out);

/*
 * The unescaped bytes of a string: points into the body where nothing is escaped, else into buffer. Surrogate pairs are
 * joined, lone ones become U+FFFD. Fails: STATUS_FULL if buffer is too small (len bytes always suffice).
 */
enum status json_string(const struct json_value *value, char *buffer, size_t capacity, const char **out,
                        size_t *out_len) PM_MUST_USE;

/*
 * The same in pieces, for strings of any length: unescapes from *offset (0 at first) as much as fits into buffer and
 * moves *offset on. Returns the number of bytes, 0 at the end. capacity: at least 4, so that every step makes progress.
 */
size_t json_string_piece(const struct json_value *value, size_t *offset, char *buffer, size_t capacity);

#endif
