#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "trace.h"

Test(trace, only_harmless_text_is_echoed)
{
    static const struct {
        const char *name, *text;
        bool is_sane;
    } rows[] = {
        {"usual", "abc-123_x.Y:/", true},
        {"empty", "", false},
        {"blank", "a b", false},
        {"quote", "a\"b", false},
        {"apostrophe", "a'b", false},
        {"backslash", "a\\b", false},
        {"newline", "a\nb", false},
        {"tab", "a\tb", false},
        {"delete", "a\x7f", false},
        {"not ASCII", "\xc3\xa4", false},
        {"64", "0123456789012345678901234567890123456789012345678901234567890123", true},
        {"65", "01234567890123456789012345678901234567890123456789012345678901234", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(trace_id_is_sane(rows[i].text, strlen(rows[i].text)), rows[i].is_sane, "%s", rows[i].name);
    cr_expect_not(trace_id_is_sane("a\0b", 3));
}

Test(trace, the_id_is_taken_out_of_a_valid_traceparent)
{
    static const struct {
        const char *name, *text;
        bool is_valid;
    } rows[] = {
        {"valid", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"later version", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true},
        {"later version, no dash", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", false},
        {"version 00 with more", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false},
        {"version ff", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"upper case", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"zero trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"zero span", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"no dash", "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"bad flags", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", false},
        {"short", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"empty", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[TRACE_ID_LEN_MAX + 1] = "untouched";
        cr_expect_eq(trace_from_parent(rows[i].text, strlen(rows[i].text), out), rows[i].is_valid, "%s", rows[i].name);
        cr_expect_str_eq(out, rows[i].is_valid ? "0af7651916cd43dd8448eb211c80319c" : "untouched", "%s", rows[i].name);
    }
}

Test(trace, generated_ids_differ_and_are_32_hex_digits)
{
    char a[TRACE_ID_LEN_MAX + 1], b[TRACE_ID_LEN_MAX + 1];
    trace_generate(a);
    trace_generate(b);
    cr_expect_eq(strlen(a), 32);
    cr_expect_eq(strspn(a, "0123456789abcdef"), 32);
    cr_expect_str_neq(a, b);
}

static void *generate_elsewhere(void *out)
{
    trace_generate(out);
    return NULL;
}

Test(trace, generated_ids_of_one_thread_never_repeat_and_of_two_differ_in_the_first_half)
{
    enum { COUNT = 300 };
    static char ids[COUNT][TRACE_ID_LEN_MAX + 1];
    char other[TRACE_ID_LEN_MAX + 1];
    pthread_t thread;
    for (size_t i = 0; i < COUNT; i++) {
        trace_generate(ids[i]);
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(ids[i], ids[j]);
    }
    cr_assert_eq(pthread_create(&thread, NULL, generate_elsewhere, other), 0);
    pthread_join(thread, NULL);
    cr_expect_neq(memcmp(other, ids[0], 16), 0);
}
