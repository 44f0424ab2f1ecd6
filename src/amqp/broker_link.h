/*
 * broker_link: one connection with one channel, as consumer and publisher each hold one. Internal to amqp/.
 *
 * The login, declarations and all reading go through rabbitmq-c; whatever else is sent is appended to `out` (frames.h)
 * and flushed without waiting. Heartbeats are ours: the library's are switched off after the login (it would write into
 * a half-sent frame, and give a connection up that we only do not read for a while); the broker's side of the agreement
 * stays in force. Heartbeats take their time; so a broker that has not said anything for a while is asked something,
 * and one that does not answer is silent: the connection stays, but whoever wants to know is told that it is of no use.
 * Where not even the broker's kernel acknowledges what is sent, the connection is given up.
 * States: closed (state == NULL) or open. A failure is noted in `reason` and returned; the owner closes
 * (one funnel in each owner). Nothing blocks for longer than the time-outs given here; only the host name's look-up
 * takes what the resolver takes. Thread: one, the owner's.
 */
#ifndef PM_BROKER_LINK_H
#define PM_BROKER_LINK_H

#include <amqp.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker.h"
#include "frames.h"
#include "status.h"

enum {
    BROKER_REASON_LEN_MAX = 160,
    BROKER_OPEN_TIMEOUT_MS = 3000,  /* each of: connecting, the handshake, one question */
    BROKER_CLOSE_TIMEOUT_MS = 1000, /* to say good-bye */
    BROKER_ASK_AFTER_MS = 500,      /* without a frame: it is asked */
    BROKER_ANSWER_MS = 1000,        /* then it is silent */
};

struct broker_link {
    amqp_connection_state_t state;
    struct frames out;
    int fd;
    int64_t heartbeat_us; /* as negotiated; 0: none */
    int64_t heard_at_us;  /* last sign of the broker */
    int64_t spoke_at_us;  /* last time something was sent */
    int64_t opened_at_us; /* when the last try to open it began */
    int64_t told_at_us;   /* the last frame that is no heartbeat, or an excuse */
    int64_t asked_at_us;  /* 0: no question is open */
    bool has_told;        /* a frame was read since broker_link_service() */
    bool is_silent;
    char reason[BROKER_REASON_LEN_MAX]; /* why the last operation failed; terminated */
};

void broker_link_init(struct broker_link *link);
void broker_link_finish(struct broker_link *link);
bool broker_link_is_open(const struct broker_link *link);

/* Connects, logs in and opens the channel. role: "consumer", for the connection's name. Fails: STATUS_UNAVAILABLE;
 * closed then. */
enum status broker_link_open(struct broker_link *link, const struct broker_settings *settings, const char *role,
                             int64_t now_us) PM_MUST_USE;

/*
 * Sees that a queue is there: taken as it is if it exists, else declared durable. Fails: STATUS_LOST.
 * For use before consuming or confirming: a missing queue costs the channel, and a new one is opened.
 */
enum status broker_link_declare(struct broker_link *link, const char *queue, enum queue_type type) PM_MUST_USE;

/* Turns a reply of the library into a status and the reason. what: a literal. Fails: STATUS_LOST. */
enum status broker_link_check(struct broker_link *link, const char *what, amqp_rpc_reply_t reply) PM_MUST_USE;
/* Notes a reason; always returns STATUS_LOST. */
enum status broker_link_lost(struct broker_link *link, const char *what, const char *detail, size_t detail_len);

/*
 * The next frame that is here, if one is. With `readable` false only what the library holds already is looked at.
 * The frame is valid until the next call. Returns STATUS_OK, STATUS_NOT_FOUND (nothing complete). Fails: STATUS_LOST.
 */
enum status broker_link_read(struct broker_link *link, bool readable, amqp_frame_t *frame) PM_MUST_USE;
/* Whether the library holds bytes that poll(2) cannot know of. */
bool broker_link_has_input(const struct broker_link *link);
/* Lets the library reuse its memory; after a frame was dealt with. */
void broker_link_release(struct broker_link *link);

/* Handles what both owners treat alike: the broker closes the channel or the connection (STATUS_LOST); else
 * STATUS_IGNORED. */
enum status broker_link_handle_common(struct broker_link *link, const amqp_frame_t *frame) PM_MUST_USE;

/* Heartbeats and questions, gives up where nothing arrives, then sends what waits. Returns STATUS_OK also if some is
 * left (frames_is_empty tells). Fails: STATUS_LOST. */
enum status broker_link_service(struct broker_link *link, int64_t now_us) PM_MUST_USE;
/* When broker_link_service() has something to do again, if nothing happens; INT64_MAX while closed. */
int64_t broker_link_due_us(const struct broker_link *link);

/* The broker need not answer now: it blocks us, or we do not read. Instead of being asked. */
void broker_link_excuse(struct broker_link *link, int64_t now_us);
/* Nothing was read until now, so silence counts from now: that of its heartbeats too. */
void broker_link_listen_from(struct broker_link *link, int64_t now_us);
/* Whether the broker has become silent, or answers again, since this was last asked; logs it then. role: a literal. */
bool broker_link_silence_changed(struct broker_link *link, const char *role, int64_t now_us);

/* Closes. politely: tells the broker, at most BROKER_CLOSE_TIMEOUT_MS. */
void broker_link_close(struct broker_link *link, bool politely);

#endif
