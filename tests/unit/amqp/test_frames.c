#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"

static struct frames frames;

static void set_up(void)
{
    frames_init(&frames);
    frames_reset(&frames, 4096);
}

static void tear_down(void)
{
    frames_finish(&frames);
}

TestSuite(frames, .init = set_up, .fini = tear_down);

static void expect(const char *name, const void *bytes, size_t len)
{
    cr_assert_eq(frames.len, len, "%s: %zu bytes, not %zu", name, frames.len, len);
    cr_assert_eq(memcmp(frames.bytes, bytes, len), 0, "%s", name);
}

/* All expected bytes are written out after the specification, AMQP 0-9-1 §4.2. */
Test(frames, heartbeat_is_eight_bytes_on_channel_zero)
{
    frames_heartbeat(&frames);
    expect("heartbeat", "\x08\x00\x00\x00\x00\x00\x00\xCE", 8);
}

Test(frames, ack_carries_the_tag_and_the_bit)
{
    frames_ack(&frames, 0x0102030405060708, true);
    frames_ack(&frames, 9, false);
    expect("ack",
           "\x01\x00\x01\x00\x00\x00\x0D\x00\x3C\x00\x50\x01\x02\x03\x04\x05\x06\x07\x08\x01\xCE"
           "\x01\x00\x01\x00\x00\x00\x0D\x00\x3C\x00\x50\x00\x00\x00\x00\x00\x00\x00\x09\x00\xCE",
           42);
}

Test(frames, cancel_names_the_consumer_and_wants_no_answer)
{
    frames_cancel(&frames, "pm-AB");
    expect("cancel", "\x01\x00\x01\x00\x00\x00\x0B\x00\x3C\x00\x1E\x05pm-AB\x01\xCE", 19);
}

Test(frames, question_is_a_flow_that_is_active)
{
    frames_question(&frames);
    expect("question", "\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x14\x01\xCE", 13);
}

Test(frames, publication_is_method_header_and_body)
{
    const struct frames_header headers[] = {{.name = "trace_id", .text = "t1", .len = 2}};
    const struct frames_publication publication = {
        .queue = "q",
        .content_type = "a/j",
        .message_id = "id",
        .headers = headers,
        .header_count = 1,
        .body = "{}",
        .body_len = 2,
    };
    frames_publish(&frames, &publication);
    static const char bytes[] = "\x01\x00\x01\x00\x00\x00\x0A\x00\x3C\x00\x28\x00\x00\x00\x01q\x01\xCE"
                                "\x02\x00\x01\x00\x00\x00\x2A\x00\x3C\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xB0\x80"
                                "\x03"
                                "a/j\x00\x00\x00\x10\x08trace_idS\x00\x00\x00\x02t1\x02\x02id\xCE"
                                "\x03\x00\x01\x00\x00\x00\x02{}\xCE";
    expect("publication", bytes, sizeof bytes - 1);
}

Test(frames, publication_without_type_id_and_body_has_neither)
{
    const struct frames_publication publication = {.queue = "q"};
    frames_publish(&frames, &publication);
    static const char bytes[] = "\x01\x00\x01\x00\x00\x00\x0A\x00\x3C\x00\x28\x00\x00\x00\x01q\x01\xCE"
                                "\x02\x00\x01\x00\x00\x00\x0F\x00\x3C\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00"
                                "\x02\xCE";
    expect("bare publication", bytes, sizeof bytes - 1);
}

/* Walks the body frames of one publication; returns their number. */
static size_t count_body_frames(size_t frame_len_max, size_t *body_len)
{
    size_t count = 0;
    *body_len = 0;
    for (size_t at = 0; at < frames.len;) {
        const unsigned char *frame = (const unsigned char *)frames.bytes + at;
        size_t len = (size_t)frame[3] << 24 | (size_t)frame[4] << 16 | (size_t)frame[5] << 8 | frame[6];
        cr_assert_leq(len + 8, frame_len_max);
        cr_assert_eq(frame[len + 7], 0xCE);
        if (frame[0] == 3) {
            count++;
            *body_len += len;
        }
        at += len + 8;
    }
    return count;
}

Test(frames, long_body_is_split_at_the_negotiated_length)
{
    static const struct {
        size_t body_len, frames;
    } rows[] = {{4087, 1}, {4088, 1}, {4089, 2}, {8176, 2}, {300000, 74}};
    char *body = calloc(1, 300000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t body_len;
        const struct frames_publication publication = {.queue = "q", .body = body, .body_len = rows[i].body_len};
        frames_reset(&frames, 4096);
        frames_publish(&frames, &publication);
        cr_assert_eq(count_body_frames(4096, &body_len), rows[i].frames, "body of %zu", rows[i].body_len);
        cr_assert_eq(body_len, rows[i].body_len);
    }
    free(body);
}

Test(frames, flush_sends_what_the_socket_takes_and_goes_on_later)
{
    enum { BODY_LEN = 3 * 1024 * 1024 };
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    char *body = malloc(BODY_LEN);
    char *got = malloc(2 * BODY_LEN);
    for (size_t i = 0; i < BODY_LEN; i++)
        body[i] = (char)(i * 31 >> 3);
    const struct frames_publication publication = {.queue = "q", .body = body, .body_len = BODY_LEN};
    frames_publish(&frames, &publication);
    char *all = malloc(frames.len);
    size_t all_len = frames.len, got_len = 0;
    memcpy(all, frames.bytes, all_len);

    cr_assert_eq(frames_flush(&frames, pair[0]), STATUS_FULL);
    cr_assert_not(frames_is_empty(&frames));
    enum status status = STATUS_FULL;
    while (got_len < all_len) {
        ssize_t len = read(pair[1], got + got_len, 2 * BODY_LEN - got_len);
        got_len += len > 0 ? (size_t)len : 0;
        status = frames_flush(&frames, pair[0]);
        cr_assert_neq(status, STATUS_LOST);
    }
    cr_assert_eq(status, STATUS_OK);
    cr_assert_eq(got_len, all_len);
    cr_assert_eq(memcmp(got, all, all_len), 0);
    cr_assert_eq(frames.capacity, 0, "a large buffer is given back");
    close(pair[0]);
    close(pair[1]);
    free(body);
    free(got);
    free(all);
}

Test(frames, flush_tells_that_the_peer_is_gone)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    frames_heartbeat(&frames);
    cr_assert_eq(frames_flush(&frames, pair[0]), STATUS_LOST);
    close(pair[0]);
}

Test(frames, appending_behind_a_half_sent_frame_keeps_the_order)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    frames_heartbeat(&frames);
    frames.start = 3; /* as if three bytes had left */
    frames_heartbeat(&frames);
    cr_assert_eq(frames_unsent_len(&frames), 13);
    cr_assert_eq(frames_flush(&frames, pair[0]), STATUS_OK);
    char got[32];
    cr_assert_eq(read(pair[1], got, sizeof got), 13);
    cr_assert_eq(memcmp(got, "\x00\x00\x00\x00\xCE\x08\x00\x00\x00\x00\x00\x00\xCE", 13), 0);
    close(pair[0]);
    close(pair[1]);
}

/* A broker that is always a little behind: some is always left, so the buffer never runs empty. */
Test(frames, what_was_sent_gives_its_room_back_though_some_is_always_left)
{
    enum { BODY_LEN = 32 * 1024, UNSENT_LEN_MAX = 256 * 1024, TURNS = 1000 };
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    static char body[BODY_LEN], got[BODY_LEN];
    const struct frames_publication publication = {.queue = "q", .body = body, .body_len = BODY_LEN};
    for (size_t i = 0; i < TURNS; i++) {
        while (frames_unsent_len(&frames) < UNSENT_LEN_MAX)
            frames_publish(&frames, &publication);
        cr_assert_eq(frames_flush(&frames, pair[0]), STATUS_FULL);
        cr_assert_gt(read(pair[1], got, sizeof got), 0);
    }
    cr_assert_leq(frames.capacity, 4 * UNSENT_LEN_MAX, "%zu bytes", frames.capacity);
    close(pair[0]);
    close(pair[1]);
}

Test(frames, reset_forgets_what_was_not_sent)
{
    frames_heartbeat(&frames);
    frames_reset(&frames, 8192);
    cr_assert(frames_is_empty(&frames));
    cr_assert_eq(frames.frame_len_max, 8192);
}
