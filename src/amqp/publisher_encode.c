#include "publisher_state.h"

#include <string.h>

#include "check.h"
#include "encode.h"

enum { SCRATCH_LEN_MAX = 4096 }; /* above any announcement's length, also with every byte of its trace id escaped */

_Static_assert((int)SCRATCH_LEN_MAX > (int)ANNOUNCEMENT_JSON_LEN_MAX, "an announcement fits");
_Static_assert((int)SCRATCH_LEN_MAX > (int)PORTFOLIO_JSON_LEN_MAX, "a portfolio fits");

static struct frames_header header(const char *name, const char *text)
{
    return (struct frames_header){.name = name, .text = text, .len = strlen(text)};
}

/* An event of ours: JSON, with its identifier, and its trace id also as a header. */
static void publish_event(struct frames *frames, const char *queue, const struct uuid *message_id, const char *trace_id,
                          const char *body, size_t body_len)
{
    char id[UUID_TEXT_LEN + 1];
    uuid_format(message_id, id);
    id[UUID_TEXT_LEN] = '\0';
    const struct frames_header headers[] = {header("trace_id", trace_id)};
    const struct frames_publication publication = {
        .queue = queue,
        .content_type = "application/json",
        .message_id = id,
        .headers = headers,
        .header_count = 1,
        .body = body,
        .body_len = body_len,
    };
    frames_publish(frames, &publication);
}

static void append_announcement(struct frames *frames, const struct announcement *announcement)
{
    char bytes[SCRATCH_LEN_MAX];
    struct text json;
    text_init(&json, bytes, sizeof bytes);
    encode_position_updated(&json, &announcement->position, announcement->size_norm,
                            update_source_word((enum update_source)announcement->source), announcement->trace_id,
                            announcement->at_us);
    pm_assert(!json.overflowed);
    publish_event(frames, QUEUE_POSITION_UPDATED, &announcement->message_id, announcement->trace_id, json.bytes,
                  json.len);
}

static void append_portfolio(struct frames *frames, const struct portfolio_announcement *portfolio)
{
    char bytes[SCRATCH_LEN_MAX];
    struct text json;
    text_init(&json, bytes, sizeof bytes);
    encode_portfolio_updated(&json, &portfolio->totals, portfolio->limit_exceeded, portfolio->trace_id,
                             portfolio->at_us);
    pm_assert(!json.overflowed);
    publish_event(frames, QUEUE_PORTFOLIO_UPDATED, &portfolio->message_id, portfolio->trace_id, json.bytes, json.len);
}

static void append_snapshot(struct frames *frames, const struct snapshot_announcement *snapshot)
{
    publish_event(frames, QUEUE_SNAPSHOT_CREATED, &snapshot->snapshot_id, snapshot->trace_id, snapshot->body,
                  snapshot->body_len);
}

/* The original, byte for byte, with what was wrong with it. */
static void append_dead_letter(struct frames *frames, const struct delivery *delivery, int64_t wall_us)
{
    char id[UUID_TEXT_LEN + 1];
    char failed_at[TIME_TEXT_LEN_MAX];
    struct uuid message_id = uuid_generate();
    uuid_format(&message_id, id);
    id[UUID_TEXT_LEN] = '\0';
    size_t failed_at_len = time_format(wall_us, failed_at);
    const struct frames_header headers[] = {
        header("x-reason", status_word(delivery->refusal)),
        header("x-field", delivery->refusal_field != NULL ? delivery->refusal_field : ""),
        header("x-source-queue", delivery->queue_name),
        header("x-trace-id", delivery->trace_id),
        {.name = "x-failed-at", .text = failed_at, .len = failed_at_len},
        header("trace_id", delivery->trace_id),
    };
    const struct frames_publication publication = {
        .queue = QUEUE_DEAD_LETTER,
        .content_type = delivery->content_type,
        .message_id = id,
        .headers = headers,
        .header_count = sizeof headers / sizeof headers[0],
        .body = delivery->body,
        .body_len = delivery->body_len,
    };
    frames_publish(frames, &publication);
}

void publisher_encode(struct frames *frames, const struct message *message, int64_t wall_us)
{
    if (message->type == MESSAGE_ANNOUNCEMENT)
        append_announcement(frames, (const struct announcement *)message);
    else if (message->type == MESSAGE_PORTFOLIO)
        append_portfolio(frames, (const struct portfolio_announcement *)message);
    else if (message->type == MESSAGE_SNAPSHOT)
        append_snapshot(frames, (const struct snapshot_announcement *)message);
    else if (message->type == MESSAGE_DEAD_LETTER)
        append_dead_letter(frames, (const struct delivery *)message, wall_us);
    else
        pm_assert(!"a message the publisher does not take");
}
