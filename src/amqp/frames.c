#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"

enum {
    TYPE_METHOD = 1,
    TYPE_HEADER = 2,
    TYPE_BODY = 3,
    TYPE_HEARTBEAT = 8,
    FRAME_END = 0xCE,
    FRAME_OVERHEAD = 8, /* type, channel, length; end mark */

    CLASS_CHANNEL = 20,
    CHANNEL_FLOW = 20,
    CLASS_BASIC = 60,
    BASIC_CANCEL = 30,
    BASIC_PUBLISH = 40,
    BASIC_ACK = 80,
    BIT_MANDATORY = 1,

    HAS_CONTENT_TYPE = 1 << 15,
    HAS_HEADERS = 1 << 13,
    HAS_DELIVERY_MODE = 1 << 12,
    HAS_MESSAGE_ID = 1 << 7,
    DELIVERY_MODE_PERSISTENT = 2,

    CAPACITY_FIRST = 16 * 1024,
};

void frames_init(struct frames *frames)
{
    *frames = (struct frames){.frame_len_max = 4096};
}

void frames_finish(struct frames *frames)
{
    free(frames->bytes);
    frames_init(frames);
}

static void give_back_large(struct frames *frames)
{
    if (frames->capacity > FRAMES_KEEP_LEN_MAX) {
        free(frames->bytes);
        frames->bytes = NULL;
        frames->capacity = 0;
    }
}

void frames_reset(struct frames *frames, size_t frame_len_max)
{
    pm_assert(frame_len_max > FRAME_OVERHEAD);
    frames->start = 0;
    frames->len = 0;
    frames->frame_len_max = frame_len_max;
    give_back_large(frames);
}

bool frames_is_empty(const struct frames *frames)
{
    return frames->start == frames->len;
}

size_t frames_unsent_len(const struct frames *frames)
{
    return frames->len - frames->start;
}

static void make_room(struct frames *frames, size_t more)
{
    if (frames->capacity - frames->len >= more)
        return;
    size_t capacity = frames->capacity != 0 ? frames->capacity : (size_t)CAPACITY_FIRST;
    while (capacity - frames->len < more)
        capacity *= 2;
    char *bytes = realloc(frames->bytes, capacity);
    pm_assert(bytes != NULL);
    frames->bytes = bytes;
    frames->capacity = capacity;
}

static void put_bytes(struct frames *frames, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    make_room(frames, len);
    memcpy(frames->bytes + frames->len, bytes, len);
    frames->len += len;
}

static void put_u8(struct frames *frames, unsigned value)
{
    const unsigned char byte = (unsigned char)value;
    put_bytes(frames, &byte, 1);
}

static void store_big_endian(char *at, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0; value >>= 8)
        at[i] = (char)(unsigned char)(value & 0xFF);
}

static void put_integer(struct frames *frames, uint64_t value, size_t size)
{
    char bytes[sizeof value];
    store_big_endian(bytes, value, size);
    put_bytes(frames, bytes, size);
}

static void put_short_text(struct frames *frames, const char *text)
{
    size_t len = strlen(text);
    pm_assert(len <= FRAMES_SHORT_LEN_MAX);
    put_u8(frames, (unsigned)len);
    put_bytes(frames, text, len);
}

/* Begins a frame; returns where it began, for end_frame() to fill in the length. */
static size_t begin_frame(struct frames *frames, unsigned type, unsigned channel)
{
    size_t begin = frames->len;
    put_u8(frames, type);
    put_integer(frames, channel, 2);
    put_integer(frames, 0, 4);
    return begin;
}

static void end_frame(struct frames *frames, size_t begin)
{
    size_t payload_len = frames->len - begin - (FRAME_OVERHEAD - 1);
    store_big_endian(frames->bytes + begin + 3, payload_len, 4);
    put_u8(frames, FRAME_END);
}

static size_t begin_method(struct frames *frames, unsigned class, unsigned method)
{
    size_t begin = begin_frame(frames, TYPE_METHOD, FRAMES_CHANNEL);
    put_integer(frames, class, 2);
    put_integer(frames, method, 2);
    return begin;
}

static void put_headers(struct frames *frames, const struct frames_header *headers, size_t count)
{
    size_t at = frames->len;
    put_integer(frames, 0, 4);
    for (size_t i = 0; i < count; i++) {
        put_short_text(frames, headers[i].name);
        put_u8(frames, 'S');
        put_integer(frames, headers[i].len, 4);
        put_bytes(frames, headers[i].text, headers[i].len);
    }
    store_big_endian(frames->bytes + at, frames->len - at - 4, 4);
}

/* The content header; its properties stand in the order of the flags, highest bit first. */
static void put_content_header(struct frames *frames, const struct frames_publication *publication)
{
    unsigned flags = HAS_DELIVERY_MODE;
    if (publication->content_type != NULL)
        flags |= HAS_CONTENT_TYPE;
    if (publication->header_count > 0)
        flags |= HAS_HEADERS;
    if (publication->message_id != NULL)
        flags |= HAS_MESSAGE_ID;
    size_t begin = begin_frame(frames, TYPE_HEADER, FRAMES_CHANNEL);
    put_integer(frames, CLASS_BASIC, 2);
    put_integer(frames, 0, 2); /* weight: unused */
    put_integer(frames, publication->body_len, 8);
    put_integer(frames, flags, 2);
    if (publication->content_type != NULL)
        put_short_text(frames, publication->content_type);
    if (publication->header_count > 0)
        put_headers(frames, publication->headers, publication->header_count);
    put_u8(frames, DELIVERY_MODE_PERSISTENT);
    if (publication->message_id != NULL)
        put_short_text(frames, publication->message_id);
    end_frame(frames, begin);
}

void frames_publish(struct frames *frames, const struct frames_publication *publication)
{
    size_t begin = begin_method(frames, CLASS_BASIC, BASIC_PUBLISH);
    put_integer(frames, 0, 2);  /* reserved */
    put_short_text(frames, ""); /* the default exchange */
    put_short_text(frames, publication->queue);
    put_u8(frames, BIT_MANDATORY);
    end_frame(frames, begin);

    put_content_header(frames, publication);

    size_t part_len_max = frames->frame_len_max - FRAME_OVERHEAD;
    for (size_t sent = 0; sent < publication->body_len;) {
        size_t part = publication->body_len - sent;
        if (part > part_len_max)
            part = part_len_max;
        begin = begin_frame(frames, TYPE_BODY, FRAMES_CHANNEL);
        put_bytes(frames, publication->body + sent, part);
        end_frame(frames, begin);
        sent += part;
    }
}

void frames_ack(struct frames *frames, uint64_t tag, bool multiple)
{
    size_t begin = begin_method(frames, CLASS_BASIC, BASIC_ACK);
    put_integer(frames, tag, 8);
    put_u8(frames, multiple ? 1 : 0);
    end_frame(frames, begin);
}

void frames_cancel(struct frames *frames, const char *consumer_tag)
{
    size_t begin = begin_method(frames, CLASS_BASIC, BASIC_CANCEL);
    put_short_text(frames, consumer_tag);
    put_u8(frames, 1); /* no-wait */
    end_frame(frames, begin);
}

void frames_heartbeat(struct frames *frames)
{
    end_frame(frames, begin_frame(frames, TYPE_HEARTBEAT, 0));
}

void frames_question(struct frames *frames)
{
    size_t begin = begin_method(frames, CLASS_CHANNEL, CHANNEL_FLOW);
    put_u8(frames, 1); /* active */
    end_frame(frames, begin);
}

/* Moves what is left to the front, once as much has been sent: where some is always left, the buffer would else grow
 * with all that ever goes through it. A byte that is moved stands for one that was sent. */
static void give_back_sent(struct frames *frames)
{
    size_t unsent_len = frames_unsent_len(frames);
    if (frames->start < unsent_len)
        return;
    memcpy(frames->bytes, frames->bytes + frames->start, unsent_len);
    frames->start = 0;
    frames->len = unsent_len;
}

enum status frames_flush(struct frames *frames, int fd)
{
    while (!frames_is_empty(frames)) {
        ssize_t sent =
            send(fd, frames->bytes + frames->start, frames->len - frames->start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            give_back_sent(frames);
            return STATUS_FULL;
        }
        if (sent <= 0)
            return STATUS_LOST;
        frames->start += (size_t)sent;
    }
    frames->start = 0;
    frames->len = 0;
    give_back_large(frames);
    return STATUS_OK;
}
