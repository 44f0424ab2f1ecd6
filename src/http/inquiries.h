/*
 * inquiries: what a loop has asked of the history and has not heard back yet (message.h, MESSAGE_HISTORY).
 *
 * A question is sent to the lane of this loop in the history's mailbox and answered exactly once into the loop's own
 * mailbox, whose descriptor libh2o polls. The request may be gone by then: the answer is thrown away. A request that
 * waits longer than INQUIRY_WAIT_US is answered with UNAVAILABLE, whatever becomes of the question. Never more than
 * INQUIRIES_MAX questions are outstanding, so the answers always have room. Thread: one loop's.
 */
#ifndef PM_INQUIRIES_H
#define PM_INQUIRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <h2o.h>

#include "message.h"
#include "server.h"
#include "status.h"

struct request;

#define INQUIRY_WAIT_US (20 * 1000000LL)

struct inquiries {
    const struct outlet *history; /* NULL: there is none */
    struct mailbox *home;
    int fd; /* a copy of home's descriptor, since libh2o closes what it polls */
    h2o_socket_t *socket;
    size_t outstanding;     /* questions that are not home yet */
    h2o_linklist_t waiting; /* requests that wait for one, oldest first */
    int64_t now_us;         /* steady, as of the last sweep */
};

/* history: lives as long as the loop, or NULL. Fails: STATUS_UNAVAILABLE (no descriptor). Thread: any, before the loop
 * runs. */
enum status inquiries_init(struct inquiries *inquiries, const struct outlet *history) PM_MUST_USE;
/* Throws away answers that came when nobody waited any more. Where one is still to come, the mailbox is left to it and
 * to the process' end. Thread: any, after the loop has ended. */
void inquiries_finish(struct inquiries *inquiries);

/* Begins and ends to poll. */
void inquiries_open(struct inquiries *inquiries, h2o_evloop_t *evloop);
void inquiries_close(struct inquiries *inquiries);
/* The descriptor has gone with libh2o's memory. */
void inquiries_forget(struct inquiries *inquiries);

/* Around each h2o_evloop_run(): so no answer is slept over. finish_wait only where prepare_wait returned true. */
bool inquiries_prepare_wait(struct inquiries *inquiries);
void inquiries_finish_wait(struct inquiries *inquiries);

/* Has requests that waited too long answered in the next turn. now_us: steady. Called about once a second. */
void inquiries_sweep(struct inquiries *inquiries, int64_t now_us);

/*
 * Asks, and answers the request once the history has; or at once with UNAVAILABLE where it cannot be asked.
 * *asked: malloc'ed, all but .home and .loop_private filled in; given away.
 */
void inquiry_send(struct request *request, struct history_request **asked);

#endif
