#define _GNU_SOURCE

#include "prices_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"

struct connection {
    struct prices_server *server;
    pthread_t thread;
    int fd;
};

struct prices_server {
    serve_fn *serve;
    void *context;
    int listen_fd;
    int stop_fd;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock;
    size_t count;
    size_t at_once, most_at_once;
    size_t connection_count;
    struct connection connections[SERVED_REQUESTS_MAX];
    int64_t at_us[SERVED_REQUESTS_MAX];
    char requests[SERVED_REQUESTS_MAX][SERVED_REQUEST_LEN_MAX];
};

/* False if the server is to stop, or the time is over. */
static bool wait_for(struct prices_server *server, int fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = server->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int ready = poll(fds, fd < 0 ? 1 : 2, timeout_ms);
    return ready > 0 && (fds[0].revents & POLLIN) == 0;
}

static bool is_whole(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return false;
    const char *length = strcasestr(text, "content-length:");
    size_t body_len = length == NULL ? 0 : strtoul(length + sizeof "content-length:" - 1, NULL, 10);
    return strlen(end + 4) >= body_len;
}

static bool read_request(struct connection *connection, char *text)
{
    size_t len = 0;
    text[0] = '\0';
    while (!is_whole(text)) {
        if (len == SERVED_REQUEST_LEN_MAX - 1 || !wait_for(connection->server, connection->fd, 60000))
            return false;
        ssize_t got = read(connection->fd, text + len, SERVED_REQUEST_LEN_MAX - 1 - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
        text[len] = '\0';
    }
    return true;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void answer(const struct connection *connection, const struct served *served)
{
    const char *body = served->body == NULL ? "" : served->body;
    size_t repeat = served->repeat == 0 ? 1 : served->repeat;
    /* No length is announced, so that nobody can refuse a large body before it comes. The location would serve. */
    char head[256];
    int len = snprintf(head, sizeof head, "HTTP/1.1 %d Word\r\nConnection: close\r\nLocation: %s/\r\n\r\n",
                       served->code, connection->server->url);
    bool is_well = write_all(connection->fd, head, (size_t)len);
    for (size_t i = 0; i < repeat && is_well; i++)
        is_well = write_all(connection->fd, body, strlen(body));
}

static void serve_request(struct connection *connection, const char *text)
{
    struct prices_server *server = connection->server;
    struct served served = {.code = 200};
    (void)pthread_mutex_lock(&server->lock);
    pm_assert(server->count < SERVED_REQUESTS_MAX);
    memcpy(server->requests[server->count], text, strlen(text) + 1);
    server->at_us[server->count] = clock_steady_us();
    server->count++;
    server->at_once++;
    if (server->at_once > server->most_at_once)
        server->most_at_once = server->at_once;
    server->serve(server->context, text, &served);
    (void)pthread_mutex_unlock(&server->lock);
    if (served.delay_ms > 0)
        (void)wait_for(server, -1, served.delay_ms);
    /* Before the answer: who has it may ask again at once. */
    (void)pthread_mutex_lock(&server->lock);
    server->at_once--;
    (void)pthread_mutex_unlock(&server->lock);
    if (!served.is_dropped)
        answer(connection, &served);
}

static void *connection_main(void *argument)
{
    struct connection *connection = argument;
    char text[SERVED_REQUEST_LEN_MAX];
    if (read_request(connection, text))
        serve_request(connection, text);
    (void)shutdown(connection->fd, SHUT_WR);
    (void)close(connection->fd);
    return NULL;
}

static void *server_main(void *argument)
{
    struct prices_server *server = argument;
    while (wait_for(server, server->listen_fd, -1)) {
        int fd = accept(server->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        pm_assert(server->connection_count < SERVED_REQUESTS_MAX);
        struct connection *connection = &server->connections[server->connection_count++];
        *connection = (struct connection){.server = server, .fd = fd};
        int error = pthread_create(&connection->thread, NULL, connection_main, connection);
        pm_assert(error == 0);
    }
    return NULL;
}

struct prices_server *prices_server_create(serve_fn *serve, void *context)
{
    struct prices_server *server = calloc(1, sizeof *server);
    pm_assert(server != NULL);
    server->serve = serve;
    server->context = context;
    (void)pthread_mutex_init(&server->lock, NULL);
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    pm_assert(bind(server->listen_fd, (struct sockaddr *)&address, size) == 0);
    pm_assert(listen(server->listen_fd, 64) == 0);
    pm_assert(getsockname(server->listen_fd, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    pm_assert(pthread_create(&server->thread, NULL, server_main, server) == 0);
    return server;
}

void prices_server_destroy(struct prices_server *server)
{
    pm_assert(eventfd_write(server->stop_fd, 1) == 0);
    (void)pthread_join(server->thread, NULL);
    for (size_t i = 0; i < server->connection_count; i++)
        (void)pthread_join(server->connections[i].thread, NULL);
    (void)close(server->listen_fd);
    (void)close(server->stop_fd);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

const char *prices_server_url(const struct prices_server *server)
{
    return server->url;
}

size_t prices_server_count(struct prices_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t count = server->count;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}

const char *prices_server_request(struct prices_server *server, size_t index, int64_t *at_us)
{
    (void)pthread_mutex_lock(&server->lock);
    pm_assert(index < server->count);
    if (at_us != NULL)
        *at_us = server->at_us[index];
    (void)pthread_mutex_unlock(&server->lock);
    return server->requests[index];
}

size_t prices_server_count_with(struct prices_server *server, const char *part)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t count = 0;
    for (size_t i = 0; i < server->count; i++)
        count += strstr(server->requests[i], part) != NULL;
    (void)pthread_mutex_unlock(&server->lock);
    return count;
}

size_t prices_server_most_at_once(struct prices_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    size_t most = server->most_at_once;
    (void)pthread_mutex_unlock(&server->lock);
    return most;
}
