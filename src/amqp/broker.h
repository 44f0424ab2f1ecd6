/*
 * broker: how to reach the broker: the settings that consumer and publisher share. What each makes of them, a
 * connection of its own, is inside amqp/ (broker_link.h).
 */
#ifndef PM_BROKER_H
#define PM_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"

enum queue_type { QUEUE_CLASSIC, QUEUE_QUORUM };

/* Borrowed strings live as long as the process. */
struct broker_settings {
    const char *host;
    const char *vhost;
    const char *user;
    const char *password;               /* never logged */
    const char *connection_name_prefix; /* SERVICE_NAME */
    int port;
    int heartbeat_s;
    enum queue_type queue_type; /* for queues that do not exist */
};

#endif
