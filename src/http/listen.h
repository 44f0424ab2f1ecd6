/*
 * listen: listening sockets and the TLS context, made before any thread runs.
 */
#ifndef PM_LISTEN_H
#define PM_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "status.h"

/*
 * Opens `count` sockets that share one address, each with its own queue (SO_REUSEPORT). *port 0: any free one, told in
 * *port. Fails: STATUS_UNAVAILABLE (address taken, also by another process that shares it, or unknown): logged, nothing
 * is open then.
 */
enum status listen_open(const char *host, uint16_t *port, int *fds, size_t count) PM_MUST_USE;

/* TLS 1.2 or newer, HTTP/2 and HTTP/1.1 by ALPN. Fails: STATUS_UNAVAILABLE (no such certificate, wrong key): logged. */
enum status listen_tls(const char *cert, const char *key, SSL_CTX **out) PM_MUST_USE;

#endif
