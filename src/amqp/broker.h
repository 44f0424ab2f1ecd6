/*
 * broker: what consumer and publisher share: settings and the opening of one connection with one channel.
 *
 * rabbitmq-c has no locking: a connection belongs to one thread. broker_open() logs in with the capabilities that make
 * the broker tell of cancelled consumers and of blocking. One funnel, broker_fail() inside each user, closes a
 * connection, with a reason.
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
