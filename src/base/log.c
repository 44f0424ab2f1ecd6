/*
 * One ring of bytes a thread, single producer and single consumer; positions only grow and are masked on access. A ring
 * lives as long as the process, because its thread may end before the drainer has seen its last line.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log_line.h"

enum {
    CACHE_LINE = 64,
    RING_LEN = 65536, /* a power of two */
    RINGS_MAX = 64,   /* threads beyond these share a ring */
    THREAD_NAME_LEN_MAX = 15,
    OUTPUT_LEN_MAX = 4 * LOG_RENDERED_LEN_MAX,
};

struct ring {
    _Alignas(CACHE_LINE) atomic_size_t written; /* by the thread that logs */
    _Alignas(CACHE_LINE) atomic_size_t read;    /* by the drainer */
    _Alignas(CACHE_LINE) char name[THREAD_NAME_LEN_MAX + 1];
    unsigned char bytes[RING_LEN];
};

static struct ring shared_ring; /* of threads that never registered */
static pthread_mutex_t shared_ring_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ring *_Atomic rings[RINGS_MAX];
static atomic_size_t rings_taken; /* may pass RINGS_MAX: those threads got none */
static _Thread_local struct ring *own_ring;

static atomic_int level_min = LOG_LEVEL_INFO;
static atomic_uint_fast64_t dropped;

static atomic_int wake_fd = -1;
static atomic_bool drainer_sleeps;

/* The drainer's. */
static uint64_t dropped_reported;

struct log_field log_bytes(const char *key, const char *text, size_t len)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_TEXT, .text = text, .text_len = len};
}

struct log_field log_text(const char *key, const char *text)
{
    return log_bytes(key, text, text == NULL ? 0 : strlen(text));
}

struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_INT, .integer = value};
}

struct log_field log_bool(const char *key, bool value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_BOOL, .integer = value};
}

void log_register_thread(const char *name)
{
    if (own_ring != NULL)
        return;
    size_t index = atomic_fetch_add_explicit(&rings_taken, 1, memory_order_relaxed);
    if (index >= RINGS_MAX)
        return;
    struct ring *ring = aligned_alloc(CACHE_LINE, sizeof *ring);
    pm_assert(ring != NULL);
    memset(ring, 0, sizeof *ring);
    memcpy(ring->name, name, strnlen(name, THREAD_NAME_LEN_MAX));
    own_ring = ring;
    /* Pairs with the load in ring_at(): whoever sees the ring sees it empty and named. */
    atomic_store_explicit(&rings[index], ring, memory_order_release);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

bool log_is_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&level_min, memory_order_relaxed);
}

uint64_t log_dropped_count(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

/* ---- the side that logs ---- */

static void copy_in(struct ring *ring, size_t position, const unsigned char *bytes, size_t len)
{
    size_t at = position % RING_LEN;
    size_t first = len < RING_LEN - at ? len : RING_LEN - at;
    memcpy(ring->bytes + at, bytes, first);
    memcpy(ring->bytes, bytes + first, len - first);
}

static bool ring_write(struct ring *ring, const unsigned char *record, size_t len)
{
    size_t written = atomic_load_explicit(&ring->written, memory_order_relaxed); /* our own */
    /* Pairs with the store in drain_ring(): what was read may be overwritten. */
    size_t read = atomic_load_explicit(&ring->read, memory_order_acquire);
    if (RING_LEN - (written - read) < len)
        return false;
    copy_in(ring, written, record, len);
    /*
     * Pairs with the loads in drain_ring() and has_line(). Sequentially consistent, as the exchange in wake_drainer():
     * either the drainer sees the line before it sleeps, or we see that it sleeps.
     */
    atomic_store(&ring->written, written + len);
    return true;
}

static void write_wake_fd(void)
{
    int fd = atomic_load_explicit(&wake_fd, memory_order_relaxed);
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void wake_drainer(void)
{
    /* Both pair with the store of true in arm_wake(). The load keeps the line shared while the drainer is awake. */
    if (atomic_load(&drainer_sleeps) && atomic_exchange(&drainer_sleeps, false))
        write_wake_fd();
}

void log_event(enum log_level level, const char *event, const char *trace_id, const struct log_field *fields,
               size_t count)
{
    pm_assert(level >= LOG_LEVEL_DEBUG && level <= LOG_LEVEL_ERROR);
    if (!log_is_enabled(level))
        return;
    unsigned char record[LOG_RECORD_LEN_MAX];
    size_t len = log_record_encode(level, event, trace_id, fields, count, clock_wall_us(), record);
    bool is_written;
    if (own_ring != NULL) {
        is_written = ring_write(own_ring, record, len);
    } else {
        (void)pthread_mutex_lock(&shared_ring_lock);
        is_written = ring_write(&shared_ring, record, len);
        (void)pthread_mutex_unlock(&shared_ring_lock);
    }
    if (is_written)
        wake_drainer();
    else
        (void)atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
}

/* ---- the side that drains ---- */

/* Lines on their way to the descriptor. */
struct output {
    int fd;
    size_t len;
    size_t line_count; /* in the buffer and from a ring, so that losing them counts */
    char *bytes;
};

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written >= 0) {
            bytes += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            (void)poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void output_flush(struct output *output)
{
    if (!write_all(output->fd, output->bytes, output->len))
        (void)atomic_fetch_add_explicit(&dropped, output->line_count, memory_order_relaxed);
    output->len = 0;
    output->line_count = 0;
}

static void output_record(struct output *output, const unsigned char *record, const char *service_name,
                          const char *thread_name)
{
    if (OUTPUT_LEN_MAX - output->len < LOG_RENDERED_LEN_MAX)
        output_flush(output);
    output->len += log_record_render(record, service_name, thread_name, output->bytes + output->len);
}

static void copy_out(const struct ring *ring, size_t position, unsigned char *bytes, size_t len)
{
    size_t at = position % RING_LEN;
    size_t first = len < RING_LEN - at ? len : RING_LEN - at;
    memcpy(bytes, ring->bytes + at, first);
    memcpy(bytes + first, ring->bytes, len - first);
}

/* Takes what is there now, so that a thread that logs without end cannot keep the drainer from the other rings. */
static size_t drain_ring(struct ring *ring, struct output *output, const char *service_name)
{
    size_t count = 0;
    size_t position = atomic_load_explicit(&ring->read, memory_order_relaxed); /* our own */
    /* Pairs with the store in ring_write(). */
    size_t end = atomic_load_explicit(&ring->written, memory_order_acquire);
    while (position != end) {
        struct log_record head;
        unsigned char record[LOG_RECORD_LEN_MAX];
        copy_out(ring, position, (unsigned char *)&head, sizeof head);
        copy_out(ring, position, record, head.len);
        position += head.len;
        /* Pairs with the load in ring_write(). */
        atomic_store_explicit(&ring->read, position, memory_order_release);
        output_record(output, record, service_name, ring->name[0] == '\0' ? NULL : ring->name);
        output->line_count++;
        count++;
    }
    return count;
}

/* The shared ring stands behind the threads' own. NULL: none there yet. */
static struct ring *ring_at(size_t index)
{
    if (index == RINGS_MAX)
        return &shared_ring;
    return atomic_load_explicit(&rings[index],
                                memory_order_acquire); /* pairs with the store in log_register_thread() */
}

static bool has_line(void)
{
    for (size_t i = 0; i <= RINGS_MAX; i++) {
        struct ring *ring = ring_at(i);
        /* Pairs with the store in ring_write(), after the store in arm_wake(). */
        if (ring != NULL && atomic_load(&ring->written) != atomic_load_explicit(&ring->read, memory_order_relaxed))
            return true;
    }
    return false;
}

/* From here on until the next drain, a line written makes the descriptor readable. */
static void arm_wake(void)
{
    /* Pairs with wake_drainer(). */
    atomic_store(&drainer_sleeps, true);
    if (has_line())
        wake_drainer();
}

static size_t report_dropped(struct output *output, const char *service_name)
{
    uint64_t total = log_dropped_count();
    if (total == dropped_reported)
        return 0;
    struct log_field fields[] = {log_int("dropped", (int64_t)(total - dropped_reported)),
                                 log_int("dropped_total", (int64_t)total)};
    unsigned char record[LOG_RECORD_LEN_MAX];
    (void)log_record_encode(LOG_LEVEL_WARNING, "log_lines_dropped", NULL, fields, sizeof fields / sizeof fields[0],
                            clock_wall_us(), record);
    output_record(output, record, service_name, NULL);
    dropped_reported = total;
    return 1;
}

size_t log_drain(int fd, const char *service_name)
{
    static char bytes[OUTPUT_LEN_MAX];
    struct output output = {.fd = fd, .bytes = bytes};
    int wake = atomic_load_explicit(&wake_fd, memory_order_relaxed);
    if (wake >= 0) {
        atomic_store(&drainer_sleeps, false); /* awake: nobody needs to write the eventfd until arm_wake() */
        uint64_t wakes;
        (void)!read(wake, &wakes, sizeof wakes);
    }
    size_t count = 0;
    for (size_t i = 0; i <= RINGS_MAX; i++) {
        struct ring *ring = ring_at(i);
        if (ring != NULL)
            count += drain_ring(ring, &output, service_name);
    }
    count += report_dropped(&output, service_name);
    output_flush(&output);
    if (wake >= 0)
        arm_wake();
    return count;
}

int log_wake_fd(void)
{
    int fd = atomic_load_explicit(&wake_fd, memory_order_relaxed);
    if (fd < 0) {
        fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        pm_assert(fd >= 0);
        atomic_store_explicit(&wake_fd, fd, memory_order_relaxed);
        arm_wake(); /* publishes the descriptor, too: it is used only by who saw drainer_sleeps */
    }
    return fd;
}
