/*
 * bench_visible: how long after its publication an execution is visible, at a given pace.
 *
 *   bench_visible http <broker: host port user password vhost> <rate> <seconds> <HTTP port> <key>
 *   bench_visible hop  <broker: host port user password vhost> <rate> <seconds> <queue>
 *
 * http: publishes fills of one unit, spread over 500 assets; every fifth is of the probe asset, whose size, asked for
 * over HTTP again and again, tells how many of them are visible. hop: publishes the same messages to a queue and takes
 * them from there on another connection: the way through the broker, and nothing else. Prints one JSON object.
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

enum {
    CHANNEL = 1,
    PROBE_EVERY = 5,
    ASSETS = 500,
    BODY_LEN = 512,
    ANSWER_LEN = 8192,
    POLL_PAUSE_NS = 150000,
    SETTLE_S = 20, /* for the last ones to become visible */
};

static const char order_queue[] = "order-manager.order_executed";
static const char probe_asset[] = "PROBEUSDT";

struct bench {
    bool is_http;
    char **arguments;
    unsigned rate;
    size_t count;  /* messages to publish */
    size_t probes; /* of these */
    const char *queue;
    double *stamps_s; /* of the probes; written before .published says so */
    double *delays_ms;
    _Atomic size_t published;
    _Atomic bool ready;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_visible: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_ns(long ns)
{
    struct timespec pause = {.tv_nsec = ns};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

/* ---- the broker's side ---- */

static void require_normal(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        die(what);
}

static amqp_connection_state_t open_broker(char **arguments)
{
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, arguments[2], (int)strtol(arguments[3], NULL, 10)) != 0)
        die("cannot connect to the broker");
    require_normal(amqp_login(connection, arguments[6], 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
                              arguments[4], arguments[5]),
                   "login refused");
    amqp_channel_open(connection, CHANNEL);
    require_normal(amqp_get_rpc_reply(connection), "no channel");
    return connection;
}

static size_t format_fill(char *out, size_t index, bool is_probe)
{
    char asset[24];
    if (is_probe)
        snprintf(asset, sizeof asset, "%s", probe_asset);
    else
        snprintf(asset, sizeof asset, "A%06zuUSDT", index % ASSETS + 1);
    int len = snprintf(out, BODY_LEN,
                       "{\"event_type\":\"order_executed\",\"execution_id\":\"visible-%d-%zu\",\"asset\":\"%s\","
                       "\"side\":\"Buy\",\"execution_quantity\":\"1\",\"execution_price\":\"50000.5\","
                       "\"execution_fees\":\"0.01\",\"executed_at\":\"2026-01-15T10:00:00Z\"}",
                       (int)getpid(), index, asset);
    return (size_t)len;
}

static void publish_one(struct bench *bench, amqp_connection_state_t connection, size_t index)
{
    char body[BODY_LEN];
    bool is_probe = !bench->is_http || index % PROBE_EVERY == 0;
    amqp_bytes_t bytes = {.len = format_fill(body, index, is_probe), .bytes = body};
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                          .delivery_mode = AMQP_DELIVERY_PERSISTENT};
    if (is_probe) {
        size_t number = bench->is_http ? index / PROBE_EVERY : index;
        bench->stamps_s[number] = now_s();
        atomic_store(&bench->published, number + 1);
    }
    if (amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(bench->queue), 0, 0, &properties,
                           bytes) != AMQP_STATUS_OK)
        die("cannot publish");
}

static void *publish(void *argument)
{
    struct bench *bench = argument;
    amqp_connection_state_t connection = open_broker(bench->arguments);
    while (!atomic_load(&bench->ready))
        pause_ns(1000000);
    struct timespec started;
    clock_gettime(CLOCK_MONOTONIC, &started);
    for (size_t i = 0; i < bench->count; i++) {
        uint64_t due_ns = (uint64_t)i * 1000000000u / bench->rate + (uint64_t)started.tv_nsec;
        struct timespec due = {.tv_sec = started.tv_sec + (time_t)(due_ns / 1000000000u),
                               .tv_nsec = (long)(due_ns % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        publish_one(bench, connection, i);
    }
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
    return NULL;
}

static void take_all(struct bench *bench)
{
    amqp_connection_state_t connection = open_broker(bench->arguments);
    amqp_queue_declare(connection, CHANNEL, amqp_cstring_bytes(bench->queue), 0, 1, 0, 0, amqp_empty_table);
    require_normal(amqp_get_rpc_reply(connection), "no queue");
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(bench->queue), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    require_normal(amqp_get_rpc_reply(connection), "cannot consume");
    atomic_store(&bench->ready, true);
    for (size_t taken = 0; taken < bench->count;) {
        amqp_frame_t frame;
        if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK)
            die("connection lost");
        if (frame.frame_type == AMQP_FRAME_BODY) {
            bench->delays_ms[taken] = (now_s() - bench->stamps_s[taken]) * 1000;
            taken++;
            amqp_basic_ack(connection, CHANNEL, taken, 0);
        }
        amqp_maybe_release_buffers(connection);
    }
    require_normal(amqp_channel_close(connection, CHANNEL, AMQP_REPLY_SUCCESS), "channel not closed");
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
}

/* ---- the HTTP side ---- */

static int open_http(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("cannot connect to the service");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Asks for the probe's position; its size, or 0 where there is none yet. */
static double ask_size(int fd, const char *request, size_t request_len)
{
    char answer[ANSWER_LEN + 1];
    size_t len = 0;
    if (write(fd, request, request_len) != (ssize_t)request_len)
        die("cannot ask");
    for (;;) {
        ssize_t got = read(fd, answer + len, ANSWER_LEN - len);
        if (got <= 0)
            die("no answer");
        len += (size_t)got;
        answer[len] = '\0';
        const char *length = strcasestr(answer, "content-length: ");
        const char *body = strstr(answer, "\r\n\r\n");
        if (length == NULL || body == NULL || length > body)
            continue;
        if (len >= (size_t)(body + 4 - answer) + strtoul(length + 16, NULL, 10))
            break;
    }
    const char *size = strstr(answer, "\"size\":\"");
    return size == NULL ? 0 : strtod(size + 8, NULL);
}

static void watch(struct bench *bench)
{
    char request[512];
    int len = snprintf(request, sizeof request,
                       "GET /api/v1/positions/%s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n\r\n", probe_asset,
                       bench->arguments[10]);
    int fd = open_http(bench->arguments[9]);
    double before = ask_size(fd, request, (size_t)len);
    double until_s = now_s() + (double)bench->count / bench->rate + SETTLE_S;
    atomic_store(&bench->ready, true);
    for (size_t visible = 0; visible < bench->probes;) {
        size_t seen = (size_t)(ask_size(fd, request, (size_t)len) - before + 0.5);
        double at_s = now_s();
        if (seen > atomic_load(&bench->published))
            die("more is visible than was published");
        for (; visible < seen; visible++)
            bench->delays_ms[visible] = (at_s - bench->stamps_s[visible]) * 1000;
        if (at_s > until_s)
            die("not everything became visible");
        pause_ns(POLL_PAUSE_NS);
    }
    close(fd);
}

/* ---- both ---- */

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments)
{
    struct bench bench = {.arguments = arguments, .is_http = count == 11 && strcmp(arguments[1], "http") == 0};
    if (!bench.is_http && !(count == 10 && strcmp(arguments[1], "hop") == 0)) {
        fputs("usage: bench_visible http|hop <host> <port> <user> <password> <vhost> <rate> <seconds> "
              "<HTTP port> <key> | <queue>\n",
              stderr);
        return 2;
    }
    bench.rate = (unsigned)strtoul(arguments[7], NULL, 10);
    bench.count = (size_t)bench.rate * strtoul(arguments[8], NULL, 10);
    bench.probes = bench.is_http ? (bench.count + PROBE_EVERY - 1) / PROBE_EVERY : bench.count;
    bench.queue = bench.is_http ? order_queue : arguments[9];
    bench.stamps_s = calloc(bench.probes, sizeof(double));
    bench.delays_ms = calloc(bench.probes, sizeof(double));
    pthread_t publisher;
    if (bench.probes == 0 || bench.stamps_s == NULL || bench.delays_ms == NULL ||
        pthread_create(&publisher, NULL, publish, &bench) != 0)
        die("cannot start");
    if (bench.is_http)
        watch(&bench);
    else
        take_all(&bench);
    pthread_join(publisher, NULL);
    qsort(bench.delays_ms, bench.probes, sizeof(double), compare);
    printf("{\"samples\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f}\n",
           bench.probes, bench.delays_ms[bench.probes / 2], bench.delays_ms[bench.probes * 99 / 100],
           bench.delays_ms[bench.probes * 999 / 1000], bench.delays_ms[bench.probes - 1]);
    free(bench.stamps_s);
    free(bench.delays_ms);
    return 0;
}
