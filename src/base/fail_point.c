#include "fail_point.h"

#ifdef PM_FAIL_POINTS

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum action { ACTION_CRASH, ACTION_STOP, ACTION_BREAK };

enum { STOP_MS_MAX = 3600000, REACHED_MAX = 1000000000 };

atomic_int fail_point_armed = FAIL_POINT_NONE;

/* Written before the threads start. */
static enum action armed_action;
static int armed_stop_ms;
static atomic_int left; /* how often it is still passed without effect, plus one */

static const char *const names[FAIL_POINT_COUNT] = {
    [FAIL_POINT_NONE] = "none",
    [FAIL_POINT_DELIVERY_TAKEN] = "delivery_taken",
    [FAIL_POINT_STATEMENTS_SENT] = "statements_sent",
    [FAIL_POINT_BEFORE_COMMIT] = "before_commit",
    [FAIL_POINT_COMMIT_SENT] = "commit_sent",
    [FAIL_POINT_AFTER_COMMIT] = "after_commit",
    [FAIL_POINT_BEFORE_VIEW] = "before_view",
    [FAIL_POINT_BEFORE_ANNOUNCEMENT] = "before_announcement",
    [FAIL_POINT_AFTER_ANNOUNCEMENT] = "after_announcement",
    [FAIL_POINT_AFTER_CONFIRM] = "after_confirm",
    [FAIL_POINT_BEFORE_ACKNOWLEDGE] = "before_acknowledge",
    [FAIL_POINT_AFTER_ACKNOWLEDGE] = "after_acknowledge",
    [FAIL_POINT_BEFORE_DEAD_LETTER] = "before_dead_letter",
    [FAIL_POINT_DEAD_LETTER_CONFIRMED] = "dead_letter_confirmed",
    [FAIL_POINT_SNAPSHOT_TAKEN] = "snapshot_taken",
    [FAIL_POINT_SNAPSHOT_CONFIRMED] = "snapshot_confirmed",
};

/* Takes the next part of name:action:count off the text. Returns its length. */
static size_t next_part(const char **text, const char **part)
{
    *part = *text;
    size_t len = strcspn(*text, ":");
    *text += len + ((*text)[len] == ':' ? 1 : 0);
    return len;
}

static enum status parse_number(const char *text, size_t len, long max, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (len == 0 || end != text + len || value < 1 || value > max)
        return STATUS_INVALID;
    *out = (int)value;
    return STATUS_OK;
}

static enum status parse_action(const char *text, size_t len)
{
    static const char stop[] = "stop=";
    const size_t stop_len = sizeof stop - 1;
    if (len == 5 && memcmp(text, "crash", len) == 0)
        armed_action = ACTION_CRASH;
    else if (len == 5 && memcmp(text, "break", len) == 0)
        armed_action = ACTION_BREAK;
    else if (len > stop_len && memcmp(text, stop, stop_len) == 0) {
        armed_action = ACTION_STOP;
        return parse_number(text + stop_len, len - stop_len, STOP_MS_MAX, &armed_stop_ms);
    } else
        return STATUS_INVALID;
    return STATUS_OK;
}

static enum status parse_name(const char *text, size_t len, int *point)
{
    for (*point = FAIL_POINT_NONE + 1; *point < FAIL_POINT_COUNT; ++*point) {
        if (strlen(names[*point]) == len && memcmp(names[*point], text, len) == 0)
            return STATUS_OK;
    }
    return STATUS_INVALID;
}

enum status fail_point_arm(const char *text)
{
    const char *part;
    int point = FAIL_POINT_NONE, count = 1;
    atomic_store(&fail_point_armed, FAIL_POINT_NONE);
    if (text == NULL || text[0] == '\0')
        return STATUS_OK;
    size_t len = next_part(&text, &part);
    enum status status = parse_name(part, len, &point);
    if (status == STATUS_OK) {
        len = next_part(&text, &part);
        status = parse_action(part, len);
    }
    if (status == STATUS_OK && part[len] == ':')
        status = parse_number(text, strlen(text), REACHED_MAX, &count);
    if (status != STATUS_OK)
        return status;
    atomic_store(&left, count);
    atomic_store(&fail_point_armed, point);
    return STATUS_OK;
}

void fail_point_reached(int fd)
{
    if (atomic_fetch_sub(&left, 1) != 1)
        return;
    atomic_store(&fail_point_armed, FAIL_POINT_NONE);
    switch (armed_action) {
    case ACTION_CRASH:
        (void)raise(SIGKILL);
        return;
    case ACTION_STOP:
        (void)poll(NULL, 0, armed_stop_ms);
        return;
    case ACTION_BREAK:
        if (fd >= 0)
            (void)shutdown(fd, SHUT_RDWR);
        return;
    }
}

#endif
