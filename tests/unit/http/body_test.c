#include <criterion/criterion.h>
#include <string.h>

#include "body.h"

Test(body, grows_and_keeps_what_was_written)
{
    struct body body = {0};
    for (int i = 0; i < 100000; i++)
        BODY_LITERAL(&body, "abcdefg");
    cr_expect_not(body.failed);
    cr_expect_eq(body.len, 700000);
    cr_expect(memcmp(body.bytes + 699993, "abcdefg", 7) == 0);
    body_finish(&body);
}

Test(body, a_writer_that_ran_out_of_its_room_fails_the_body)
{
    struct body body = {0};
    struct text text = body_open(&body, 1);
    for (int i = 0; i < 1000000; i++)
        text_char(&text, 'x');
    body_close(&body, &text);
    cr_expect(body.failed);
    body_clear(&body);
    cr_expect_not(body.failed);
    body_finish(&body);
}

Test(body, has_a_limit)
{
    struct body body = {0};
    struct text text = body_open(&body, (size_t)BODY_LEN_LIMIT + 1);
    text_char(&text, 'x');
    body_close(&body, &text);
    cr_expect(body.failed);
    cr_expect_eq(body.len, 0);
    body_finish(&body);
}

Test(body, a_kept_body_is_fresh_until_something_changes_or_time_is_up)
{
    struct body body = {0};
    struct kept_body kept = {0};
    cr_expect_not(kept_body_is_fresh(&kept, 0, 0, 1000));
    BODY_LITERAL(&body, "first");
    kept_body_set(&kept, &body, 7, 100);
    cr_expect(kept_body_is_fresh(&kept, 7, 1099, 1000));
    cr_expect_not(kept_body_is_fresh(&kept, 7, 1100, 1000), "too old");
    cr_expect_not(kept_body_is_fresh(&kept, 8, 101, 1000), "changed");
    cr_expect_not(kept_body_is_fresh(&kept, 7, 100, 0), "no time at all");
    body_clear(&body);
    BODY_LITERAL(&body, "second");
    kept_body_set(&kept, &body, 8, 200);
    cr_expect_eq(kept.len, 6);
    cr_expect(memcmp(kept.bytes, "second", 6) == 0);
    kept_body_finish(&kept);
    cr_expect_null(kept.bytes);
    body_finish(&body);
}
