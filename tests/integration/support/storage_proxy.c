/*
 * One connection at a time, in a thread of its own, which is all that a committer needs. The Bind message of the
 * statement named "commit" is what it looks for on the way to the server.
 */
#define _GNU_SOURCE /* memmem */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "storage_rig.h"

struct proxy {
    pthread_t thread;
    atomic_int mode;
    atomic_int mode_after;
    atomic_bool stopping;
    int listener;
    char host[128];
    char port[16];
    char own_port[16];
};

static int connect_upstream(const struct proxy *proxy)
{
    int fd;
    int connected;
    if (proxy->host[0] == '/') {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof address.sun_path, "%.80s/.s.PGSQL.%s", proxy->host, proxy->port);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        connected = connect(fd, (const struct sockaddr *)&address, sizeof address);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)strtoul(proxy->port, NULL, 10))};
        inet_pton(AF_INET, proxy->host, &address.sin_addr);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        connected = connect(fd, (const struct sockaddr *)&address, sizeof address);
    }
    if (connected == 0)
        return fd;
    close(fd);
    return -1;
}

/* Copies what is there. Returns the number of bytes, 0 at the end. */
static ssize_t copy(int from, int to, char *bytes, size_t size)
{
    const ssize_t count = read(from, bytes, size);
    if (count > 0 && to >= 0 && send(to, bytes, (size_t)count, MSG_NOSIGNAL) != count)
        return 0;
    return count < 0 ? 0 : count;
}

static bool holds_commit(const char *bytes, ssize_t count)
{
    static const char needle[] = "\0commit"; /* with the final zero: unnamed portal, statement "commit" */
    return memmem(bytes, (size_t)count, needle, sizeof needle) != NULL;
}

/* Returns false when the line is to be cut. */
static bool forward(struct proxy *proxy, int client, int server)
{
    char bytes[65536];
    const ssize_t count = copy(client, -1, bytes, sizeof bytes);
    if (count == 0)
        return false;
    const int mode = atomic_load(&proxy->mode);
    const bool lose = mode >= PROXY_LOSE_COMMIT && holds_commit(bytes, count);
    if (lose && mode == PROXY_LOSE_COMMIT) {
        atomic_store(&proxy->mode, atomic_load(&proxy->mode_after));
        return false;
    }
    if (send(server, bytes, (size_t)count, MSG_NOSIGNAL) != count)
        return false;
    if (!lose)
        return true;
    copy(server, -1, bytes, sizeof bytes); /* the server has answered: it is done */
    atomic_store(&proxy->mode, atomic_load(&proxy->mode_after));
    return false;
}

static void serve(struct proxy *proxy, int client, int server)
{
    char bytes[65536];
    while (!atomic_load(&proxy->stopping) && atomic_load(&proxy->mode) != PROXY_REFUSE) {
        struct pollfd ends[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        poll(ends, 2, 10);
        if (ends[0].revents != 0 && !forward(proxy, client, server))
            return;
        if (ends[1].revents != 0 && copy(server, client, bytes, sizeof bytes) == 0)
            return;
    }
}

static void *run_proxy(void *context)
{
    struct proxy *proxy = context;
    while (!atomic_load(&proxy->stopping)) {
        struct pollfd waiting = {.fd = proxy->listener, .events = POLLIN};
        if (poll(&waiting, 1, 10) <= 0)
            continue;
        const int client = accept(proxy->listener, NULL, NULL);
        const int server = atomic_load(&proxy->mode) == PROXY_REFUSE ? -1 : connect_upstream(proxy);
        if (server >= 0) {
            serve(proxy, client, server);
            close(server);
        }
        close(client);
    }
    return NULL;
}

struct proxy *proxy_start(struct rig *rig)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    snprintf(proxy->host, sizeof proxy->host, "%s", rig->settings.host);
    snprintf(proxy->port, sizeof proxy->port, "%s", rig->settings.port);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(proxy->listener, (const struct sockaddr *)&address, len) == 0);
    cr_assert(listen(proxy->listener, 8) == 0);
    cr_assert(getsockname(proxy->listener, (struct sockaddr *)&address, &len) == 0);
    snprintf(proxy->own_port, sizeof proxy->own_port, "%u", ntohs(address.sin_port));
    rig->settings.host = "127.0.0.1";
    rig->settings.port = proxy->own_port;
    cr_assert(pthread_create(&proxy->thread, NULL, run_proxy, proxy) == 0);
    return proxy;
}

void proxy_set(struct proxy *proxy, enum proxy_mode mode)
{
    atomic_store(&proxy->mode, mode);
}

void proxy_set_after(struct proxy *proxy, enum proxy_mode mode)
{
    atomic_store(&proxy->mode_after, mode);
}

enum proxy_mode proxy_mode(const struct proxy *proxy)
{
    return (enum proxy_mode)atomic_load(&proxy->mode);
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->stopping, true);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    free(proxy);
}
