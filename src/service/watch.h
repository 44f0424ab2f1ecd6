/*
 * watch: sees whether the process makes progress, once a second, in a thread of its own.
 *
 * Shards and aggregator never wait for a neighbour and HTTP loops never wait at all, so each must go round when it is
 * woken: one that has not for ten seconds (BOARD_LIVE_WITHIN_US) is stuck, whatever else still runs. The committer, the
 * broker's actors, the history and the prices are not looked at: they wait for neighbours by right, and /health tells
 * of that.
 *
 * What it finds stands on the board (/health/live reads it), in the log (`thread_stuck`, `thread_recovered`), and feeds
 * systemd's watchdog or lets it starve (notify.h).
 */
#ifndef PM_WATCH_H
#define PM_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "actor.h"
#include "board.h"
#include "mailbox.h"

enum { WATCH_PERIOD_MS = 1000, WATCHED_ACTORS_MAX = 64 };

struct watch;

/* When the HTTP loop that has not gone round for the longest time last did so, on the steady clock. Thread: any. */
typedef int64_t watch_oldest_turn_fn(void *context);

/*
 * Starts the thread; from now on the start is told as going on. Owns: the caller keeps board alive.
 * Thread: main. Fails: NULL, no thread.
 */
struct watch *watch_start(struct board *board);

/* An actor to look at, borrowed until watch_stopping(). Thread: main, before watch_serving(). */
void watch_add_actor(struct watch *watch, const char *name, const struct actor_thread *thread, struct mailbox *mailbox);

/* The start is over: positions can be read, and all threads are looked at. Thread: main, once. */
void watch_serving(struct watch *watch, watch_oldest_turn_fn *oldest_turn, void *context);

/* The stop has begun, which signals_bound_stop() bounds: no thread is looked at any more when this returns. Thread:
 * main. Blocks: for one look at most. */
void watch_stopping(struct watch *watch);

/* Ends the thread and frees it; NULL is accepted. Thread: main. Blocks: until the thread has ended. */
void watch_stop(struct watch *watch);

#endif
