/*
 * frames: AMQP 0-9-1 frames written by hand into one buffer, so that a whole batch leaves in one send(2).
 *
 * rabbitmq-c makes three system calls for each publication and may block in them; here publications, acknowledgements
 * and heartbeats are appended to a buffer and flushed without waiting. Only what the service sends after the login is
 * here; the login, declarations and everything that is read go through the library. While a frame is half sent nothing
 * else may write to the socket: no call into the library that sends before frames_is_empty(). All on channel 1, plain
 * TCP only. The buffer grows to a small multiple of what is unsent (which the caller bounds); one that is large is
 * given back when it runs empty. Thread: one, the connection's.
 */
#ifndef PM_FRAMES_H
#define PM_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum {
    FRAMES_CHANNEL = 1,
    FRAMES_SHORT_LEN_MAX = 255,       /* of a short string: names of queues, content types, message ids */
    FRAMES_KEEP_LEN_MAX = 512 * 1024, /* larger buffers are freed when they run empty */
};

struct frames {
    char *bytes;
    size_t start; /* of what is not yet sent */
    size_t len;   /* of all that is written */
    size_t capacity;
    size_t frame_len_max; /* as negotiated */
};

struct frames_header {
    const char *name; /* terminated */
    const char *text;
    size_t len;
};

/* One persistent, mandatory publication through the default exchange. Everything is borrowed for the call. */
struct frames_publication {
    const char *queue;        /* terminated, at most FRAMES_SHORT_LEN_MAX */
    const char *content_type; /* terminated; NULL: none */
    const char *message_id;   /* terminated; NULL: none */
    const struct frames_header *headers;
    size_t header_count;
    const char *body;
    size_t body_len;
};

/* Owns: the caller; finish frees the buffer. */
void frames_init(struct frames *frames);
void frames_finish(struct frames *frames);
/* Forgets what was not sent: the connection is gone. frame_len_max: of the next one. */
void frames_reset(struct frames *frames, size_t frame_len_max);

void frames_publish(struct frames *frames, const struct frames_publication *publication);
void frames_ack(struct frames *frames, uint64_t tag, bool multiple);
/* basic.cancel without an answer. */
void frames_cancel(struct frames *frames, const char *consumer_tag);
void frames_heartbeat(struct frames *frames);
/* channel.flow that says what is so anyway: the cheapest question that a broker has to answer. */
void frames_question(struct frames *frames);

bool frames_is_empty(const struct frames *frames);
size_t frames_unsent_len(const struct frames *frames);

/*
 * Sends as much as the socket takes now.
 * Returns STATUS_OK when all is sent. Fails: STATUS_FULL (some is left: wait for POLLOUT), STATUS_LOST. Blocks: never.
 */
enum status frames_flush(struct frames *frames, int fd) PM_MUST_USE;

#endif
