/*
 * message: every message that actors send each other. Each says who sends it, who frees it, and what it means.
 *
 *   consumer  --DELIVERY-->  shard  --COMMIT / LOOKUP-->  committer  --(the same back)-->  shard
 *   shard     --ANNOUNCEMENT (with the deliveries it settles)-->  publisher  --(the same back)-->  shard
 *   publisher --SETTLED (deliveries)-->  consumer;   shard --SETTLED--> consumer where nothing is announced
 *   consumer, shard --DEAD_LETTER (a delivery)-->  publisher  --SETTLED-->  consumer
 *   shard     --TOTALS (a token)-->  aggregator  --(the same back)-->  shard
 *   aggregator --PORTFOLIO--> publisher --(the same back)--> aggregator
 *   history, prices --DELIVERY (a wish)-->  shard  --(the same back)-->  history, prices
 *   shard     --VALIDATION_WANTED-->  history  --(the same back)-->  shard
 *   HTTP loop --HISTORY-->  history  --(the same back)-->  HTTP loop
 *   history   --SNAPSHOT-->  publisher  --(the same back)-->  history
 *
 * No message is allocated on the way of an event: a delivery is born in the consumer's pool and comes home to it (only
 * its body has a block of its own); replies travel in the message that asked. Invariants 3 and 5 of ARCHITECTURE.md
 * rest on that: a delivery is acknowledged by coming home, and there are never more deliveries about than the prefetch
 * allows.
 */
#ifndef PM_MESSAGE_H
#define PM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "correction.h"
#include "execution.h"
#include "mailbox.h"
#include "market.h"
#include "portfolio.h"
#include "position.h"
#include "xhash.h"

enum message_type {
    MESSAGE_DELIVERY = 1,      /* struct delivery; consumer -> shard; history or prices -> shard and back */
    MESSAGE_DEAD_LETTER,       /* struct delivery with .refusal; consumer or shard -> publisher */
    MESSAGE_SETTLED,           /* struct delivery, first of a chain by head.next; publisher or shard -> consumer */
    MESSAGE_COMMIT,            /* struct commit_request; shard -> committer and back */
    MESSAGE_LOOKUP,            /* struct lookup_request; shard -> committer and back */
    MESSAGE_ANNOUNCEMENT,      /* struct announcement; shard -> publisher and back */
    MESSAGE_TOTALS,            /* struct totals_token; shard -> aggregator and back */
    MESSAGE_PORTFOLIO,         /* struct portfolio_announcement; aggregator -> publisher and back */
    MESSAGE_HISTORY,           /* struct history_request; HTTP loop -> history and back */
    MESSAGE_VALIDATION_WANTED, /* struct validation_wanted; shard -> history and back */
    MESSAGE_SNAPSHOT,          /* struct snapshot_announcement; history -> publisher and back */
};

enum {
    TRACE_ID_LEN_MAX = 64,  /* longer ones are cut */
    ORDER_KEY_LEN_MAX = 80, /* longer order ids are replaced by "sha256:" and hex */
    IDENTITY_LEN_MAX = 88,  /* prefix "x:" execution_id, "e:" event_id, "m:" message_id, "d:" digest, then the id or
                               "sha256:" and hex */
};

/* Where messages of one kind go: room is reserved by the wiring. */
struct outlet {
    struct mailbox *mailbox;
    size_t lane;
};

/* What moved a position, for announcements ("order_execution"|"websocket"|"validation"|"price_api") and the journal. */
enum update_source { SOURCE_ORDER_EXECUTION, SOURCE_WEBSOCKET, SOURCE_VALIDATION, SOURCE_PRICE_API, SOURCE_EXTERNAL };

/* One line of the journal: what came of an event, filled by the shard, written by the committer (contract §6). */
struct journal_note {
    bool wanted;             /* else nothing is journalled for this event */
    uint8_t source;          /* enum update_source */
    struct decimal quantity; /* signed, of the fill (or of the size taken over); none where it does not apply */
    struct decimal price;    /* none where it does not apply */
    struct decimal fees;     /* what this event added to fees_paid */
    int64_t at_us;           /* executed_at, or the market event's time, or the time it was found */
    /* the position after it */
    struct decimal size, average_entry_price, realized_pnl, fees_paid;
    struct decimal long_size, short_size, long_avg_price, short_avg_price;
    int32_t version;
};

/*
 * The last three are no messages of the broker's but the service's own wishes, which go the same way through a shard:
 * from history or prices as MESSAGE_DELIVERY, and back to .home with .refusal (STATUS_OK: committed, or nothing to
 * change; STATUS_NOT_FOUND: no such position) once their effect is durable, without waiting for the announcement.
 * Nobody would send them again, so the row remembers that an announcement is due (position.announcement_due).
 */
enum delivery_kind {
    DELIVERY_EXECUTION,
    DELIVERY_MARKET,
    DELIVERY_CORRECTION,    /* a validation's fix */
    DELIVERY_PRICE,         /* a mark price from the price service; of both modes' positions one each */
    DELIVERY_SNAPSHOT_MARK, /* last_snapshot_at of a position; raises no version */
};

/*
 * One message from the broker, from its arrival to its acknowledgement: body, ticket, decoded value, outcome.
 * Born in the consumer's pool; whoever holds it passes it on; it is freed only by the consumer, to which it returns as
 * SETTLED.
 */
struct delivery {
    struct message head;

    /* the ticket: consumer only */
    uint64_t tag;
    uint32_t generation; /* of the connection it came by; older ones are not acknowledged, they come again */
    uint16_t queue_index;
    bool redelivered;
    int64_t received_wall_us;
    int64_t received_steady_us;

    /* what it says: written by the consumer (codec), then read-only */
    uint8_t kind; /* enum delivery_kind */
    char asset[ASSET_LEN_MAX + 1];
    char trace_id[TRACE_ID_LEN_MAX + 1];   /* never empty: made on arrival where none came */
    char identity[IDENTITY_LEN_MAX + 1];   /* executions; empty: none, counted each time */
    char order_key[ORDER_KEY_LEN_MAX + 1]; /* executions; empty: no order named */
    uint64_t fingerprint; /* executions: of asset, mode, side, order, quantity, price as said; tells a repeat from
                             a conflict */
    union {
        struct execution execution;
        struct market_event market;
        struct correction correction;
        struct {
            struct decimal price;
            uint8_t mode;
        } price;
        struct {
            int64_t at_us;
            uint8_t mode;
        } snapshot_mark;
    } said;
    struct outlet home; /* the service's own: where it goes when it is done */

    /* what came of it: the shard's */
    struct delivery *joined;        /* others of the same identity that wait for this one's outcome, by head.next */
    struct delivery *identity_link; /* identities.h: next in its bucket */
    struct hash128 identity_hash;
    struct order_slot *order; /* orders.h: its order's slot, counted; NULL where no order is named */
    bool applied;             /* its effect is in the working state; fill is in the order's pending sum */
    struct fill fill;         /* executions that were applied: what was new */
    struct journal_note journal;
    bool told;           /* a discrepancy of it was logged and counted; not again when it is redone */
    bool looked_up;      /* the database was asked about identity and order: the three below say what it answered */
    bool identity_known; /* lookup or commit: the identity is committed ... */
    uint64_t known_fingerprint;      /* ... with this fingerprint */
    struct order_total order_before; /* lookup: what the order had contributed, committed */

    /* refusal: set by whoever sends it as MESSAGE_DEAD_LETTER */
    enum status refusal;
    const char *refusal_field; /* literal, may be NULL */

    /* the original, unchanged, until it is settled */
    const char *queue_name; /* literal or settings': lives as long as the process */
    size_t body_len;
    char *body;         /* heap (consumer frees) */
    char *content_type; /* heap or NULL: for the dead letter (consumer frees) */
};

/*
 * COMMIT: what one shard wants committed in one transaction; one a shard, outstanding or at home. Built by the shard,
 * lent to the committer, which writes .outcome and what the shard needs to redo.
 */
enum {
    COMMIT_ITEMS_MAX = 512,
};

enum commit_outcome {
    COMMIT_DONE,     /* durable */
    COMMIT_REDO,     /* nothing of this item was written: repeats are marked (identity_known); where looked_up is set,
                        order_before is fresh. Of a .reload: the row is at expected_version */
    COMMIT_REFUSED,  /* nothing written, and nothing learned: the server does not take these values, or the row holds
                        what cannot be; counts as a try */
    COMMIT_CONFLICT, /* the row was not at expected_version; .found holds it, repeats are marked and order totals are
                        fresh. This try wrote nothing. If .found says what .row says, an earlier try of the same item
                        had been committed and nobody could tell */
};

struct commit_item {
    struct position row;      /* the state to write */
    int32_t expected_version; /* of the row in the table */
    bool insert;              /* the row should not be there yet */
    bool reload;              /* nothing is to be written: only what the row holds by now is asked for */
    struct delivery
        *deliveries; /* chain by head.next, in order; with journal notes and, where an order is named, fills */
    struct journal_note external; /* .wanted: a change found to be someone else's, journalled before the deliveries */
    void *entry;                  /* the shard's own */
    /* answer */
    enum commit_outcome outcome;
    bool found_exists; /* CONFLICT: false if the row is gone */
    struct position found;
};

struct commit_request {
    struct message head;
    uint32_t shard;    /* the shard's index: lane of the answer is fixed by the wiring */
    int64_t moment_us; /* a busy shard's: the moment it belongs to, the same for all busy shards; 0: sent at once */
    size_t count;
    size_t delivery_count; /* of all items */
    struct commit_item items[COMMIT_ITEMS_MAX];
};

/*
 * LOOKUP: asks for committed identities and order totals before executions are applied (cumulative ones need their
 * order's total). The committer fills identity_known, known_fingerprint and order_before of every delivery, and sets
 * looked_up. One a shard, outstanding or at home. deliveries: a chain by head.next, lent.
 */
struct lookup_request {
    struct message head;
    uint32_t shard;
    struct delivery *deliveries;
};

/*
 * ANNOUNCEMENT: a committed change to be published as position_updated, and the deliveries that it settles once the
 * broker has confirmed it. From a shard's pool, whose size bounds unconfirmed announcements; the publisher sends the
 * deliveries to the consumer and the announcement home, in any order, after the confirmation. It survives a lost
 * connection: it is published again.
 */
struct announcement {
    struct message head;
    uint32_t shard;
    uint8_t source; /* enum update_source, SOURCE_EXTERNAL excluded */
    char trace_id[TRACE_ID_LEN_MAX + 1];
    struct uuid message_id;
    int64_t at_us;            /* wall time of the commit's answer */
    struct position position; /* as committed */
    struct decimal size_norm; /* position_size_norm as of the commit; may be none */
    struct delivery *settles; /* chain by head.next; may be empty (taken out by the publisher when confirmed) */
    bool confirmed;           /* the publisher's answer; false if it stopped before */
    void *work;               /* the shard's own */
    size_t settles_count;     /* the shard's own */
};

/* TOTALS: "the totals of my part changed". One a shard: while the aggregator holds it, further changes conflate. */
struct totals_token {
    struct message head;
    uint32_t shard;
    char trace_id[TRACE_ID_LEN_MAX + 1]; /* of the last change */
};

/* PORTFOLIO: portfolio_updated to publish. One, the aggregator's; home again after the confirmation. */
struct portfolio_announcement {
    struct message head;
    struct portfolio_totals totals;
    bool limit_exceeded;
    int64_t at_us;
    struct uuid message_id;
    char trace_id[TRACE_ID_LEN_MAX + 1];
};

enum history_kind { HISTORY_VALIDATE, HISTORY_SNAPSHOT_TAKE, HISTORY_SNAPSHOT_LIST, HISTORY_SNAPSHOT_AT };
enum { HISTORY_LIMIT_MAX = 1000 };

/*
 * HISTORY: what an HTTP loop asks of the history (contract §2.3, §5.1, §5.2). Made by the loop, which is answered
 * exactly once at .home, also when the history stops (STATUS_UNAVAILABLE), and then frees it with .body.
 */
struct history_request {
    struct message head;
    uint8_t kind; /* enum history_kind */
    uint8_t mode; /* enum position_mode */
    char asset[ASSET_LEN_MAX + 1];
    char trace_id[TRACE_ID_LEN_MAX + 1];
    bool fix;               /* VALIDATE: fix_discrepancies */
    uint32_t limit, offset; /* SNAPSHOT_LIST */
    int64_t from_us, to_us; /* SNAPSHOT_LIST: inclusive bounds, TIME_NONE: none */
    int64_t at_us;          /* SNAPSHOT_AT */
    struct outlet home;
    void *loop_private; /* the loop's own */
    /* answer */
    enum status status; /* OK, NOT_FOUND (no such position or snapshot), UNAVAILABLE (no database now) */
    char *body;         /* OK: the JSON answer, malloc'ed */
    size_t body_len;
};

/* VALIDATION_WANTED: a size discrepancy was seen and not taken over (contract §3.1). From a small pool of the shard's.
 */
struct validation_wanted {
    struct message head;
    uint32_t shard;
    uint8_t mode;
    char asset[ASSET_LEN_MAX + 1];
    char trace_id[TRACE_ID_LEN_MAX + 1];
};

/*
 * SNAPSHOT: position_snapshot_created to publish. Owned by history, home again after the confirmation; its row in
 * position_manager_outbox is deleted then, so that what was not confirmed before a crash is published after it.
 */
struct snapshot_announcement {
    struct message head;
    struct uuid snapshot_id; /* also the message_id */
    char trace_id[TRACE_ID_LEN_MAX + 1];
    char *body; /* the whole message, JSON; history frees it */
    size_t body_len;
};

const char *update_source_word(enum update_source source);

#endif
