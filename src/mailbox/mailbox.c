/*
 * The rings are ck_ring's single-producer, single-consumer ones. The parking place is a flag and an eventfd:
 *
 *   sender:   enqueue; full fence; if parked: take the flag down and write the eventfd
 *   receiver: put the flag up; full fence; look into the lanes again; poll the eventfd
 *
 * Of two threads that store and then look at what the other stores, with a full fence between, at least one sees the
 * other: the sender the flag, or the receiver the message. Weaker fences allow both to miss and the receiver to sleep
 * over a message. ThreadSanitizer cannot look into ck's assembly: the hand-over of a message is told to it below.
 */
#define _GNU_SOURCE /* ppoll */

#include "mailbox.h"

#include <ck_pr.h>
#include <ck_ring.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "metrics.h"
#include "tsan.h"

enum { CACHE_LINE = 64, RING_LEN_MIN = 4, CAPACITY_MAX = 1048576 };

/* ck_ring keeps its consumer's, its producer's and its constant words on cache lines of their own. */
struct lane {
    ck_ring_t ring;
    ck_ring_buffer_t *slots;
} __attribute__((aligned(CACHE_LINE)));

struct mailbox {
    /* constant after creation */
    const char *name;
    size_t lane_count;
    int wake_fd;

    /* the receiver's */
    size_t first_lane
        __attribute__((aligned(CACHE_LINE))); /* where the next round begins, so that no lane is always last */

    /* shared */
    atomic_uint parked __attribute__((aligned(CACHE_LINE)));

    struct lane lanes[];
};

/* A ring of n slots holds n - 1, and n must be a power of two: ck_ring_init() takes any other number in silence. */
static uint32_t ring_len(uint32_t capacity)
{
    uint32_t len = RING_LEN_MIN;
    while (len < capacity + 1)
        len *= 2;
    return len;
}

static void *allocate(size_t bytes)
{
    size_t rounded = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory = aligned_alloc(CACHE_LINE, rounded);
    pm_assert(memory != NULL);
    return memory;
}

struct mailbox *mailbox_create(const char *name, const uint32_t *capacities, size_t lane_count)
{
    pm_assert(lane_count >= 1 && lane_count <= MAILBOX_LANES_MAX);
    struct mailbox *mailbox = allocate(sizeof *mailbox + lane_count * sizeof mailbox->lanes[0]);
    mailbox->name = name;
    mailbox->lane_count = lane_count;
    mailbox->first_lane = 0;
    atomic_init(&mailbox->parked, 0);
    mailbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pm_assert(mailbox->wake_fd >= 0);
    for (size_t i = 0; i < lane_count; i++) {
        pm_assert(capacities[i] >= 1 && capacities[i] <= CAPACITY_MAX);
        struct lane *lane = &mailbox->lanes[i];
        uint32_t len = ring_len(capacities[i]);
        lane->slots = allocate(len * sizeof lane->slots[0]);
        ck_ring_init(&lane->ring, len);
    }
    return mailbox;
}

void mailbox_destroy(struct mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    for (size_t i = 0; i < mailbox->lane_count; i++) {
        pm_assert(ck_ring_size(&mailbox->lanes[i].ring) == 0);
        free(mailbox->lanes[i].slots);
    }
    (void)close(mailbox->wake_fd);
    free(mailbox);
}

static struct lane *lane_at(struct mailbox *mailbox, size_t lane)
{
    pm_assert(lane < mailbox->lane_count);
    return &mailbox->lanes[lane];
}

/* Cannot fail in a way that matters: a full counter (EAGAIN) is readable already. */
static void write_wake_fd(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

enum status mailbox_send(struct mailbox *mailbox, size_t lane_index, struct message **message)
{
    struct lane *lane = lane_at(mailbox, lane_index);
    pm_assert(*message != NULL);
    TSAN_RELEASE(*message); /* pairs with TSAN_ACQUIRE in take() */
    if (!ck_ring_enqueue_spsc(&lane->ring, lane->slots, *message)) {
        metric_add(METRIC_MAILBOX_FULL, 1);
        return STATUS_FULL;
    }
    *message = NULL;
    /* Orders the enqueue before the load of parked; pairs with the fence in mailbox_prepare_wait(). */
    ck_pr_fence_memory();
    /* Pairs with the store of 1 in mailbox_prepare_wait(). */
    if (atomic_load_explicit(&mailbox->parked, memory_order_relaxed) != 0 &&
        /* Pairs with itself in other senders: one of them writes the eventfd. */
        atomic_exchange_explicit(&mailbox->parked, 0, memory_order_acq_rel) != 0)
        write_wake_fd(mailbox->wake_fd);
    return STATUS_OK;
}

void mailbox_send_reserved(struct mailbox *mailbox, size_t lane, struct message **message)
{
    enum status status = mailbox_send(mailbox, lane, message);
    pm_assert(status == STATUS_OK);
}

static size_t take(struct lane *lane, struct message **out, size_t max)
{
    size_t count = 0;
    while (count < max && ck_ring_dequeue_spsc(&lane->ring, lane->slots, &out[count])) {
        TSAN_ACQUIRE(out[count]); /* pairs with TSAN_RELEASE in mailbox_send() */
        count++;
    }
    return count;
}

size_t mailbox_receive(struct mailbox *mailbox, struct message **out, size_t max)
{
    size_t lane_count = mailbox->lane_count;
    size_t first = mailbox->first_lane;
    size_t share = max / lane_count > 0 ? max / lane_count : 1;
    size_t count = 0;
    /* The first round gives each lane its share, the second gives away what nobody wanted. */
    for (size_t i = 0; i < 2 * lane_count && count < max; i++) {
        size_t room = max - count;
        size_t wanted = i < lane_count && share < room ? share : room;
        count += take(&mailbox->lanes[(first + i) % lane_count], out + count, wanted);
    }
    mailbox->first_lane = (first + 1) % lane_count;
    return count;
}

size_t mailbox_receive_lane(struct mailbox *mailbox, size_t lane, struct message **out, size_t max)
{
    return take(lane_at(mailbox, lane), out, max);
}

static bool has_message(const struct mailbox *mailbox, uint64_t lanes_ignored)
{
    for (size_t i = 0; i < mailbox->lane_count; i++) {
        if ((lanes_ignored >> i & 1) == 0 && ck_ring_size(&mailbox->lanes[i].ring) != 0)
            return true;
    }
    return false;
}

int mailbox_fd(const struct mailbox *mailbox)
{
    return mailbox->wake_fd;
}

bool mailbox_prepare_wait(struct mailbox *mailbox, uint64_t lanes_ignored)
{
    /* Pairs with the load of parked in mailbox_send(). */
    atomic_store_explicit(&mailbox->parked, 1, memory_order_relaxed);
    /* Orders that store before the look into the lanes; pairs with the fence in mailbox_send(). */
    ck_pr_fence_memory();
    if (!has_message(mailbox, lanes_ignored))
        return true;
    mailbox_finish_wait(mailbox);
    return false;
}

void mailbox_finish_wait(struct mailbox *mailbox)
{
    /*
     * Pairs with the exchange in mailbox_send(): either the flag is still ours to take down and nobody writes, or a
     * sender took it and has written, or will write, the eventfd: then the next wait may return for nothing.
     */
    (void)atomic_exchange_explicit(&mailbox->parked, 0, memory_order_acq_rel);
    uint64_t wakes;
    while (read(mailbox->wake_fd, &wakes, sizeof wakes) < 0 && errno == EINTR) {
    }
}

void mailbox_wait(struct mailbox *mailbox, int timeout_ms)
{
    if (!mailbox_prepare_wait(mailbox, 0))
        return;
    struct pollfd wake = {.fd = mailbox->wake_fd, .events = POLLIN};
    (void)poll(&wake, 1, timeout_ms); /* an interrupted wait is one of the spurious returns */
    mailbox_finish_wait(mailbox);
}

void mailbox_gather(struct mailbox *mailbox, int us)
{
    /* parked stays down, so only what was written on purpose makes this readable. */
    struct pollfd wake = {.fd = mailbox->wake_fd, .events = POLLIN};
    const struct timespec limit = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L};
    (void)ppoll(&wake, 1, &limit, NULL);
}

void mailbox_wake(struct mailbox *mailbox)
{
    int saved = errno; /* a signal handler may be calling */
    write_wake_fd(mailbox->wake_fd);
    errno = saved;
}

size_t mailbox_depth(const struct mailbox *mailbox, size_t lane)
{
    pm_assert(lane < mailbox->lane_count);
    return ck_ring_size(&mailbox->lanes[lane].ring);
}

size_t mailbox_capacity(const struct mailbox *mailbox, size_t lane)
{
    pm_assert(lane < mailbox->lane_count);
    return ck_ring_capacity(&mailbox->lanes[lane].ring) - 1;
}

size_t mailbox_lane_count(const struct mailbox *mailbox)
{
    return mailbox->lane_count;
}

const char *mailbox_name(const struct mailbox *mailbox)
{
    return mailbox->name;
}
