#include <criterion/criterion.h>
#include <string.h>

#include "head.h"

#define BEGIN "POST /x HTTP/1.1\r\nHost: a\r\n"

Test(head, a_length_said_twice_is_found_in_the_head_and_nowhere_else)
{
    static const struct {
        const char *name, *text;
        bool is_twice;
    } rows[] = {
        {"not said", BEGIN "\r\n", false},
        {"a length", BEGIN "Content-Length: 5\r\n\r\nhello", false},
        {"chunks", BEGIN "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
        {"both", BEGIN "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
        {"both, the other way", BEGIN "transfer-encoding:chunked\r\nX: y\r\ncontent-length:5\r\n\r\n", true},
        {"two lengths", BEGIN "CONTENT-LENGTH: 5\r\ncontent-length: 5\r\n\r\n", true},
        {"twice chunks", BEGIN "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", true},
        {"in the body", BEGIN "Content-Length: 40\r\n\r\nContent-Length: 5\r\nContent-Length: 5\r\n", false},
        {"in the next request", BEGIN "Content-Length: 0\r\n\r\n" BEGIN "Content-Length: 0\r\n\r\n", false},
        {"lines without CR", "POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n\n", true},
        {"end without CR", "POST / HTTP/1.1\nContent-Length: 5\n\nContent-Length: 6\n", false},
        {"an empty line before", "\r\n" BEGIN "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", true},
        {"a longer name", BEGIN "Content-Length: 5\r\nContent-Lengths: 6\r\nX-Content-Length: 7\r\n\r\n", false},
        {"a value", BEGIN "Content-Length: 5\r\nX: content-length: 6\r\n content-length: 7\r\n\r\n", false},
        {"a line without end", BEGIN "Content-Length: 5\r\nContent-Length: 6", false},
        {"nothing", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(head_says_length_twice(rows[i].text, strlen(rows[i].text)), rows[i].is_twice, "%s", rows[i].name);
}
