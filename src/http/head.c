#include "head.h"

#include <string.h>
#include <strings.h>

static bool is_field(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    return len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0;
}

/* Without its end, CR LF or LF alone. */
static size_t line_len(const char *line, const char *end)
{
    return end > line && end[-1] == '\r' ? (size_t)(end - line) - 1 : (size_t)(end - line);
}

bool head_says_length_twice(const char *bytes, size_t len)
{
    int count = 0;
    const char *end;
    for (const char *line = bytes; (end = memchr(line, '\n', len - (size_t)(line - bytes))) != NULL; line = end + 1) {
        size_t this_len = line_len(line, end);
        /* An empty line ends the head, but one may stand before it. */
        if (this_len == 0 && line != bytes)
            break;
        if (is_field(line, this_len, "content-length") || is_field(line, this_len, "transfer-encoding"))
            count++;
    }
    return count > 1;
}
