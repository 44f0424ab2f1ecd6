/*
 * tcp: what only the kernel knows of a connection.
 *
 * When a network swallows packets the kernel repeats what it sent, at intervals that double: after a minute without a
 * network it may be another one after its return until it tries again. Whoever waits for an answer is better off with a
 * new connection. A time limit of the kernel's own (TCP_USER_TIMEOUT) would also end the connection to a neighbour that
 * stands still, or that takes nothing for now, though its kernel answers all the while. Thread: any.
 */
#ifndef PM_TCP_H
#define PM_TCP_H

#include <stdbool.h>

enum { TCP_UNHEARD_MS = 3000 }; /* without an answer; before that it is not worth asking */

/* Whether what was sent has been repeated several times in a row and nothing of it acknowledged. False for what is no
 * TCP connection. */
bool tcp_is_unheard(int fd);

#endif
