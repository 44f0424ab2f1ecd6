/*
 * log_line: one log event as bytes in a ring (a record), and as a line of JSON. Inside of log.c.
 *
 * Encoding happens on the thread that logs and is a few copies; rendering happens on the thread that drains. Keys and
 * event names are literals, so a record holds their addresses; texts are copied. Thread: any.
 */
#ifndef PM_LOG_LINE_H
#define PM_LOG_LINE_H

#include "log.h"

enum {
    LOG_TRACE_LEN_MAX = 64,       /* longer trace ids are cut */
    LOG_NAME_LEN_MAX = 64,        /* of the service, in a line */
    LOG_RECORD_LEN_MAX = 1152,    /* head, trace id, LOG_LINE_LEN_MAX bytes of fields */
    LOG_RENDERED_LEN_MAX = 16384, /* every byte escaped, plus keys */
};

/* The head of a record; trace id and fields follow. */
struct log_record {
    const char *event;
    int64_t wall_us;
    uint32_t len; /* of all, head included */
    uint8_t level;
    uint8_t trace_len;
    bool is_cut; /* fields are missing or shortened */
};

/*
 * Encodes an event into out. A text too long is cut at a character's border; fields beyond LOG_LINE_LEN_MAX are left
 * out. Returns the record's length.
 */
size_t log_record_encode(enum log_level level, const char *event, const char *trace_id, const struct log_field *fields,
                         size_t count, int64_t wall_us, unsigned char out[LOG_RECORD_LEN_MAX]);

/*
 * Renders a record as one line with its line feed; invalid UTF-8 becomes U+FFFD. thread_name may be NULL. Asserts that
 * out (LOG_RENDERED_LEN_MAX) suffices, which only absurd keys could break. Returns the length.
 */
size_t log_record_render(const unsigned char *record, const char *service_name, const char *thread_name,
                         char out[LOG_RENDERED_LEN_MAX]);

#endif
