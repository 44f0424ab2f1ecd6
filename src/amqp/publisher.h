/*
 * publisher: the actor that owns the outbound connection and the publications not yet confirmed (contract §4, §3.4).
 *
 * Takes ANNOUNCEMENT, DEAD_LETTER, PORTFOLIO and SNAPSHOT, publishes them persistently in confirm mode through the
 * default exchange, and when the broker has confirmed sends each home: deliveries to the consumer as SETTLED,
 * announcements to their shard, the portfolio to the aggregator. A nack, a basic.return or a lost connection means
 * publishing it again. connection.blocked stops publishing until unblocked. The window is bounded; what does not fit
 * waits in the lanes. Queues are declared durable when missing, taken as they are when there.
 */
#ifndef PM_PUBLISHER_H
#define PM_PUBLISHER_H

#include <stddef.h>

#include "board.h"
#include "broker.h"
#include "message.h"

#define QUEUE_POSITION_UPDATED  "position-manager.position_updated"
#define QUEUE_PORTFOLIO_UPDATED "position-manager.portfolio_updated"
#define QUEUE_SNAPSHOT_CREATED  "position-manager.position_snapshot_created"
#define QUEUE_DEAD_LETTER       "position-manager.dead_letter"

struct publisher;

struct publisher_settings {
    struct broker_settings broker;
    uint32_t window; /* unconfirmed publications at most */
};

/*
 * mailbox: its own: lane 0 from the consumer (dead letters), lanes 1..shards from the shards (announcements and dead
 * letters), lane shards+1 from the aggregator. consumer: where settled deliveries go. shards[i]: where announcements of
 * shard i go home. aggregator: where PORTFOLIO goes home.
 */
struct publisher *publisher_create(const struct publisher_settings *settings, struct board *board,
                                   struct mailbox *mailbox, struct outlet consumer, const struct outlet *shards,
                                   size_t shard_count, struct outlet aggregator);
/*
 * Where SNAPSHOT goes home; before the start, and only where snapshots are sent (by a lane of their own, after the
 * aggregator's). One that goes home unconfirmed, at the stop, has a snapshot_id of zeros: no row of the outbox has
 * that, so none is deleted.
 */
void publisher_set_history(struct publisher *publisher, struct outlet history);
void publisher_destroy(struct publisher *publisher);
/* Starts its thread. Fails: STATUS_UNAVAILABLE if no thread can be had. */
enum status publisher_start(struct publisher *publisher) PM_MUST_USE;
/* Publishes and waits for confirms for at most deadline_ms, then closes and ends the thread. What is unconfirmed goes
 * home unsettled. */
void publisher_stop(struct publisher *publisher, int deadline_ms);

#endif
