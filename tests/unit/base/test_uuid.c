#include "uuid.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(uuid, text_goes_there_and_back_in_either_case)
{
    const char *text = "01234567-89ab-4def-8123-456789abcdef";
    const char *upper = "01234567-89AB-4DEF-8123-456789ABCDEF";
    struct uuid a;
    struct uuid b;
    cr_assert(uuid_parse(text, UUID_TEXT_LEN, &a) == STATUS_OK);
    cr_assert(uuid_parse(upper, UUID_TEXT_LEN, &b) == STATUS_OK);
    cr_expect(uuid_is_equal(&a, &b));
    cr_expect(a.bytes[0] == 0x01 && a.bytes[15] == 0xef);
    char shown[UUID_TEXT_LEN + 1];
    memset(shown, '#', sizeof shown);
    uuid_format(&b, shown);
    cr_expect(memcmp(shown, text, UUID_TEXT_LEN) == 0, "%.36s", shown);
    cr_expect(shown[UUID_TEXT_LEN] == '#', "one byte too many was written");
}

Test(uuid, anything_but_the_canonical_form_is_refused)
{
    static const char *const rows[] = {
        "",
        "0",
        "0123456789ab4def8123456789abcdef",      /* no dashes */
        "{1234567-89ab-4def-8123-456789abcde}",  /* braces */
        "01234567-89ab-4def-8123-456789abcde",   /* 35 */
        "01234567-89ab-4def-8123-456789abcdef0", /* 37 */
        "0123456-789ab-4def-8123-456789abcdef",  /* a dash too early */
        "01234567089ab-4def-8123-456789abcdef",  /* a digit for a dash */
        "01234567-89ab-4def-8123-456789abcdeg",  /* g */
        "g1234567-89ab-4def-8123-456789abcdef",
        "01234567-89ab-4def-8123_456789abcdef",
        "01234567-89ab-4def-81 3-456789abcdef",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct uuid uuid = {{4, 7, 1, 1}};
        const struct uuid kept = uuid;
        cr_expect(uuid_parse(rows[i], strlen(rows[i]), &uuid) == STATUS_INVALID, "%s", rows[i]);
        cr_expect(uuid_is_equal(&uuid, &kept), "%s: the result changed", rows[i]);
    }
}

static int compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

Test(uuid, new_ones_are_version_4_and_all_different)
{
    enum { COUNT = 10000 };
    static struct uuid made[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        made[i] = uuid_generate();
        cr_assert(made[i].bytes[6] >> 4 == 4, "version");
        cr_assert(made[i].bytes[8] >> 6 == 2, "variant");
    }
    qsort(made, COUNT, sizeof made[0], compare_uuids);
    for (size_t i = 1; i < COUNT; i++)
        cr_assert(!uuid_is_equal(&made[i - 1], &made[i]), "made twice");
}
