/*
 * consumer: the actor that owns the inbound connection and the window of unacknowledged deliveries (contract §3).
 *
 * Reads deliveries, decodes each into a struct delivery of its pool, and sends it to the shard of its asset; what
 * cannot be decoded goes to the publisher as a dead letter; what is of no concern (dry runs) is settled at once.
 * SETTLED deliveries come home and are acknowledged in order, many at once (basic.ack multiple up to the highest
 * contiguous tag; a connection's deliveries are acknowledged on that connection only). Beyond the prefetch the broker
 * holds them. Heartbeats are answered also while nothing arrives. On a lost connection: back-off with jitter, 0.1 s to
 * 1 s. A queue that is missing is declared; one that exists is taken as it is; a cancelled consumer (queue deleted) is
 * a lost connection.
 */
#ifndef PM_CONSUMER_H
#define PM_CONSUMER_H

#include <stddef.h>

#include "board.h"
#include "broker.h"
#include "decode.h"
#include "mailbox.h"
#include "message.h"

struct consumer;

struct consumer_settings {
    struct broker_settings broker;
    const char *market_queue;
    const char *const *order_queues;
    size_t order_queue_count;
    uint16_t prefetch; /* unacknowledged deliveries over all queues, one a queue at least */
    const struct asset_pattern *assets;
};

/*
 * How many unacknowledged deliveries one queue may have: an even share of the prefetch, since quorum queues know no
 * limit over several; one at least. Pure; thread: any.
 */
uint16_t consumer_queue_prefetch(uint16_t prefetch, size_t order_queue_count);

/* The shard of an asset. Pure; thread: consumer's. */
typedef size_t consumer_shard_fn(void *context, const char *asset);

/*
 * mailbox: its own: lanes 0..shards-1 from the shards, lane `shards` from the publisher, each with room for the whole
 * prefetch. shards: where deliveries of shard i go, dead_letters: where what is refused goes; lanes with room for the
 * whole prefetch too, copied. Owns: the caller; destroy after stop, when all deliveries are home or their holders are
 * gone too.
 */
struct consumer *consumer_create(const struct consumer_settings *settings, struct board *board, struct mailbox *mailbox,
                                 const struct outlet *shards, size_t shard_count, consumer_shard_fn *shard_of,
                                 void *shard_of_context, struct outlet dead_letters);
void consumer_destroy(struct consumer *consumer);
/* Starts its thread. Fails: STATUS_UNAVAILABLE if no thread can be had. */
enum status consumer_start(struct consumer *consumer) PM_MUST_USE;

/* Stop, first step: no new deliveries are taken (basic.cancel); settled ones are still acknowledged. Thread: any. */
void consumer_quiesce(struct consumer *consumer);
/*
 * Deliveries not yet settled; never too few: once quiesce was asked for, 0 means that nothing travels and nothing will.
 * Thread: any.
 */
size_t consumer_outstanding(const struct consumer *consumer);
/* Of these, those of the queue that has most. Thread: any. */
size_t consumer_fullest_queue(const struct consumer *consumer);
/* Last step: acknowledges what is settled, closes, ends the thread. Blocks: until it ended, at most about deadline_ms.
 */
void consumer_stop(struct consumer *consumer, int deadline_ms);

#endif
