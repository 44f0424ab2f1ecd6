#include "h2_frames.h"

#include <string.h>

#include "khash.h"

#include <h2o/http2.h>
#include <h2o/http2_internal.h>
#include <h2o/version.h>

#include "guard.h"
#include "h2_fields.h"
#include "request.h"

_Static_assert(H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR == 2 && H2O_VERSION_PATCH == 5,
               "h2_frames.c knows the insides of this version and of no other");

enum {
    PAYLOAD_LEN_USUAL = 64, /* pieces of a body from here on cost nothing */
    COST_SMALL = 1,
    COST_RESET = 5,
    COST_SETTINGS = 10,
    COST_ERROR = 10,
    COST_PLACE = 100,       /* of a refused body whose client never said that it stopped */
    COST_BYTES = 64 * 1024, /* of a refused body that goes on for long */
};

struct frame {
    const uint8_t *payload;
    size_t len;
    uint8_t type;
    uint8_t flags;
    uint32_t stream_id;
};

/* Returns false where libh2o has to say what this is: the preface, no whole frame yet, or one that is too large. */
static bool frame_read(const uint8_t *src, size_t len, struct frame *out)
{
    if (len < H2O_HTTP2_FRAME_HEADER_SIZE)
        return false;
    out->len = (size_t)src[0] << 16 | (size_t)src[1] << 8 | src[2];
    out->type = src[3];
    out->flags = src[4];
    out->stream_id = ((uint32_t)src[5] << 24 | (uint32_t)src[6] << 16 | (uint32_t)src[7] << 8 | src[8]) & 0x7fffffff;
    out->payload = src + H2O_HTTP2_FRAME_HEADER_SIZE;
    return out->len <= H2O_HTTP2_SETTINGS_HOST.max_frame_size && len >= H2O_HTTP2_FRAME_HEADER_SIZE + out->len;
}

static bool frame_has(const struct frame *frame, uint8_t flag)
{
    return (frame->flags & flag) != 0;
}

/* Without padding. */
static size_t frame_data_len(const struct frame *frame)
{
    if (!frame_has(frame, H2O_HTTP2_FRAME_FLAG_PADDED) || frame->len == 0)
        return frame->len;
    size_t padding = 1 + (size_t)frame->payload[0];
    return frame->len < padding ? 0 : frame->len - padding;
}

static int frame_cost(const struct frame *frame)
{
    switch (frame->type) {
    case H2O_HTTP2_FRAME_TYPE_DATA:
        return frame_has(frame, H2O_HTTP2_FRAME_FLAG_END_STREAM) || frame_data_len(frame) >= PAYLOAD_LEN_USUAL
                   ? 0
                   : COST_SMALL;
    case H2O_HTTP2_FRAME_TYPE_HEADERS:
        return 0; /* requests are counted when they end */
    case H2O_HTTP2_FRAME_TYPE_RST_STREAM:
        return COST_RESET;
    case H2O_HTTP2_FRAME_TYPE_SETTINGS:
        return frame_has(frame, H2O_HTTP2_FRAME_FLAG_ACK) ? COST_SMALL : COST_SETTINGS;
    default:
        return COST_SMALL;
    }
}

/* How many resets and other errors libh2o has sent, over all connections of the loop. */
static uint64_t errors_sent(const h2o_context_t *context)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < H2O_HTTP2_ERROR_MAX; i++)
        sum += context->http2.events.protocol_level_errors[i];
    return sum;
}

/* ---- refused bodies ---- */

static struct refused_body *refused_find(struct frames *frames, uint32_t stream_id)
{
    for (size_t i = 0; i < FRAMES_REFUSED_MAX; i++)
        if (frames->refused[i].stream_id == stream_id)
            return &frames->refused[i];
    return NULL;
}

/* A free place; else that of the oldest body whose client was told to stop, since it need not say that it did. */
static struct refused_body *refused_place(struct frames *frames)
{
    struct refused_body *place = refused_find(frames, 0);
    if (place != NULL)
        return place;
    for (size_t i = 0; i < FRAMES_REFUSED_MAX; i++) {
        struct refused_body *refused = &frames->refused[i];
        if (refused->is_reset && (place == NULL || refused->stream_id < place->stream_id))
            place = refused;
    }
    return place;
}

/* The windows are given back as libh2o would have, so that the client can go on sending. */
static void give_back(h2o_http2_conn_t *conn, size_t len)
{
    h2o_http2_window_consume_window(&conn->_input_window, len);
    ssize_t window = h2o_http2_window_get_window(&conn->_input_window);
    ssize_t full = (ssize_t)H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    if (window * 2 >= full)
        return;
    h2o_http2_encode_window_update_frame(&conn->_write.buf, 0, (int32_t)(full - window));
    h2o_http2_window_update(&conn->_input_window, full - window);
    h2o_http2_conn_request_write(conn);
}

static void throw_away(h2o_http2_conn_t *conn, struct refused_body *refused, const struct frame *frame)
{
    size_t before = refused->len;
    give_back(conn, frame->len);
    refused->len += frame->len;
    if (frame_has(frame, H2O_HTTP2_FRAME_FLAG_END_STREAM)) {
        *refused = (struct refused_body){0};
        return;
    }
    if (refused->len <= FRAMES_REFUSED_LEN_MAX)
        return;
    (void)connection_charge(conn->sock->on_close.data, (int)(refused->len / COST_BYTES - before / COST_BYTES));
    /* Not before the answer is through: a reset would take the rest of it away. */
    if (!refused->is_reset && h2o_http2_conn_get_stream(conn, refused->stream_id) == NULL) {
        refused->is_reset = true;
        h2o_http2__encode_rst_stream_frame(&conn->_write.buf, refused->stream_id, H2O_HTTP2_ERROR_NONE);
        h2o_http2_conn_request_write(conn);
    }
}

/* Answers a request whose body is too large, although it has not come yet. The handler sees that by the length. */
static void refuse_body(h2o_http2_conn_t *conn, struct frames *frames, h2o_http2_stream_t *stream)
{
    struct refused_body *place = refused_place(frames);
    if (place == NULL) {
        connection_refuse(conn->sock->on_close.data, "too many bodies that are too large");
        return;
    }
    if (place->stream_id != 0 && !connection_charge(conn->sock->on_close.data, COST_PLACE))
        return;
    *place = (struct refused_body){.stream_id = stream->stream_id};
    stream->req.entity = h2o_iovec_init(NULL, REQUEST_BODY_LEN_MAX + 1);
    h2o_http2_stream_set_state(conn, stream, H2O_HTTP2_STREAM_STATE_REQ_PENDING);
    h2o_http2_stream_set_state(conn, stream, H2O_HTTP2_STREAM_STATE_SEND_HEADERS);
    if (conn->pull_stream_ids.max_processed < stream->stream_id)
        conn->pull_stream_ids.max_processed = stream->stream_id;
    h2o_process_request(&stream->req);
}

/* ---- bodies and header fields that are kept ---- */

static size_t uploads_len(const h2o_http2_conn_t *conn)
{
    size_t len = 0;
    for (khint_t i = 0; i < kh_end(conn->streams); i++)
        if (kh_exist(conn->streams, i) && kh_val(conn->streams, i)->_req_body != NULL)
            len += kh_val(conn->streams, i)->_req_body->size;
    return len;
}

/* Of a piece that libh2o is about to keep. Returns false where the connection is cut off. */
static bool data_fits(h2o_http2_conn_t *conn, struct frames *frames, size_t len)
{
    frames->uploads_len += len;
    if (frames->uploads_len > FRAMES_UPLOADS_LEN_MAX) {
        frames->uploads_len = uploads_len(conn) + len;
        if (frames->uploads_len > FRAMES_UPLOADS_LEN_MAX)
            connection_refuse(conn->sock->on_close.data, "too much uploaded at a time");
    }
    return frames->uploads_len <= FRAMES_UPLOADS_LEN_MAX;
}

/* Returns whether the frame ends here. */
static bool take_data(h2o_http2_conn_t *conn, struct frames *frames, const struct frame *frame)
{
    struct refused_body *refused = frame->stream_id == 0 ? NULL : refused_find(frames, frame->stream_id);
    if (refused == NULL) {
        h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn, frame->stream_id);
        size_t len = frame_data_len(frame);
        if (stream == NULL || stream->state != H2O_HTTP2_STREAM_STATE_RECV_BODY)
            return false;
        if (stream->_req_body->size + len <= REQUEST_BODY_LEN_MAX)
            return !data_fits(conn, frames, len);
        refuse_body(conn, frames, stream);
        refused = refused_find(frames, frame->stream_id);
    }
    if (refused != NULL)
        throw_away(conn, refused, frame);
    return true;
}

/* A block of header fields is complete: is there too much in it, does it announce too large a body? */
static void judge_headers(h2o_http2_conn_t *conn, struct frames *frames, const struct frame *frame)
{
    h2o_http2_stream_t *stream = h2o_http2_conn_get_stream(conn, frame->stream_id);
    if (stream == NULL)
        return;
    if (stream->req.headers.size > GUARD_HEADERS_MAX)
        connection_refuse(conn->sock->on_close.data, "too many header fields");
    else if (stream->state == H2O_HTTP2_STREAM_STATE_RECV_BODY && stream->_expected_content_length != SIZE_MAX &&
             stream->_expected_content_length > REQUEST_BODY_LEN_MAX)
        refuse_body(conn, frames, stream);
}

static void count_headers(h2o_http2_conn_t *conn, struct frames *frames, const struct frame *frame)
{
    if (frame->type == H2O_HTTP2_FRAME_TYPE_HEADERS) {
        frames->block_len = frame->len;
        frames->continuations = 0;
    } else {
        frames->block_len += frame->len;
        frames->continuations++;
    }
    if (frames->block_len > FRAMES_BLOCK_LEN_MAX || frames->continuations > FRAMES_CONTINUATIONS_MAX)
        connection_refuse(conn->sock->on_close.data, "too long a block of header fields");
}

/* ---- settings ---- */

/* Whether the table of header fields was ever to be small; libh2o keeps only the last word, and takes no notice of
 * that. */
static void note_settings(const h2o_http2_conn_t *conn, const struct frame *frame)
{
    enum { SETTING_LEN = 6 };
    struct h2_table *table = &connection_h2_client(conn->sock->on_close.data)->table;
    for (size_t at = 0; at + SETTING_LEN <= frame->len; at += SETTING_LEN)
        if (h2o_http2_decode16u(frame->payload + at) == H2O_HTTP2_SETTINGS_HEADER_TABLE_SIZE)
            h2_table_ask(table, h2o_http2_decode32u(frame->payload + at + 2));
}

/* ---- every frame ---- */

/* What is judged before libh2o sees the frame. Returns whether it need not see it. */
static bool frames_before(h2o_http2_conn_t *conn, struct frames *frames, const struct frame *frame)
{
    int cost = frame_cost(frame);
    if (cost > 0 && !connection_charge(conn->sock->on_close.data, cost))
        return true;
    if (frame->type == H2O_HTTP2_FRAME_TYPE_HEADERS || frame->type == H2O_HTTP2_FRAME_TYPE_CONTINUATION) {
        count_headers(conn, frames, frame);
        return false;
    }
    if (conn->_headers_unparsed != NULL)
        return false;
    /* libh2o would write a line to standard error for each frame that it does not know. */
    if (frame->type > H2O_HTTP2_FRAME_TYPE_CONTINUATION)
        return true;
    if (frame->type == H2O_HTTP2_FRAME_TYPE_SETTINGS)
        note_settings(conn, frame);
    if (conn->state != H2O_HTTP2_CONN_STATE_OPEN)
        return false;
    if (frame->type == H2O_HTTP2_FRAME_TYPE_RST_STREAM && frame->stream_id != 0) {
        struct refused_body *refused = refused_find(frames, frame->stream_id);
        if (refused != NULL)
            *refused = (struct refused_body){0};
    }
    return frame->type == H2O_HTTP2_FRAME_TYPE_DATA && take_data(conn, frames, frame);
}

/* Only requests that wait for a body: those without one have been handled by now. */
static void frames_after(h2o_http2_conn_t *conn, struct frames *frames, const struct frame *frame)
{
    bool is_head = frame->type == H2O_HTTP2_FRAME_TYPE_HEADERS && !frame_has(frame, H2O_HTTP2_FRAME_FLAG_END_STREAM);
    if ((is_head || frame->type == H2O_HTTP2_FRAME_TYPE_CONTINUATION) &&
        frame_has(frame, H2O_HTTP2_FRAME_FLAG_END_HEADERS) && conn->state == H2O_HTTP2_CONN_STATE_OPEN)
        judge_headers(conn, frames, frame);
}

static ssize_t on_frame(h2o_http2_conn_t *conn, const uint8_t *src, size_t len, const char **reason);

/* Lets libh2o handle the frame, which may change what it expects next. */
static ssize_t frames_pass(h2o_http2_conn_t *conn, struct frames *frames, const uint8_t *src, size_t len,
                           const char **reason)
{
    uint64_t errors = errors_sent(conn->super.ctx);
    conn->_read_expect = frames->expect;
    ssize_t taken = frames->expect(conn, src, len, reason);
    frames->expect = conn->_read_expect;
    conn->_read_expect = on_frame;
    errors = errors_sent(conn->super.ctx) - errors;
    if (errors > 0)
        (void)connection_charge(conn->sock->on_close.data, (int)errors * COST_ERROR);
    return taken;
}

static ssize_t on_frame(h2o_http2_conn_t *conn, const uint8_t *src, size_t len, const char **reason)
{
    struct connection *connection = conn->sock->on_close.data;
    struct frames *frames = connection_frames(connection);
    struct frame frame = {0};
    ssize_t taken;
    frames->is_judging = true;
    bool is_whole = frame_read(src, len, &frame);
    if (is_whole && frames_before(conn, frames, &frame)) {
        taken = (ssize_t)(H2O_HTTP2_FRAME_HEADER_SIZE + frame.len);
    } else {
        taken = connection_is_cut(connection) ? 0 : frames_pass(conn, frames, src, len, reason);
        if (is_whole && taken > 0 && !connection_is_cut(connection))
            frames_after(conn, frames, &frame);
    }
    frames->is_judging = false;
    if (connection_is_cut(connection)) {
        *reason = "more than this service takes of one connection";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    /* After its last GOAWAY libh2o takes nothing of a CONTINUATION frame, and would look at it again for ever. */
    return taken == 0 ? H2O_HTTP2_ERROR_PROTOCOL : taken;
}

static void frames_watch(h2o_http2_conn_t *conn)
{
    struct frames *frames = connection_frames(conn->sock->on_close.data);
    if (frames->is_watching)
        return;
    frames->is_watching = true;
    frames->expect = conn->_read_expect;
    conn->_read_expect = on_frame;
}

/* ---- which connections ---- */

enum preface preface_look(const char *bytes, size_t len)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t known = len < sizeof preface - 1 ? len : sizeof preface - 1;
    if (memcmp(bytes, preface, known) != 0)
        return PREFACE_HTTP1;
    return known < sizeof preface - 1 ? PREFACE_UNSURE : PREFACE_HTTP2;
}

void frames_accept(h2o_accept_ctx_t *accept, h2o_socket_t *socket)
{
    /* What has come already is put aside, so that libh2o does not handle it before its connection is watched. */
    h2o_buffer_t *input = socket->input;
    h2o_buffer_init(&socket->input, &h2o_socket_buffer_prototype);
    h2o_http2_accept(accept, socket, *h2o_get_timestamp(accept->ctx, NULL, NULL));
    frames_watch(socket->data);
    h2o_buffer_dispose(&socket->input);
    socket->input = input;
    socket->_cb.read(socket, NULL);
}

void frames_watch_request(h2o_req_t *req)
{
    if (req->version >= 0x200)
        frames_watch((h2o_http2_conn_t *)req->conn);
}

void frames_watch_new(h2o_context_t *context)
{
    /* New ones are at the end of the list. One that has no socket yet is watched with its first request. */
    const h2o_linklist_t *list = &context->http2._conns;
    for (h2o_linklist_t *link = list->prev; link != list; link = link->prev) {
        h2o_http2_conn_t *conn = H2O_STRUCT_FROM_MEMBER(h2o_http2_conn_t, _conns, link);
        if (conn->_read_expect == on_frame)
            break;
        if (conn->sock != NULL)
            frames_watch(conn);
    }
}

/* ---- what lasts too long ---- */

static void check_streams(h2o_http2_conn_t *conn, struct timeval now)
{
    for (khint_t i = 0; i < kh_end(conn->streams); i++) {
        if (!kh_exist(conn->streams, i))
            continue;
        h2o_http2_stream_t *stream = kh_val(conn->streams, i);
        if (stream->state == H2O_HTTP2_STREAM_STATE_IDLE)
            continue;
        int64_t age_us = h2o_timeval_subtract(&stream->req.timestamps.request_begin_at, &now);
        if (stream->state < H2O_HTTP2_STREAM_STATE_REQ_PENDING && age_us > FRAMES_UPLOAD_US)
            connection_refuse(conn->sock->on_close.data, "request not finished");
        else if (age_us > GUARD_ANSWER_US)
            connection_refuse(conn->sock->on_close.data, "answer not taken");
    }
}

void frames_sweep(h2o_context_t *context)
{
    struct timeval now = *h2o_get_timestamp(context, NULL, NULL);
    const h2o_linklist_t *list = &context->http2._conns;
    for (h2o_linklist_t *link = list->next; link != list; link = link->next) {
        h2o_http2_conn_t *conn = H2O_STRUCT_FROM_MEMBER(h2o_http2_conn_t, _conns, link);
        if (conn->sock == NULL || conn->num_streams.pull.open == 0)
            continue;
        connection_frames(conn->sock->on_close.data)->uploads_len = uploads_len(conn);
        check_streams(conn, now);
    }
}
