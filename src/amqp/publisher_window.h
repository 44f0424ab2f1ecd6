/*
 * publisher_window: what was published on a connection and is not confirmed yet.
 *
 * In confirm mode the broker counts publications of a channel from 1; an ack or nack names one number, or with multiple
 * all up to it, and they may come out of order. A ring by number holds the message of each. At most `limit` are
 * unconfirmed; the ring is at least twice as long, so that one late confirm does not stop the others at once. Pure.
 * Thread: one at a time.
 */
#ifndef PM_PUBLISHER_WINDOW_H
#define PM_PUBLISHER_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message_chain.h"
#include "status.h"

struct publisher_window {
    struct message **entries; /* by number modulo the ring's length; NULL: confirmed or not used */
    uint64_t mask;
    uint64_t oldest; /* the lowest number that may be unconfirmed */
    uint64_t next;   /* the number of the next publication */
    uint32_t limit;
    uint32_t count; /* unconfirmed */
};

/* Owns: the caller; finish when it is empty. limit: at least 1. */
void publisher_window_init(struct publisher_window *window, uint32_t limit);
void publisher_window_finish(struct publisher_window *window);

/* How many may be published now. */
uint32_t publisher_window_room(const struct publisher_window *window);
/* Notes the message as published and keeps it; returns its number. Asserts room. */
uint64_t publisher_window_push(struct publisher_window *window, struct message *message);
/*
 * Takes out what an ack or nack names and appends it to *out, in the order of publication. Tag 0 with multiple: all.
 * What was confirmed before is passed over. Fails: STATUS_INVALID, a number that was never given.
 */
enum status publisher_window_confirm(struct publisher_window *window, uint64_t tag, bool multiple,
                                     struct message_chain *out) PM_MUST_USE;
/* Takes all unconfirmed ones out, in order, and counts from 1 again: the connection is gone. */
void publisher_window_take_all(struct publisher_window *window, struct message_chain *out);

#endif
