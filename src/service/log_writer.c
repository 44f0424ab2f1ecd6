#define _GNU_SOURCE /* pthread_setname_np */

#include "log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "log.h"

/* A line whose wake-up went missing waits no longer than this. */
enum { LOOK_ANYWAY_MS = 250 };

struct log_writer {
    pthread_t thread;
    const char *service_name;
    int fd;
    int stop_fd;  /* readable: end after one more drain */
    int ended_fd; /* readable: the thread touches nothing any more */
    atomic_bool is_stopping;
};

static void raise_event(int event_fd)
{
    uint64_t one = 1;
    ssize_t written = write(event_fd, &one, sizeof one);
    pm_assert(written == sizeof one);
}

static void *run(void *context)
{
    struct log_writer *writer = context;
    bool is_last;
    do {
        /* Read before the drain: what was logged before the stop is in the rings by then. */
        is_last = atomic_load_explicit(&writer->is_stopping, memory_order_acquire);
        size_t line_count = log_drain(writer->fd, writer->service_name);
        struct pollfd waited[] = {{log_wake_fd(), POLLIN, 0}, {writer->stop_fd, POLLIN, 0}};
        if (line_count == 0 && !is_last)
            poll(waited, 2, LOOK_ANYWAY_MS);
    } while (!is_last);
    raise_event(writer->ended_fd);
    return NULL;
}

/* The thread inherits the mask: handlers run elsewhere, and EPIPE comes as an error, not as SIGPIPE. */
static int start_thread(struct log_writer *writer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&writer->thread, NULL, run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_setname_np(writer->thread, "log-writer");
    return failure;
}

static void destroy(struct log_writer *writer)
{
    close(writer->stop_fd);
    close(writer->ended_fd);
    free(writer);
}

struct log_writer *log_writer_start(int fd, const char *service_name)
{
    struct log_writer *writer = calloc(1, sizeof *writer);
    pm_assert(writer != NULL);
    writer->fd = fd;
    writer->service_name = service_name;
    writer->stop_fd = eventfd(0, EFD_CLOEXEC);
    writer->ended_fd = eventfd(0, EFD_CLOEXEC);
    pm_assert(writer->stop_fd >= 0 && writer->ended_fd >= 0);
    if (start_thread(writer) == 0)
        return writer;
    destroy(writer);
    return NULL;
}

static bool has_ended(const struct log_writer *writer, int deadline_ms)
{
    struct pollfd waited = {writer->ended_fd, POLLIN, 0};
    int ready;
    do
        ready = poll(&waited, 1, deadline_ms);
    while (ready < 0 && errno == EINTR);
    return ready == 1;
}

void log_writer_stop(struct log_writer *writer, int deadline_ms)
{
    if (writer == NULL)
        return;
    atomic_store_explicit(&writer->is_stopping, true, memory_order_release); /* pairs with the load in run() */
    raise_event(writer->stop_fd);
    if (!has_ended(writer, deadline_ms)) {
        /* It hangs in write(2) and still uses the struct, which therefore is left to the end of the process. */
        pthread_detach(writer->thread);
        return;
    }
    pthread_join(writer->thread, NULL);
    destroy(writer);
}
