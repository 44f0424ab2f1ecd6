/* http_frames: HTTP/2 by hand, for what no client library would send. */
#ifndef PM_HTTP_FRAMES_H
#define PM_HTTP_FRAMES_H

#include "http_fixture.h"

/* Writes one frame; returns its length. type: 1 HEADERS, 3 RST_STREAM, 4 SETTINGS, 6 PING. */
static inline size_t frame(unsigned char *out, unsigned type, unsigned flags, uint32_t stream, const void *payload,
                           size_t len)
{
    out[0] = (unsigned char)(len >> 16), out[1] = (unsigned char)(len >> 8), out[2] = (unsigned char)len;
    out[3] = (unsigned char)type, out[4] = (unsigned char)flags;
    for (int i = 0; i < 4; i++)
        out[5 + i] = (unsigned char)(stream >> (24 - 8 * i));
    if (len > 0)
        memcpy(out + 9, payload, len);
    return 9 + len;
}

static inline int dial_http2(void)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    unsigned char settings[16];
    int fd = dial();
    say(fd, preface, sizeof preface - 1);
    say(fd, settings, frame(settings, 4, 0, 0, NULL, 0));
    return fd;
}

/* A header field's part as a plain string of less than 127 bytes; returns its length. */
static inline size_t frame_string(unsigned char *out, const char *text)
{
    size_t len = strlen(text);
    out[0] = (unsigned char)len;
    memcpy(out + 1, text, len);
    return 1 + len;
}

/* :method GET, :scheme http, :path as a literal, and the key unless NULL. Returns the length. */
static inline size_t frame_get_block(unsigned char *out, const char *path, const char *key)
{
    size_t len = 0;
    out[len++] = 0x82, out[len++] = 0x86, out[len++] = 0x04;
    len += frame_string(out + len, path);
    if (key != NULL) {
        out[len++] = 0x00;
        len += frame_string(out + len, "x-api-key");
        len += frame_string(out + len, key);
    }
    return len;
}

/* How many frames of a type are in what was heard. */
static inline int frame_count(const char *heard, size_t len, unsigned type)
{
    int count = 0;
    for (size_t at = 0; at + 9 <= len;) {
        const unsigned char *head = (const unsigned char *)heard + at;
        count += head[3] == type;
        at += 9 + ((size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2]);
    }
    return count;
}

/* Reads frames of HTTP/2 until so many of that type are there, and a little longer; at most twenty seconds in silence.
 */
static inline size_t hear_frames(int fd, char *out, size_t size, unsigned type, int count, bool *closed)
{
    size_t len = 0;
    *closed = false;
    while (!*closed && frame_count(out, len, type) < count) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        if (poll(&poller, 1, HEAR_WAIT_MS) <= 0)
            return len;
        ssize_t n = recv(fd, out + len, size - 1 - len, 0);
        *closed = n <= 0;
        len += n > 0 ? (size_t)n : 0;
    }
    return *closed ? len : len + hear(fd, out + len, size - len, 300, closed);
}

#endif
