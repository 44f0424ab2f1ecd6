/*
 * notify: tells systemd (or whatever else set NOTIFY_SOCKET) how the service is: ready, alive, stopping, and in a few
 * words what it does.
 *
 * Without NOTIFY_SOCKET nothing is told and nothing costs anything. The watch (watch.h) owns it and decides whether the
 * process is alive; this module only says so.
 */
#ifndef PM_NOTIFY_H
#define PM_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum notify_stage { NOTIFY_STARTING, NOTIFY_SERVING, NOTIFY_STOPPING };

struct notify_facts {
    enum notify_stage stage;
    bool is_live; /* every thread that must never wait goes round */
    bool database_connected;
    bool queue_connected;
};

struct notify {
    enum notify_stage told_stage;
    const char *told_words; /* NULL: none yet */
};

/* Nothing told yet. */
void notify_init(struct notify *notify);

/*
 * Tells what has changed since the last call, and feeds the watchdog where is_live. While starting it asks for more
 * time instead: a start may wait for PostgreSQL as long as it must. Returns the words that stand in `systemctl status`.
 * Thread: one. Fails: in silence; the watchdog then speaks.
 */
const char *notify_tell(struct notify *notify, const struct notify_facts *facts);

/* How often the watchdog wants to be fed, at most: a third of its time, never more than longest_ms. Thread: any. */
int notify_period_ms(int longest_ms);

#endif
