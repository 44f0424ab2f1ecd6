/*
 * bench_consumer: the bare consumer that the service is measured against. It takes messages from a queue, looks at
 * none of them, and acknowledges many at once.
 *
 *   bench_consumer <host> <port> <user> <password> <vhost> <queue> <messages> <prefetch, 0: no limit>
 *
 * Prints one JSON object: the time from the first delivery until the broker has processed the last acknowledgement.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

enum { CHANNEL = 1, ACK_EVERY_MAX = 1000, RELEASE_EVERY = 64, ARGUMENT_COUNT = 9 };

static void die(const char *what)
{
    fprintf(stderr, "bench_consumer: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void require_normal(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        die(what);
}

static amqp_connection_state_t open_connection(char **arguments)
{
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, arguments[1], (int)strtol(arguments[2], NULL, 10)) != 0)
        die("cannot connect");
    require_normal(amqp_login(connection, arguments[5], 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
                              arguments[3], arguments[4]),
                   "login refused");
    amqp_channel_open(connection, CHANNEL);
    require_normal(amqp_get_rpc_reply(connection), "no channel");
    return connection;
}

static void consume(amqp_connection_state_t connection, const char *queue, unsigned prefetch)
{
    amqp_basic_qos(connection, CHANNEL, 0, (uint16_t)prefetch, 0);
    require_normal(amqp_get_rpc_reply(connection), "no prefetch");
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    require_normal(amqp_get_rpc_reply(connection), "cannot consume");
}

struct arrival {
    uint64_t tag;
    uint64_t body_left;
};

/* Reads one frame; true when it completes a message. */
static bool read_frame(amqp_connection_state_t connection, struct arrival *arrival)
{
    amqp_frame_t frame;
    if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK)
        die("connection lost");
    if (frame.frame_type == AMQP_FRAME_METHOD) {
        if (frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD)
            die("unexpected method");
        arrival->tag = ((amqp_basic_deliver_t *)frame.payload.method.decoded)->delivery_tag;
        return false;
    }
    if (frame.frame_type == AMQP_FRAME_HEADER)
        arrival->body_left = frame.payload.properties.body_size;
    else if (frame.frame_type == AMQP_FRAME_BODY)
        arrival->body_left -= frame.payload.body_fragment.len;
    return arrival->body_left == 0;
}

static double drain(amqp_connection_state_t connection, uint64_t count, unsigned prefetch)
{
    uint64_t ack_every = prefetch == 0 || prefetch / 4 > ACK_EVERY_MAX ? ACK_EVERY_MAX : prefetch / 4 + 1;
    double started_s = 0;
    struct arrival arrival = {0};
    for (uint64_t received = 0; received < count;) {
        if (!read_frame(connection, &arrival))
            continue;
        if (received++ == 0)
            started_s = now_s();
        if ((received % ack_every == 0 || received == count) &&
            amqp_basic_ack(connection, CHANNEL, arrival.tag, 1) != AMQP_STATUS_OK)
            die("cannot acknowledge");
        if (received % RELEASE_EVERY == 0)
            amqp_maybe_release_buffers(connection);
    }
    require_normal(amqp_channel_close(connection, CHANNEL, AMQP_REPLY_SUCCESS), "channel not closed");
    return now_s() - started_s;
}

int main(int count, char **arguments)
{
    if (count != ARGUMENT_COUNT) {
        fputs("usage: bench_consumer <host> <port> <user> <password> <vhost> <queue> <messages> <prefetch>\n", stderr);
        return 2;
    }
    uint64_t messages = strtoull(arguments[7], NULL, 10);
    unsigned prefetch = (unsigned)strtoul(arguments[8], NULL, 10);
    amqp_connection_state_t connection = open_connection(arguments);
    consume(connection, arguments[6], prefetch);
    double seconds = drain(connection, messages, prefetch);
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", (unsigned long long)messages, seconds,
           cpu_s());
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
    return 0;
}
