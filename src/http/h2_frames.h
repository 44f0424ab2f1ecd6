/*
 * h2_frames: what HTTP/2 clients may send, judged frame by frame, where libh2o 2.2.5 has no limit.
 *
 * libh2o calls conn->_read_expect for every frame; frames_watch() puts itself before it. A frame that asks for nothing
 * (a ping, a setting, an empty piece of a body, a reset, …) costs some of the connection's allowance in guard.h, one
 * that makes libh2o answer with a reset costs more, and a block of header fields or the bodies being uploaded may have
 * a size. Who goes beyond is sent GOAWAY with ENHANCE_YOUR_CALM, and what it has sent behind is not looked at any more.
 *
 * A body above REQUEST_BODY_LEN_MAX is answered (413, or what the gate says) when its length is declared or reached;
 * what still comes of it is thrown away, so that the client can finish sending and read the answer. Trailers behind
 * such a body are not: they end the connection, since libh2o knows the stream no more or expects none of it.
 *
 * Knows libh2o's insides (<h2o/http2_internal.h>) and is therefore tied to that version. Thread: the loop's.
 */
#ifndef PM_H2_FRAMES_H
#define PM_H2_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

enum {
    FRAMES_BLOCK_LEN_MAX = 32 * 1024,         /* header fields of one request, compressed */
    FRAMES_CONTINUATIONS_MAX = 8,             /* frames of one such block behind the first */
    FRAMES_UPLOADS_LEN_MAX = 8 * 1024 * 1024, /* bodies of one connection that are not complete yet */
    FRAMES_REFUSED_MAX = 8,                   /* refused bodies that may still be coming at a time */
    FRAMES_REFUSED_LEN_MAX = 4 * 1024 * 1024, /* of each; then the client is told to stop, and what comes costs */
};
#define FRAMES_UPLOAD_US (30 * 1000000LL) /* head and body of a request, as for HTTP/1.1 */

struct st_h2o_http2_conn_t;

/* A body that was refused while it was still coming. */
struct refused_body {
    uint32_t stream_id; /* 0: none */
    size_t len;         /* thrown away so far */
    bool is_reset;
};

/* Lives in a connection of guard.h; zero in the beginning. */
struct frames {
    ssize_t (*expect)(struct st_h2o_http2_conn_t *, const uint8_t *, size_t, const char **); /* libh2o's */
    bool is_watching;
    bool is_judging; /* inside a frame: whoever is cut off now is told so */
    size_t block_len;
    int continuations;
    size_t uploads_len; /* at most so much of bodies is kept */
    struct refused_body refused[FRAMES_REFUSED_MAX];
};

/* What the first bytes of a connection say about its version. */
enum preface { PREFACE_UNSURE, PREFACE_HTTP1, PREFACE_HTTP2 };
enum preface preface_look(const char *bytes, size_t len);

/* Gives a socket whose input begins with the preface to libh2o, watched from the first frame on. */
void frames_accept(h2o_accept_ctx_t *accept, h2o_socket_t *socket);

/* Watches the HTTP/2 connection of a request from here on, if it is not watched yet. */
void frames_watch_request(h2o_req_t *req);

/* Watches those connections that libh2o has made since it was last called. Called once a turn. */
void frames_watch_new(h2o_context_t *context);

/* Cuts off clients whose request or whose taking of the answer lasts too long. Called about once a second. */
void frames_sweep(h2o_context_t *context);

#endif
