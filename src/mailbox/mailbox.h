/*
 * mailbox: bounded message passing to one receiving thread.
 *
 * A mailbox is a bundle of lanes, one single-producer ck_ring for each sender, and one parking place for the receiver.
 * A preempted sender holds up nobody else, order per sender is kept, and no lane can fill another. Sending costs a
 * store and a fence; an eventfd is written only when the receiver is parked.
 *
 * A message has one owner. Sending gives it away and leaves NULL behind; on a full lane it is still the caller's. Who
 * receives it frees it or sends it on. Capacity is chosen by whoever wires the actors: where a lane's senders can never
 * have more messages than its capacity, sending cannot fail, and mailbox_send_reserved() says so.
 */
#ifndef PM_MAILBOX_H
#define PM_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* The head of every message; first member of each message struct (actors/message.h lists them all). */
struct message {
    struct message *next; /* for whoever owns it: queues and chains */
    uint32_t type;        /* enum message_type */
};

struct mailbox;

enum { MAILBOX_LANES_MAX = 64 };

/*
 * Makes a mailbox of lane_count lanes; lane i holds at least capacities[i] messages (1 to 1,048,576).
 * name is a literal, for logs and metrics.
 * Owns: the caller. Fails: never (aborts without memory or descriptors).
 */
struct mailbox *mailbox_create(const char *name, const uint32_t *capacities, size_t lane_count);

/*
 * Frees it when no thread uses it any more; NULL is accepted. Asserts that every lane is empty: a message left behind
 * is a leak of its owner, so whoever stops the actors receives what is left and disposes of it.
 */
void mailbox_destroy(struct mailbox *mailbox);

/*
 * Gives *message to the receiver and sets *message to NULL.
 * Thread: one sending thread a lane. Fails: STATUS_FULL (counted in METRIC_MAILBOX_FULL), the message is still the
 * caller's. Never blocks.
 */
enum status mailbox_send(struct mailbox *mailbox, size_t lane, struct message **message) PM_MUST_USE;

/* The same where the wiring guarantees room; asserts it. Thread: one a lane. */
void mailbox_send_reserved(struct mailbox *mailbox, size_t lane, struct message **message);

/*
 * Takes up to max messages that are there now, lane after lane with a fair share each, order kept within a lane.
 * Returns the count; does not wait. Thread: the receiver.
 */
size_t mailbox_receive(struct mailbox *mailbox, struct message **out, size_t max);

/* The same from one lane only, for receivers that take some kinds only when they have room. Thread: the receiver. */
size_t mailbox_receive_lane(struct mailbox *mailbox, size_t lane, struct message **out, size_t max);

/*
 * Waits until a message is there, mailbox_wake() was called, or timeout_ms passed (-1: for ever).
 * Thread: the receiver. Blocks: up to timeout_ms. Spurious returns are possible.
 */
void mailbox_wait(struct mailbox *mailbox, int timeout_ms);

/*
 * Lets messages gather for so long: senders do not wake the receiver meanwhile, only mailbox_wake() does. For a
 * receiver that has just been handed a crowd: a wake-up costs as much as many messages.
 * Thread: the receiver. Blocks: up to the time given. Unit: microseconds.
 */
void mailbox_gather(struct mailbox *mailbox, int us);

/*
 * For receivers that poll other descriptors too: mailbox_prepare_wait() announces that the receiver will sleep and
 * returns false if messages are there already (then do not sleep, nothing is left to finish); else poll for POLLIN on
 * mailbox_fd() with the others and then always call mailbox_finish_wait(). Lanes of which the bit is set in
 * lanes_ignored do not keep the receiver awake. Thread: the receiver.
 */
int mailbox_fd(const struct mailbox *mailbox);
bool mailbox_prepare_wait(struct mailbox *mailbox, uint64_t lanes_ignored);
void mailbox_finish_wait(struct mailbox *mailbox);

/* Wakes the receiver without a message (to stop it). Thread: any; async-signal-safe. */
void mailbox_wake(struct mailbox *mailbox);

/* Messages waiting in a lane, for metrics. Thread: any; a snapshot. */
size_t mailbox_depth(const struct mailbox *mailbox, size_t lane);
/* What a lane really holds: at least what was asked for (the next power of two, less one). Thread: any. */
size_t mailbox_capacity(const struct mailbox *mailbox, size_t lane);
size_t mailbox_lane_count(const struct mailbox *mailbox);
const char *mailbox_name(const struct mailbox *mailbox);

#endif
