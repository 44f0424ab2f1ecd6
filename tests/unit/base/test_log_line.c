#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "log_line.h"

enum { FIELDS_MAX = 64 };

static unsigned char record[LOG_RECORD_LEN_MAX];
static char line[LOG_RENDERED_LEN_MAX + 1];

static const char *rendered(const char *trace_id, const struct log_field *fields, size_t count, int64_t wall_us)
{
    size_t len = log_record_encode(LOG_LEVEL_INFO, "tested", trace_id, fields, count, wall_us, record);
    cr_assert_leq(len, LOG_RECORD_LEN_MAX);
    line[log_record_render(record, "svc", NULL, line)] = '\0';
    return line;
}

/* The text of a line's only field, as rendered between its quotes. */
static const char *rendered_text(const char *text, size_t len)
{
    struct log_field field = log_bytes("k", text, len);
    char *at = strstr(rendered(NULL, &field, 1, 0), "\"k\":\"");
    cr_assert_not_null(at);
    at += strlen("\"k\":\"");
    char *end = strstr(at, "\"}\n");
    cr_assert_not_null(end);
    *end = '\0';
    return at;
}

Test(log_line, has_the_members_of_the_contract_in_order)
{
    struct log_field fields[] = {log_text("asset", "BTCUSDT"), log_int("version", 7), log_bool("fixed", true),
                                 log_bool("valid", false), log_text("reason", NULL)};
    (void)log_record_encode(LOG_LEVEL_WARNING, "position_changed", "t-1", fields, 5, 1736935200123456, record);
    line[log_record_render(record, "position-manager", "shard-0", line)] = '\0';
    cr_assert_str_eq(line, "{\"timestamp\":\"2025-01-15T10:00:00.123456Z\",\"level\":\"WARNING\","
                           "\"event\":\"position_changed\",\"service\":\"position-manager\",\"trace_id\":\"t-1\","
                           "\"thread\":\"shard-0\",\"asset\":\"BTCUSDT\",\"version\":7,\"fixed\":true,"
                           "\"valid\":false,\"reason\":null}\n");
}

Test(log_line, leaves_out_a_trace_that_is_not_there)
{
    cr_assert_null(strstr(rendered(NULL, NULL, 0, 0), "trace_id"));
    cr_assert_null(strstr(rendered("", NULL, 0, 0), "trace_id"));
}

Test(log_line, names_every_level)
{
    static const char *const words[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        (void)log_record_encode((enum log_level)level, "e", NULL, NULL, 0, 0, record);
        line[log_record_render(record, "s", NULL, line)] = '\0';
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "\"level\":\"%s\",", words[level]);
        cr_assert_not_null(strstr(line, wanted), "%s", words[level]);
    }
}

Test(log_line, tells_the_time_in_utc_with_microseconds)
{
    static const struct {
        int64_t wall_us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1970-01-01T00:00:00.000000Z"},
        {951782399999999, "2000-02-28T23:59:59.999999Z"},
        {951782400000000, "2000-02-29T00:00:00.000000Z"},
        {951868800000001, "2000-03-01T00:00:00.000001Z"},
        {1709164800000000, "2024-02-29T00:00:00.000000Z"},
        {1735689599000000, "2024-12-31T23:59:59.000000Z"},
        {1735689600000000, "2025-01-01T00:00:00.000000Z"},
        {4107542400000000, "2100-03-01T00:00:00.000000Z"},
        {253402300799999999, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = rendered(NULL, NULL, 0, rows[i].wall_us) + strlen("{\"timestamp\":\"");
        cr_assert_eq(strncmp(text, rows[i].text, strlen(rows[i].text)), 0, "%s: %s", rows[i].text, text);
    }
}

Test(log_line, writes_integers_to_their_ends)
{
    struct log_field fields[] = {log_int("a", INT64_MIN), log_int("b", INT64_MAX), log_int("c", 0), log_int("d", -10)};
    cr_assert_not_null(strstr(rendered(NULL, fields, 4, 0),
                              "\"a\":-9223372036854775808,\"b\":9223372036854775807,\"c\":0,\"d\":-10}"));
}

Test(log_line, escapes_what_json_cannot_hold)
{
    static const struct {
        const char *name;
        const char *text;
        size_t len;
        const char *wanted;
    } rows[] = {
        {"nothing", "", 0, ""},
        {"plain", "abc /~", 6, "abc /~"},
        {"quote and backslash", "a\"b\\c", 5, "a\\\"b\\\\c"},
        {"line ends and tab", "a\nb\rc\td", 7, "a\\nb\\rc\\td"},
        {"controls", "\x01\x1f\x7f", 3, "\\u0001\\u001f\\u007f"},
        {"zero byte", "a\0b", 3, "a\\u0000b"},
        {"two, three and four bytes", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9,
         "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"highest character", "\xF4\x8F\xBF\xBF", 4, "\xF4\x8F\xBF\xBF"},
        {"above it", "\xF4\x90\x80\x80", 4, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"lone continuation", "a\x80z", 3, "a\xEF\xBF\xBDz"},
        {"cut short", "a\xE2\x82", 3, "a\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"interrupted", "\xC3z", 2, "\xEF\xBF\xBDz"},
        {"overlong slash", "\xC0\xAF", 2, "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"overlong of three", "\xE0\x9F\xBF", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"overlong of four", "\xF0\x8F\xBF\xBF", 4, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"surrogate", "\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"no such byte", "\xFF", 1, "\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_str_eq(rendered_text(rows[i].text, rows[i].len), rows[i].wanted, "%s", rows[i].name);
}

Test(log_line, long_text_is_cut_between_characters_and_marked)
{
    char text[4000];
    for (size_t shift = 0; shift < 2; shift++) { /* whichever way the border falls */
        memset(text, 'x', shift);
        for (size_t i = shift; i + 1 < sizeof text; i += 2)
            memcpy(text + i, "\xC3\xA9", 2);
        struct log_field fields[] = {log_bytes("long", text, sizeof text - 2), log_int("after", 1)};
        const char *cut = rendered(NULL, fields, 2, 0);
        cr_assert_null(strstr(cut, "\xEF\xBF\xBD"), "shift %zu", shift);
        cr_assert_null(strstr(cut, "after"));
        cr_assert_not_null(strstr(cut, "\xC3\xA9\",\"line_cut\":true}\n"));
        cr_assert_gt(strlen(cut), 900);
    }
}

Test(log_line, fields_beyond_the_limit_are_left_out_whole)
{
    struct log_field fields[FIELDS_MAX];
    for (size_t i = 0; i < FIELDS_MAX; i++)
        fields[i] = log_int("k", 1234567);
    const char *cut = rendered("trace", fields, FIELDS_MAX, 0);
    size_t count = 0;
    for (const char *at = cut; (at = strstr(at, "\"k\":1234567")) != NULL; at++)
        count++;
    cr_assert_gt(count, 20);
    cr_assert_lt(count, FIELDS_MAX);
    cr_assert_not_null(strstr(cut, ",\"line_cut\":true}\n"));
}

Test(log_line, long_trace_and_service_names_are_cut)
{
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    size_t len = log_record_encode(LOG_LEVEL_INFO, "e", name, NULL, 0, 0, record);
    cr_assert_eq(len, sizeof(struct log_record) + LOG_TRACE_LEN_MAX);
    line[log_record_render(record, name, NULL, line)] = '\0';
    const char *service = strstr(line, "\"service\":\"") + strlen("\"service\":\"");
    cr_assert_eq(strspn(service, "n"), LOG_NAME_LEN_MAX);
    const char *trace = strstr(line, "\"trace_id\":\"") + strlen("\"trace_id\":\"");
    cr_assert_eq(strspn(trace, "n"), LOG_TRACE_LEN_MAX);
}

Test(log_line, worst_text_fits_the_rendered_line)
{
    char text[LOG_LINE_LEN_MAX];
    memset(text, 1, sizeof text); /* six characters each */
    struct log_field field = log_bytes("k", text, sizeof text);
    char trace[LOG_TRACE_LEN_MAX + 1];
    memset(trace, 2, sizeof trace);
    trace[LOG_TRACE_LEN_MAX] = '\0';
    const char *cut = rendered(trace, &field, 1, 0);
    cr_assert_gt(strlen(cut), 6000);
    cr_assert_lt(strlen(cut), LOG_RENDERED_LEN_MAX);
}
