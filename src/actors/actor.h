/*
 * actor: the runtime that drives an actor in a thread of its own.
 *
 * An actor is a struct, a mailbox, and one receive function that is handed a batch of messages and the time. It never
 * sees its thread, its mailbox or a clock, so a test or the simulator can drive it by calling receive. It must dispose
 * of every message of the batch: free it, keep it, or send it on.
 */
#ifndef PM_ACTOR_H
#define PM_ACTOR_H

#include <stddef.h>
#include <stdint.h>

#include "mailbox.h"

enum { ACTOR_BATCH_MAX = 512 };
#define ACTOR_NO_DEADLINE INT64_MAX

struct actor_time {
    int64_t wall_us;   /* for what is written down */
    int64_t steady_us; /* for deadlines */
};

/* When an actor wants to be called again. */
struct actor_plan {
    int64_t deadline_us; /* steady: then even without a message; ACTOR_NO_DEADLINE: never */
    int gather_us;       /* for so long messages may gather before it is called for them, but never beyond the deadline,
                            actor_stop() or mailbox_wake(); 0: it is in a hurry, and only a crowd is let gather briefly */
};

/* Handles a batch (count may be 0: a deadline passed; so is the first call, which finds nothing and arms the timers).
 */
typedef struct actor_plan actor_receive_fn(void *actor, struct message **batch, size_t count, struct actor_time now);

struct actor_thread;

/*
 * Starts a thread (named for debuggers and logs; name is a literal of at most 15 characters) that drives the actor. It
 * blocks all signals but those that tell of a fault, and keeps deadlines to a millisecond, never early.
 * Owns: the caller keeps actor and mailbox alive until actor_stop() has returned. Fails: NULL if no thread can be had.
 */
struct actor_thread *actor_start(const char *name, void *actor, actor_receive_fn *receive, struct mailbox *mailbox);

/*
 * How often its loop has gone round. A mailbox_wake() makes it go round once more, whether or not there is work, so a
 * thread whose count then stays is stuck. Thread: any.
 */
uint64_t actor_turns(const struct actor_thread *thread);

/*
 * Stops it: whatever is in the mailbox is still received, then the thread ends; deadlines are not waited for. Frees the
 * handle; NULL is accepted. Blocks: until the thread has ended.
 */
void actor_stop(struct actor_thread *thread);

#endif
