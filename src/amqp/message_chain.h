/*
 * message_chain: messages in order, linked through their heads, and counted. Costs no memory of its own.
 *
 * A message is in one chain at a time. Internal to amqp/. Thread: its owner's.
 */
#ifndef PM_MESSAGE_CHAIN_H
#define PM_MESSAGE_CHAIN_H

#include <stddef.h>

#include "mailbox.h"

/* Of zeros: empty. */
struct message_chain {
    struct message *first;
    struct message *last;
    size_t count;
};

void message_chain_append(struct message_chain *chain, struct message *message);
/* The first, unlinked; NULL if there is none. */
struct message *message_chain_take_first(struct message_chain *chain);

#endif
