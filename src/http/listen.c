#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <h2o.h>
#include <openssl/err.h>

#include "log.h"

enum { LISTEN_BACKLOG = 4096 };

static int open_one(const struct sockaddr *address, socklen_t len, bool is_shared)
{
    int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if ((is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) || bind(fd, address, len) != 0 ||
        listen(fd, LISTEN_BACKLOG) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static enum status resolve(const char *host, struct sockaddr_storage *out, socklen_t *len)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0) {
        LOG_EVENT(LOG_LEVEL_ERROR, "http_listen_failed", NULL, log_text("host", host),
                  log_text("reason", gai_strerror(error)));
        return STATUS_UNAVAILABLE;
    }
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return STATUS_OK;
}

/*
 * Sockets with SO_REUSEPORT would join those of another process of ours in silence and take half of its clients. So the
 * address is first taken without it, which fails where anyone else listens.
 */
static enum status take_port(struct sockaddr_storage *address, socklen_t len, uint16_t *port)
{
    set_port(address, *port);
    int probe = open_one((struct sockaddr *)address, len, false);
    if (probe < 0)
        return STATUS_UNAVAILABLE;
    *port = port_of(probe);
    set_port(address, *port);
    close(probe);
    return STATUS_OK;
}

enum status listen_open(const char *host, uint16_t *port, int *fds, size_t count)
{
    struct sockaddr_storage address = {0};
    socklen_t len = 0;
    size_t opened = 0;
    if (resolve(host, &address, &len) != STATUS_OK)
        return STATUS_UNAVAILABLE;
    if (take_port(&address, len, port) == STATUS_OK)
        while (opened < count && (fds[opened] = open_one((struct sockaddr *)&address, len, true)) >= 0)
            opened++;
    if (opened == count)
        return STATUS_OK;
    LOG_EVENT(LOG_LEVEL_ERROR, "http_listen_failed", NULL, log_text("host", host), log_int("port", *port),
              log_text("reason", strerror(errno)));
    while (opened > 0)
        close(fds[--opened]);
    return STATUS_UNAVAILABLE;
}

/* A key behind a passphrase is refused; OpenSSL would ask the terminal. */
static int no_passphrase(char *out, int size, int for_writing, void *context)
{
    (void)out, (void)size, (void)for_writing, (void)context;
    return -1;
}

enum status listen_tls(const char *cert, const char *key, SSL_CTX **out)
{
    *out = NULL;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return STATUS_UNAVAILABLE;
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        LOG_EVENT(LOG_LEVEL_ERROR, "http_tls_failed", NULL, log_text("cert", cert), log_text("key_file", key),
                  log_text("reason", reason));
        ERR_clear_error();
        SSL_CTX_free(context);
        return STATUS_UNAVAILABLE;
    }
    h2o_ssl_register_alpn_protocols(context, h2o_http2_alpn_protocols);
    *out = context;
    return STATUS_OK;
}
