/*
 * consumer_window: which delivery tags of a connection are unacknowledged, and which acknowledgement may be sent next.
 *
 * Tags come in rising order and are settled in any order. The settled ones at the front are acknowledged together (one
 * basic.ack with multiple); settled ones behind a delivery that takes long (a conflict's back-off) are acknowledged one
 * by one after a while, so that one late delivery never holds up the prefetch. Few acknowledgements under load, prompt
 * ones when quiet: the limits below say when one is due. Holds at most `capacity` tags; adding, settling and taking
 * cost the same however many there are, only the walk behind a late one is linear. Pure: no clock, no I/O. Thread: one
 * at a time.
 */
#ifndef PM_CONSUMER_WINDOW_H
#define PM_CONSUMER_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_BATCH_LEN = 256,         /* so many settled ones are acknowledged at once ... */
    WINDOW_DELAY_US = 2000,         /* ... and fewer after so long */
    WINDOW_LATE_AFTER_US = 2000000, /* older than this, an unsettled one no longer holds up those behind it */
};

#define WINDOW_NONE        UINT32_MAX
#define WINDOW_FRONT       (UINT32_MAX - 1) /* where a walk begins */
#define WINDOW_NO_DEADLINE INT64_MAX

struct window_slot {
    uint64_t tag;
    int64_t added_at_us;
    uint32_t previous, next; /* in the order of tags; free ones are chained by next */
    bool settled;
};

struct consumer_window {
    struct window_slot *slots;
    uint32_t capacity;
    uint32_t crowd;
    uint32_t first_free;
    uint32_t head, tail;
    uint32_t open;    /* tags held, settled or not */
    uint32_t settled; /* of these, settled */
    uint64_t last_tag;
    int64_t settled_since_us; /* since when something settled waits to be acknowledged */
};

/*
 * capacity, crowd: at least 1. So many settled ones do not wait for the lowest, however young it is: the broker would
 * run out of credit. Owns: the caller; finish frees it.
 */
void consumer_window_init(struct consumer_window *window, uint32_t capacity, uint32_t crowd);
void consumer_window_finish(struct consumer_window *window);
/* Forgets all: the connection is gone, its tags mean nothing any more. */
void consumer_window_clear(struct consumer_window *window);

/* Notes a tag and returns its slot; WINDOW_NONE if the window is full or the tag is not above the last one (a broker
 * out of order). */
uint32_t consumer_window_add(struct consumer_window *window, uint64_t tag, int64_t now_us);
/* Marks it as settled. Each slot once, and none after a clear. */
void consumer_window_settle(struct consumer_window *window, uint32_t slot, int64_t now_us);

/* Whether the settled ones at the front, or those behind a late one, are due. */
bool consumer_window_front_is_due(const struct consumer_window *window, int64_t now_us);
bool consumer_window_behind_is_due(const struct consumer_window *window, int64_t now_us);
/* The steady time at which something becomes due by itself, or WINDOW_NO_DEADLINE. */
int64_t consumer_window_deadline_us(const struct consumer_window *window);

/*
 * Takes the lowest tag out if it is settled. The highest one taken in a row is acknowledged with multiple: every tag
 * below it has been taken before. Returns false when the lowest is unsettled or there is none.
 */
bool consumer_window_take_front(struct consumer_window *window, struct window_slot *out, int64_t now_us);
/*
 * Takes the next settled tag out, wherever it is. *cursor is WINDOW_FRONT to begin with and then says where the walk
 * is; nothing else may be taken during a walk. Acknowledged alone. Returns false when there is none further on.
 */
bool consumer_window_take_behind(struct consumer_window *window, uint32_t *cursor, struct window_slot *out,
                                 int64_t now_us);

/* When the lowest tag was added; 0 when there is none. */
int64_t consumer_window_oldest_at_us(const struct consumer_window *window);

#endif
