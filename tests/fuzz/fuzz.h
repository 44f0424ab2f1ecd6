/*
 * fuzz: programs that are fed whatever bytes there are; a target returns, or the process aborts.
 *
 * The same targets run twice: in fuzz_replay over a built-in corpus and its mutations (any compiler, part of ctest),
 * and with libFuzzer (clang, -DPM_FUZZERS=ON) for as long as one likes.
 */
#ifndef PM_FUZZ_H
#define PM_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef void fuzz_target_fn(const uint8_t *data, size_t len);

/* What json_check accepts json-c accepts too, and both see the same members, strings and numbers. */
fuzz_target_fn fuzz_json;
/* Both decoders, with what must hold of their results. */
fuzz_target_fn fuzz_decode;
/* The writer: any bytes become a valid JSON string that reads back; times that parse print and parse again. */
fuzz_target_fn fuzz_text;

/* Prints and aborts; the data is printed as far as it is printable. */
void fuzz_failed(const char *what, const uint8_t *data, size_t len) __attribute__((noreturn));

#define fuzz_expect(condition, data, len)                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fuzz_failed(#condition, (data), (len));                                                                    \
    } while (0)

#endif
