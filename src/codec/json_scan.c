#include "json_scan.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "check.h"
#include "json_escape.h"
#include "utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first special byte of a word is found from its low end");

enum { NAME_LEN_MAX = 31 };

struct cursor {
    const char *at;
    const char *end;
};

/*
 * A bit for each of STEP_LEN bytes, lowest first, that ends a run of plain characters: a quote, a backslash, a control
 * character or a byte beyond ASCII. BITS_PER_BYTE bits stand for one byte; only the lowest set one is exact, and only
 * that is used.
 */
#ifdef __SSE2__
enum { STEP_LEN = 16, BITS_PER_BYTE = 1 };

static inline uint64_t special_bits(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    /* Compared as signed, so that bytes beyond ASCII are below the blank too. */
    hits = _mm_or_si128(hits, _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')));
    return (unsigned)_mm_movemask_epi8(hits);
}
#else
enum { STEP_LEN = 8, BITS_PER_BYTE = 8 };

#define WORD_OF(byte) (0x0101010101010101ULL * (byte))

static inline uint64_t special_bits(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    uint64_t quote = word ^ WORD_OF(0x22), backslash = word ^ WORD_OF(0x5C);
    uint64_t hits = ((quote - WORD_OF(0x01)) & ~quote) | ((backslash - WORD_OF(0x01)) & ~backslash) |
                    ((word - WORD_OF(0x20)) & ~word) | word;
    return hits & WORD_OF(0x80);
}
#endif

/* Passes over characters that stand for themselves: ASCII without quote, backslash and control characters. */
static inline const char *skip_plain(const char *at, const char *end)
{
    while (end - at >= STEP_LEN) {
        uint64_t hits = special_bits(at);
        if (hits != 0)
            return at + __builtin_ctzll(hits) / BITS_PER_BYTE;
        at += STEP_LEN;
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

static inline void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end &&
           (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\t'))
        cursor->at++;
}

static size_t escape_len(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        return unicode_escape(at, end) >= 0 ? UNICODE_ESCAPE_LEN : 0;
    default:
        return 0;
    }
}

/* The rest of a string that holds escapes or characters beyond ASCII; at: the first of them, or the end of the text. */
static bool scan_string_rest(struct cursor *cursor, const char *at, struct json_value *out)
{
    const char *start = cursor->at + 1, *end = cursor->end;
    bool has_escapes = false;
    for (; at < end && *at != '"'; at = skip_plain(at, end)) {
        unsigned char c = (unsigned char)*at;
        size_t step = 0;
        if (c == '\\') {
            step = escape_len(at, end);
            has_escapes = true;
        } else if (c >= 0x20) {
            step = utf8_sequence_len((const unsigned char *)at, (const unsigned char *)end);
        }
        if (step == 0)
            return false;
        at += step;
    }
    if (at == end)
        return false;
    *out = (struct json_value){JSON_STRING, has_escapes, start, (size_t)(at - start)};
    cursor->at = at + 1;
    return true;
}

/* Reads a string; the cursor stands on its opening quote and ends behind its closing one. */
static inline bool scan_string(struct cursor *cursor, struct json_value *out)
{
    const char *start = cursor->at + 1, *at = skip_plain(start, cursor->end);
    if (at == cursor->end || *at != '"')
        return scan_string_rest(cursor, at, out);
    *out = (struct json_value){JSON_STRING, false, start, (size_t)(at - start)};
    cursor->at = at + 1;
    return true;
}

/* Passes over digits; false if there is none. */
static inline bool scan_digits(struct cursor *cursor)
{
    const char *start = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
        cursor->at++;
    return cursor->at > start;
}

static bool scan_number(struct cursor *cursor, struct json_value *out)
{
    const char *start = cursor->at;
    if (*cursor->at == '-')
        cursor->at++;
    const char *digits = cursor->at;
    if (!scan_digits(cursor) || (*digits == '0' && cursor->at - digits > 1))
        return false;
    if (cursor->at < cursor->end && *cursor->at == '.') {
        cursor->at++;
        if (!scan_digits(cursor))
            return false;
    }
    if (cursor->at < cursor->end && (*cursor->at == 'e' || *cursor->at == 'E')) {
        cursor->at++;
        if (cursor->at < cursor->end && (*cursor->at == '+' || *cursor->at == '-'))
            cursor->at++;
        if (!scan_digits(cursor))
            return false;
    }
    *out = (struct json_value){JSON_NUMBER, false, start, (size_t)(cursor->at - start)};
    return true;
}

static bool scan_word(struct cursor *cursor, const char *word, size_t len, enum json_kind kind, struct json_value *out)
{
    if ((size_t)(cursor->end - cursor->at) < len || memcmp(cursor->at, word, len) != 0)
        return false;
    *out = (struct json_value){kind, false, cursor->at, len};
    cursor->at += len;
    return true;
}

/* Reads a value that is no container. */
static bool scan_scalar(struct cursor *cursor, struct json_value *out)
{
    switch (*cursor->at) {
    case '"':
        return scan_string(cursor, out);
    case 't':
        return scan_word(cursor, "true", 4, JSON_TRUE, out);
    case 'f':
        return scan_word(cursor, "false", 5, JSON_FALSE, out);
    case 'n':
        return scan_word(cursor, "null", 4, JSON_NULL, out);
    default:
        return scan_number(cursor, out);
    }
}

/* Reads `"key" :` and the blanks around; the cursor ends where the value starts, which may be the end of the text. */
static bool scan_key(struct cursor *cursor, struct json_value *key)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != '"' || !scan_string(cursor, key))
        return false;
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != ':')
        return false;
    cursor->at++;
    skip_blanks(cursor);
    return true;
}

/* The containers around the cursor: one bit each, the innermost lowest, set for an object. */
struct nesting {
    uint32_t objects;
    unsigned depth;
};

/*
 * Behind a value: passes over what closes and over the comma and key that lead to the next value. *more: there is a
 * next value; else the outermost one is complete.
 */
static bool scan_to_next(struct cursor *cursor, struct nesting *nesting, bool *more)
{
    struct json_value key;
    while (nesting->depth > 0) {
        bool in_object = (nesting->objects & 1) != 0;
        skip_blanks(cursor);
        if (cursor->at == cursor->end)
            return false;
        char c = *cursor->at++;
        if (c == ',') {
            *more = true;
            if (in_object)
                return scan_key(cursor, &key);
            skip_blanks(cursor);
            return true;
        }
        if (c != (in_object ? '}' : ']'))
            return false;
        nesting->objects >>= 1;
        nesting->depth--;
    }
    *more = false;
    return true;
}

/* Enters a container; the cursor ends on its first value, or on its closing bracket (*empty). */
static enum status enter_container(struct cursor *cursor, struct nesting *nesting, bool *empty)
{
    bool is_object = *cursor->at == '{';
    if (nesting->depth == JSON_DEPTH_MAX)
        return STATUS_TOO_DEEP;
    nesting->objects = nesting->objects << 1 | (is_object ? 1 : 0);
    nesting->depth++;
    cursor->at++;
    skip_blanks(cursor);
    *empty = cursor->at < cursor->end && *cursor->at == (is_object ? '}' : ']');
    struct json_value key;
    if (!*empty && is_object && !scan_key(cursor, &key))
        return STATUS_NOT_JSON;
    return STATUS_OK;
}

enum status json_check(const char *body, size_t len, struct json_value *root)
{
    struct cursor cursor = {body, body + len};
    struct nesting nesting = {0, 0};
    struct json_value scalar = {JSON_ABSENT, false, NULL, 0};
    skip_blanks(&cursor);
    const char *start = cursor.at;
    bool more = true;
    while (more) {
        if (cursor.at == cursor.end)
            return STATUS_NOT_JSON;
        bool entered = false;
        if (*cursor.at == '{' || *cursor.at == '[') {
            bool empty = false;
            enum status status = enter_container(&cursor, &nesting, &empty);
            if (status != STATUS_OK)
                return status;
            entered = !empty;
        } else if (!scan_scalar(&cursor, &scalar)) {
            return STATUS_NOT_JSON;
        }
        if (!entered && !scan_to_next(&cursor, &nesting, &more))
            return STATUS_NOT_JSON;
    }
    const char *behind = cursor.at;
    skip_blanks(&cursor);
    if (cursor.at != cursor.end)
        return STATUS_NOT_JSON;
    if (*start == '{' || *start == '[')
        *root = (struct json_value){*start == '{' ? JSON_OBJECT : JSON_ARRAY, false, start, (size_t)(behind - start)};
    else
        *root = scalar;
    return STATUS_OK;
}

/* Passes over a container of checked text: only brackets and strings matter. */
static bool skip_container(struct cursor *cursor, struct json_value *out)
{
    const char *start = cursor->at;
    struct json_value ignored;
    unsigned depth = 0;
    while (cursor->at < cursor->end) {
        char c = *cursor->at;
        if (c == '"') {
            if (!scan_string(cursor, &ignored))
                return false;
            continue;
        }
        cursor->at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            break;
    }
    *out = (struct json_value){*start == '{' ? JSON_OBJECT : JSON_ARRAY, false, start, (size_t)(cursor->at - start)};
    return true;
}

/* The names of one call: a bit for each, by length, so that a key is compared only with names as long as itself. */
struct name_index {
    const char *const *names;
    uint64_t by_len[NAME_LEN_MAX + 1];
};

static void name_index_init(struct name_index *index, const char *const *names, size_t count)
{
    memset(index->by_len, 0, sizeof index->by_len);
    index->names = names;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        pm_assert(len <= NAME_LEN_MAX);
        index->by_len[len] |= 1ULL << i;
    }
}

/* Puts a value to every name that equals the key. */
static void name_index_put(const struct name_index *index, const struct json_value *key, const struct json_value *value,
                           struct json_value *out)
{
    char buffer[NAME_LEN_MAX];
    const char *bytes;
    size_t len;
    if (json_string(key, buffer, sizeof buffer, &bytes, &len) != STATUS_OK || len > NAME_LEN_MAX)
        return;
    for (uint64_t left = index->by_len[len]; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        if (memcmp(index->names[i], bytes, len) == 0)
            out[i] = *value;
    }
}

void json_members(const struct json_value *object, const char *const *names, size_t count, struct json_value *out)
{
    pm_assert(object->kind == JSON_OBJECT && count <= JSON_FIELDS_MAX);
    struct name_index index;
    name_index_init(&index, names, count);
    for (size_t i = 0; i < count; i++)
        out[i] = (struct json_value){JSON_ABSENT, false, NULL, 0};
    struct cursor cursor = {object->bytes + 1, object->bytes + object->len};
    struct json_value key, value;
    while (scan_key(&cursor, &key) && cursor.at < cursor.end) {
        bool is_container = *cursor.at == '{' || *cursor.at == '[';
        if (!(is_container ? skip_container(&cursor, &value) : scan_scalar(&cursor, &value)))
            return;
        name_index_put(&index, &key, &value, out);
        skip_blanks(&cursor);
        if (cursor.at == cursor.end || *cursor.at != ',')
            return;
        cursor.at++;
    }
}
