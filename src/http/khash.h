/*
 * khash: as much of klib's hash table as <h2o/http2_internal.h> needs, which includes "khash.h" but comes without it.
 *
 * Only for reading the table of a connection's streams, which libh2o 2.2.5 makes and changes: the layout below is what
 * it was built with. A look-up goes over all buckets, of which there are few hundred at most, so that nothing but the
 * layout has to be known. Thread: that of the connection.
 */
#ifndef PM_KHASH_H
#define PM_KHASH_H

#include <stdint.h>

typedef uint32_t khint_t;
typedef khint_t khiter_t;

#define khash_t(name) kh_##name##_t

/* Two bits a bucket: empty, deleted. */
#define kh_exist(table, i) ((((table)->flags[(i) >> 4] >> (((i)&0xfU) << 1)) & 3U) == 0)
#define kh_end(table)      ((table)->n_buckets)
#define kh_val(table, i)   ((table)->vals[i])

#define KHASH_MAP_INIT_INT64(name, value_t)                                                                            \
    typedef struct {                                                                                                   \
        khint_t n_buckets, size, n_occupied, upper_bound;                                                              \
        uint32_t *flags;                                                                                               \
        uint64_t *keys;                                                                                                \
        value_t *vals;                                                                                                 \
    } kh_##name##_t;                                                                                                   \
    static inline khint_t kh_get_##name(const kh_##name##_t *table, uint64_t key)                                      \
    {                                                                                                                  \
        khint_t i = 0;                                                                                                 \
        while (i < table->n_buckets && !(kh_exist(table, i) && table->keys[i] == key))                                 \
            i++;                                                                                                       \
        return i;                                                                                                      \
    }
#define kh_get(name, table, key) kh_get_##name((table), (key))

#endif
