/*
 * The forms are those of the server's array_recv, numeric_recv, timestamp_recv and so on: integers in network order, an
 * array's header in front, each element behind its length (-1: NULL).
 */
#include "binary_array.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "utf8.h"

enum {
    CAPACITY_MIN = 4096,
    HEADER_LEN = 20,  /* dimensions, has nulls, element type, elements, lower bound */
    EMPTY_LEN = 12,   /* an array without elements has no dimension, so the last two are left out */
    LENGTH_LEN = 4,   /* of an element */
    INVALID_LEN = 4,  /* \xHH */
    CHUNK_GROUPS = 4, /* groups of four decimal digits in 10^16 */
    DECIMAL_SCALE = 8,
    WIDE_SCALE = 16,
    NUMERIC_NEGATIVE = 0x4000,
};

#define CHUNK           10000000000000000ULL /* 10^16 */
#define SERVER_EPOCH_US 946684800000000LL    /* 2000-01-01 */

static const char hex_digits[] = "0123456789abcdef";

/* ---- bytes ---- */

static char *reserve(struct binary_array *array, size_t extra)
{
    if (array->capacity - array->len < extra) {
        size_t capacity = array->capacity < CAPACITY_MIN ? CAPACITY_MIN : array->capacity;
        while (capacity - array->len < extra)
            capacity *= 2;
        char *bytes = realloc(array->bytes, capacity);
        pm_assert(bytes != NULL);
        array->bytes = bytes;
        array->capacity = capacity;
    }
    return array->bytes + array->len;
}

static void store_16(char *at, int value)
{
    const uint16_t bits = htobe16((uint16_t)value);
    memcpy(at, &bits, sizeof bits);
}

static void store_32(char *at, int64_t value)
{
    const uint32_t bits = htobe32((uint32_t)value);
    memcpy(at, &bits, sizeof bits);
}

static void store_64(char *at, int64_t value)
{
    const uint64_t bits = htobe64((uint64_t)value);
    memcpy(at, &bits, sizeof bits);
}

/* Room for one more element of that length; what goes into it is written at the returned place. */
static char *begin_element(struct binary_array *array, size_t len)
{
    char *at = reserve(array, LENGTH_LEN + len);
    store_32(at, (int64_t)len);
    array->len += LENGTH_LEN + len;
    array->count++;
    return at + LENGTH_LEN;
}

/* ---- the array ---- */

void binary_array_clear(struct binary_array *array, enum binary_type type)
{
    array->len = 0;
    (void)reserve(array, HEADER_LEN);
    array->len = HEADER_LEN;
    array->count = 0;
    array->type = type;
    array->has_null = false;
}

struct pg_param binary_array_param(struct binary_array *array)
{
    const bool is_empty = array->count == 0;
    pm_assert(array->len >= HEADER_LEN && array->len <= INT_MAX);
    store_32(array->bytes, is_empty ? 0 : 1);
    store_32(array->bytes + 4, array->has_null);
    store_32(array->bytes + 8, array->type);
    store_32(array->bytes + 12, (int64_t)array->count);
    store_32(array->bytes + 16, 1);
    return (struct pg_param){.value = array->bytes, .len = is_empty ? EMPTY_LEN : (int)array->len, .is_binary = true};
}

void binary_array_free(struct binary_array *array)
{
    free(array->bytes);
    *array = (struct binary_array){0};
}

void binary_array_null(struct binary_array *array)
{
    store_32(reserve(array, LENGTH_LEN), -1);
    array->len += LENGTH_LEN;
    array->count++;
    array->has_null = true;
}

/* ---- elements but numerics ---- */

static size_t write_invalid(char *at, unsigned char byte)
{
    const char escaped[INVALID_LEN] = {'\\', 'x', hex_digits[byte >> 4], hex_digits[byte & 15]};
    memcpy(at, escaped, sizeof escaped);
    return sizeof escaped;
}

void binary_array_text(struct binary_array *array, const char *text)
{
    pm_assert(array->type == BINARY_TEXT);
    if (text == NULL || text[0] == '\0') {
        binary_array_null(array);
        return;
    }
    const unsigned char *from = (const unsigned char *)text, *end = from + strlen(text);
    const size_t start = array->len;
    char *at = reserve(array, LENGTH_LEN + INVALID_LEN * (size_t)(end - from)) + LENGTH_LEN;
    size_t len = 0;
    while (from < end) {
        const size_t step = utf8_sequence_len(from, end);
        if (step == 0) {
            len += write_invalid(at + len, *from++);
            continue;
        }
        memcpy(at + len, from, step);
        len += step;
        from += step;
    }
    store_32(array->bytes + start, (int64_t)len);
    array->len += LENGTH_LEN + len;
    array->count++;
}

void binary_array_int(struct binary_array *array, int64_t value)
{
    if (array->type == BINARY_INT8) {
        store_64(begin_element(array, sizeof(int64_t)), value);
        return;
    }
    pm_assert(array->type == BINARY_INT4 && value >= INT32_MIN && value <= INT32_MAX);
    store_32(begin_element(array, sizeof(int32_t)), value);
}

void binary_array_time(struct binary_array *array, int64_t wall_us)
{
    pm_assert(array->type == BINARY_TIMESTAMP);
    if (wall_us == TIME_NONE)
        binary_array_null(array);
    else
        store_64(begin_element(array, sizeof(int64_t)), wall_us - SERVER_EPOCH_US);
}

void binary_array_uuid(struct binary_array *array, const struct uuid *uuid)
{
    pm_assert(array->type == BINARY_UUID);
    memcpy(begin_element(array, sizeof uuid->bytes), uuid->bytes, sizeof uuid->bytes);
}

void binary_array_words(struct binary_array *array, const uint64_t *words, size_t count)
{
    pm_assert(array->type == BINARY_TEXT);
    if (count == 0) {
        binary_array_null(array);
        return;
    }
    char *at = begin_element(array, count * 16);
    for (size_t i = 0; i < count; i++) {
        for (int shift = 60; shift >= 0; shift -= 4)
            *at++ = hex_digits[(words[i] >> shift) & 15];
    }
}

/* ---- numerics: groups of four decimal digits, the first one worth 10000^weight ---- */

static void put_numeric(struct binary_array *array, const uint16_t *groups, int count, int weight, bool is_negative,
                        int scale)
{
    pm_assert(array->type == BINARY_NUMERIC);
    while (count > 0 && groups[0] == 0) {
        groups++;
        count--;
        weight--;
    }
    while (count > 0 && groups[count - 1] == 0)
        count--;
    char *at = begin_element(array, 8 + 2 * (size_t)count);
    store_16(at, count);
    store_16(at + 2, count > 0 ? weight : 0);
    store_16(at + 4, is_negative && count > 0 ? NUMERIC_NEGATIVE : 0);
    store_16(at + 6, scale);
    for (int i = 0; i < count; i++)
        store_16(at + 8 + 2 * i, groups[i]);
}

void binary_array_decimal(struct binary_array *array, struct decimal value)
{
    if (decimal_is_none(value)) {
        binary_array_null(array);
        return;
    }
    uint16_t groups[3 * CHUNK_GROUPS]; /* 128 bits have 39 digits at most */
    int first = 3 * CHUNK_GROUPS;
    const bool is_negative = value.units < 0;
    uint128 rest = is_negative ? -(uint128)value.units : (uint128)value.units;
    while (rest != 0) {
        uint64_t chunk = (uint64_t)(rest % CHUNK);
        rest /= CHUNK;
        for (int i = 0; i < CHUNK_GROUPS; i++, chunk /= 10000)
            groups[--first] = (uint16_t)(chunk % 10000);
    }
    const int count = 3 * CHUNK_GROUPS - first;
    put_numeric(array, groups + first, count, count - 1 - DECIMAL_SCALE / 4, is_negative, DECIMAL_SCALE);
}

void binary_array_wide(struct binary_array *array, struct wide value)
{
    uint16_t reversed[WIDE_GROUPS_MAX], groups[WIDE_GROUPS_MAX];
    const int count = (int)wide_groups(value, reversed);
    for (int i = 0; i < count; i++)
        groups[i] = reversed[count - 1 - i];
    put_numeric(array, groups, count, count - 1 - WIDE_SCALE / 4, wide_sign(value) < 0, WIDE_SCALE);
}
