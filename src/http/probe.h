/*
 * probe: asks a running service on this machine whether it is ready, for health checks of images without a client.
 *
 * One blocking request on a connection of its own; nothing is kept. It says nothing to the log: the caller does.
 */
#ifndef PM_PROBE_H
#define PM_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"

struct probe_target {
    const char *host; /* what the service listens on; to every interface Linux connects by the loopback one */
    uint16_t port;
    bool is_tls; /* the certificate is not looked at: it bears the service's outside name, and nothing secret is sent */
};

/*
 * GET /health/ready; *code is the answer's status code, 0 without an answer.
 * Fails: STATUS_INVALID (host is no address), STATUS_UNAVAILABLE (no answer, or none of HTTP). Blocks: timeout_ms for
 * each of connecting, sending and receiving at most.
 */
enum status probe_ready(const struct probe_target *target, int timeout_ms, int *code) PM_MUST_USE;

#endif
