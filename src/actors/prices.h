/*
 * prices: the actor that asks the price service for mark prices that are missing or stale (contract §5.3), and carries
 * the subscription at the gateway (§5.4).
 *
 * About every second it looks at the directory for assets of which a position has no price, or one older than the
 * threshold by the price's own arrival, and asks for each: one request at a time an asset, several tries with a
 * doubling wait between. A price goes as a wish (DELIVERY_PRICE) to the shard of the asset, one for each mode that
 * exists, and the asset is not asked for again until these are home, committed. When all tries fail the last price
 * stays and the asset is left alone for a quarter of the threshold (1 s to 5 min; longer, up to an hour, each time in a
 * row that the service knew no price for it). Assets are taken in turn, so a flood of stale ones starves nobody.
 *
 * Bounded: PRICES_ASKS_MAX assets at a time, 8 requests under way, 50 started a second (1 a second while they fail).
 * Nobody waits for it, and it waits for nobody: when the deliveries are all out, because nothing is committed, it asks
 * no more.
 */
#ifndef PM_PRICES_H
#define PM_PRICES_H

#include "directory.h"
#include "message.h"

struct prices;

enum {
    PRICES_ASKS_MAX = 64,
    PRICES_DELIVERIES_MAX = 2 * PRICES_ASKS_MAX, /* one for each mode of each asset */
};

struct prices_settings {
    const char *url;            /* without its query; NULL or empty: no prices, the subscription only */
    uint32_t timeout_ms;        /* of a try */
    uint32_t tries;             /* in all; > 0 */
    int64_t staleness_us;       /* PRICE_STALENESS_THRESHOLD */
    const char *ws_gateway_url; /* either NULL or empty: no subscription */
    const char *ws_gateway_api_key;
    int64_t second_us; /* how long a second of its own waits lasts; 0: a second (tests shorten it) */
    struct directory *directory;
    const struct outlet *shards; /* of every part of the directory; lanes with room for PRICES_DELIVERIES_MAX */
    size_t shard_count;
};

/*
 * mailbox: its own, lanes 0..shards-1 from the shards, each with room for PRICES_DELIVERIES_MAX. Strings of the
 * settings are borrowed, the rest is copied. Owns: the caller; destroy after stop, when the shards have ended too: they
 * may hold deliveries of its. Fails: never (aborts without memory).
 */
struct prices *prices_create(const struct prices_settings *settings, struct mailbox *mailbox);
void prices_destroy(struct prices *prices);
/* Starts its thread. Fails: STATUS_UNAVAILABLE if no thread can be had. */
enum status prices_start(struct prices *prices) PM_MUST_USE;
/*
 * Gives up what it is asking for and ends the thread; nothing is sent to the shards afterwards. What they hold comes
 * home all the same, and waits for destroy. Blocks: a moment. Without a start: nothing.
 */
void prices_stop(struct prices *prices);

#endif
