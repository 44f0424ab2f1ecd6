/*
 * pm_publish: publishes prepared messages as fast as the broker confirms them.
 *
 *   pm_publish <host> <port> <user> <password> <vhost> [<messages a second>] < records
 *
 * A record is a line "<queue> <message id or -> <length of the body>", then that many bytes and a line feed. Messages
 * are persistent and go through the default exchange. The program ends with 0 only if every one of them was confirmed.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

enum {
    UNCONFIRMED_MAX = 1000, /* with 128 KiB socket buffers the broker never has to wait for us, nor we for it */
    BODY_LEN_MAX = 16 * 1024 * 1024,
    QUEUE_LEN_MAX = 255,
    PACE_BATCH = 20, /* messages between two looks at the clock */
};

struct publisher {
    amqp_connection_state_t connection;
    uint64_t published;
    uint64_t confirmed; /* all up to here */
    bool confirmed_early[UNCONFIRMED_MAX *
                         2]; /* those after it that came out of order, by sequence number modulo its size */
    unsigned rate;           /* 0: as fast as it goes */
    struct timespec started;
};

struct record {
    char queue[QUEUE_LEN_MAX + 1];
    char message_id[QUEUE_LEN_MAX + 1];
    amqp_bytes_t body;
};

static void die(const char *what, int library_status)
{
    fprintf(stderr, "pm_publish: %s%s%s\n", what, library_status < 0 ? ": " : "",
            library_status < 0 ? amqp_error_string2(library_status) : "");
    exit(1);
}

static void require_normal(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        die(what, reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION ? reply.library_error : 0);
}

static void publisher_open(struct publisher *publisher, char **arguments)
{
    publisher->connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(publisher->connection);
    if (socket == NULL)
        die("no memory", 0);
    int status = amqp_socket_open(socket, arguments[1], (int)strtol(arguments[2], NULL, 10));
    if (status != AMQP_STATUS_OK)
        die("cannot connect", status);
    require_normal(amqp_login(publisher->connection, arguments[5], 0, AMQP_DEFAULT_FRAME_SIZE, 60,
                              AMQP_SASL_METHOD_PLAIN, arguments[3], arguments[4]),
                   "login refused");
    amqp_channel_open(publisher->connection, 1);
    require_normal(amqp_get_rpc_reply(publisher->connection), "no channel");
    amqp_confirm_select(publisher->connection, 1);
    require_normal(amqp_get_rpc_reply(publisher->connection), "no confirms");
}

static bool *early(struct publisher *publisher, uint64_t tag)
{
    return &publisher->confirmed_early[tag % (sizeof(publisher->confirmed_early) / sizeof(bool))];
}

static void on_confirmation(struct publisher *publisher, const amqp_basic_ack_t *ack)
{
    if (!ack->multiple)
        *early(publisher, ack->delivery_tag) = true;
    else if (ack->delivery_tag > publisher->confirmed)
        publisher->confirmed = ack->delivery_tag;
    while (publisher->confirmed < publisher->published && *early(publisher, publisher->confirmed + 1))
        publisher->confirmed++;
}

/* Reads one frame if there is one within the timeout; a confirmation moves .confirmed on. */
static bool publisher_read(struct publisher *publisher, struct timeval timeout)
{
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(publisher->connection, &frame, &timeout);
    if (status == AMQP_STATUS_TIMEOUT)
        return false;
    if (status != AMQP_STATUS_OK)
        die("connection lost", status);
    if (frame.frame_type != AMQP_FRAME_METHOD)
        return true;
    if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
        on_confirmation(publisher, frame.payload.method.decoded);
    } else if (frame.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
        die("a message was returned: no such queue", 0);
    } else if (frame.payload.method.id == AMQP_BASIC_NACK_METHOD) {
        die("the broker refused a message", 0);
    } else if (frame.payload.method.id == AMQP_CHANNEL_CLOSE_METHOD ||
               frame.payload.method.id == AMQP_CONNECTION_CLOSE_METHOD) {
        die("the broker closed the channel", 0);
    }
    return true;
}

static void publisher_wait_until_unconfirmed(struct publisher *publisher, uint64_t unconfirmed_max)
{
    while (publisher->published - publisher->confirmed > unconfirmed_max) {
        if (!publisher_read(publisher, (struct timeval){.tv_sec = 60}))
            die("no confirmation within 60 s", 0);
    }
    amqp_maybe_release_buffers(publisher->connection);
}

/* Sleeps until the next batch is due. */
static void publisher_pace(const struct publisher *publisher)
{
    if (publisher->rate == 0 || publisher->published % PACE_BATCH != 0)
        return;
    uint64_t due_ns = publisher->published * 1000000000u / publisher->rate + (uint64_t)publisher->started.tv_nsec;
    struct timespec due = {.tv_sec = publisher->started.tv_sec + (time_t)(due_ns / 1000000000u),
                           .tv_nsec = (long)(due_ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void publisher_publish(struct publisher *publisher, const struct record *record)
{
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
                                          .delivery_mode = AMQP_DELIVERY_PERSISTENT,
                                          .content_type = amqp_cstring_bytes("application/json")};
    if (strcmp(record->message_id, "-") != 0) {
        properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
        properties.message_id = amqp_cstring_bytes(record->message_id);
    }
    /* Mandatory: a message to a queue that is not there comes back and is an error. */
    int status = amqp_basic_publish(publisher->connection, 1, amqp_empty_bytes, amqp_cstring_bytes(record->queue), 1, 0,
                                    &properties, record->body);
    if (status != AMQP_STATUS_OK)
        die("cannot publish", status);
    publisher->published++;
    *early(publisher, publisher->published) = false;
    while (publisher_read(publisher, (struct timeval){0}))
        continue;
    publisher_wait_until_unconfirmed(publisher, UNCONFIRMED_MAX - 1);
    publisher_pace(publisher);
}

/* Reads one record; false at the end. The body's memory is reused from call to call. */
static bool record_read(struct record *record, size_t *capacity)
{
    size_t body_len = 0;
    int fields = scanf("%255s %255s %zu", record->queue, record->message_id, &body_len);
    if (fields == EOF)
        return false;
    if (fields != 3 || body_len > BODY_LEN_MAX || getchar() != '\n')
        die("malformed record", 0);
    if (body_len > *capacity) {
        *capacity = body_len * 2;
        record->body.bytes = realloc(record->body.bytes, *capacity);
        if (record->body.bytes == NULL)
            die("no memory", 0);
    }
    if (body_len > 0 && fread(record->body.bytes, 1, body_len, stdin) != body_len)
        die("a record is cut off", 0);
    if (getchar() != '\n')
        die("a record does not end with a line feed", 0);
    record->body.len = body_len;
    return true;
}

int main(int count, char **arguments)
{
    if (count < 6) {
        fputs("usage: pm_publish <host> <port> <user> <password> <vhost> [<rate>] < records\n", stderr);
        return 2;
    }
    struct publisher publisher = {.rate = count > 6 ? (unsigned)strtoul(arguments[6], NULL, 10) : 0};
    publisher_open(&publisher, arguments);
    clock_gettime(CLOCK_MONOTONIC, &publisher.started);
    struct record record = {.body = {0}};
    size_t capacity = 0;
    while (record_read(&record, &capacity))
        publisher_publish(&publisher, &record);
    publisher_wait_until_unconfirmed(&publisher, 0);
    struct timespec ended;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds =
        (double)(ended.tv_sec - publisher.started.tv_sec) + (double)(ended.tv_nsec - publisher.started.tv_nsec) / 1e9;
    printf("published %llu messages in %.2f s\n", (unsigned long long)publisher.published, seconds);
    free(record.body.bytes);
    amqp_connection_close(publisher.connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(publisher.connection);
    return 0;
}
