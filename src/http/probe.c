#include "probe.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

static const char request[] = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static const char version[] = "HTTP/1.1 ";

enum { STATUS_LINE_LEN_MIN = sizeof version - 1 + 3 };

/* A connection in cleartext or with TLS around it. */
struct link {
    int fd;
    SSL_CTX *context; /* NULL: cleartext */
    SSL *tls;
};

static bool resolve(const struct probe_target *target, struct sockaddr_storage *address, socklen_t *len)
{
    char port[6];
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    (void)snprintf(port, sizeof port, "%u", (unsigned)target->port);
    if (getaddrinfo(target->host, port, &hints, &found) != 0)
        return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool link_start_tls(struct link *link)
{
    link->context = SSL_CTX_new(TLS_client_method());
    link->tls = link->context == NULL ? NULL : SSL_new(link->context);
    return link->tls != NULL && SSL_set_fd(link->tls, link->fd) == 1 && SSL_connect(link->tls) == 1;
}

static bool link_open(struct link *link, const struct sockaddr_storage *address, socklen_t len, int timeout_ms)
{
    const struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
    link->fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return link->fd >= 0 && setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
           setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
           connect(link->fd, (const struct sockaddr *)address, len) == 0;
}

static void link_close(struct link *link)
{
    SSL_free(link->tls);
    SSL_CTX_free(link->context);
    if (link->fd >= 0)
        close(link->fd);
}

static bool link_send(struct link *link, const char *bytes, size_t len)
{
    if (link->tls != NULL)
        return SSL_write(link->tls, bytes, (int)len) == (int)len;
    return send(link->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static ssize_t link_receive(struct link *link, char *bytes, size_t capacity)
{
    return link->tls != NULL ? SSL_read(link->tls, bytes, (int)capacity) : recv(link->fd, bytes, capacity, 0);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The status code stands at a fixed place of the first line; what follows is of no interest. */
static bool receive_code(struct link *link, int *code)
{
    char line[STATUS_LINE_LEN_MIN];
    size_t len = 0;
    while (len < sizeof line) {
        ssize_t got = link_receive(link, line + len, sizeof line - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
    }
    const char *digits = line + sizeof version - 1;
    if (memcmp(line, version, sizeof version - 1) != 0 || !is_digit(digits[0]) || !is_digit(digits[1]) ||
        !is_digit(digits[2]))
        return false;
    *code = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
    return true;
}

enum status probe_ready(const struct probe_target *target, int timeout_ms, int *code)
{
    struct sockaddr_storage address = {0};
    socklen_t len = 0;
    struct link link = {.fd = -1};
    *code = 0;
    if (!resolve(target, &address, &len))
        return STATUS_INVALID;
    bool is_answered = link_open(&link, &address, len, timeout_ms) && (!target->is_tls || link_start_tls(&link)) &&
                       link_send(&link, request, sizeof request - 1) && receive_code(&link, code);
    link_close(&link);
    return is_answered ? STATUS_OK : STATUS_UNAVAILABLE;
}
