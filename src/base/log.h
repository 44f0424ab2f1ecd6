/*
 * log: events as JSON lines, without waiting.
 *
 * A thread registers once and gets a ring of its own; log_event() encodes the fields into it (no allocation, no lock,
 * no system call, no printf) and a writer thread in service/ drains all rings to standard output. When a ring is full
 * the line is dropped and counted. Threads that never registered (start-up code, tests) share a ring behind a mutex.
 *
 * A text too long is cut between two characters and fields beyond LOG_LINE_LEN_MAX are left out; such a line says
 * "line_cut":true. Lines of a registered thread say its name ("thread").
 *
 * Event names are snake_case literals and belong to one call site each. Never log a key, a password or a message body.
 */
#ifndef PM_LOG_H
#define PM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

enum { LOG_LINE_LEN_MAX = 1024 }; /* bytes of encoded fields, about 24 of them for each field's head */

enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_BOOL };

struct log_field {
    const char *key; /* a literal */
    enum log_field_kind kind;
    const char *text; /* not necessarily terminated; may be NULL: the field is null */
    size_t text_len;
    int64_t integer;
};

/* Constructors of fields; the text is copied by log_event(), never kept. */
struct log_field log_text(const char *key, const char *text);
struct log_field log_bytes(const char *key, const char *text, size_t len);
struct log_field log_int(const char *key, int64_t value);
struct log_field log_bool(const char *key, bool value);

/*
 * Gives the calling thread a ring of its own (64 KiB) under a name, of which 15 characters count. It stays for the life
 * of the process; threads after the 64th share the unregistered threads' ring. Thread: each once, before it logs.
 */
void log_register_thread(const char *name);

/* Lines below this level are not even encoded. Thread: any. */
void log_set_level(enum log_level level);
bool log_is_enabled(enum log_level level);

/*
 * Records one event. trace_id may be NULL. Use the macro.
 * Thread: any. Fails: silently, counted in log_dropped_count().
 */
void log_event(enum log_level level, const char *event, const char *trace_id, const struct log_field *fields,
               size_t count);

#define LOG_EVENT(level, event, trace_id, ...)                                                                         \
    do {                                                                                                               \
        if (log_is_enabled(level)) {                                                                                   \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                                      \
            log_event((level), (event), (trace_id), log_fields_, sizeof log_fields_ / sizeof log_fields_[0]);          \
        }                                                                                                              \
    } while (0)

/* Lines lost because a ring was full or could not be written, since the start. Thread: any. */
uint64_t log_dropped_count(void);

/*
 * Writes what the rings hold to fd as lines, oldest first within a ring, then a line log_lines_dropped if any were lost
 * since the last time. Takes what is there when it begins. Returns the number of lines. Thread: one drainer at a time
 * (the writer thread of service/, or a test). Blocks: in write(2).
 */
size_t log_drain(int fd, const char *service_name);

/*
 * An fd that is readable when lines wait (an eventfd, written only when the drainer sleeps: after log_drain() has
 * returned until it is called again). Thread: the drainer.
 */
int log_wake_fd(void);

#endif
