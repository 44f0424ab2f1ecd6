/*
 * history: the actor for whatever asks the database and is no commit: snapshots and their lists, validation against the
 * orders table, retention (contract §5, §2.3).
 *
 * In: HISTORY (HTTP loops), VALIDATION_WANTED and its own wishes coming home (shards), SNAPSHOT coming home
 * (publisher). Out: DELIVERY_SNAPSHOT_MARK and DELIVERY_CORRECTION (shards), SNAPSHOT (publisher), answers (HTTP
 * loops). It has a thread and database connections of its own, so whatever it does holds up neither shards nor
 * committer. What takes long is cut into batches, and requests are served while the database works on one. While the
 * database is away every request that needs it is answered STATUS_UNAVAILABLE at once. Snapshots are announced from a
 * table, so a crash between commit and announcement loses none.
 */
#ifndef PM_HISTORY_H
#define PM_HISTORY_H

#include "board.h"
#include "directory.h"
#include "message.h"
#include "shard.h"
#include "storage.h"

struct history;

enum {
    HISTORY_WISHES_MAX = 256,        /* of its wishes about at once: room for each shard's lane, and home */
    HISTORY_ANNOUNCEMENTS_MAX = 128, /* of its SNAPSHOTs: room for the publisher's lane, and home */
};

struct history_settings {
    const struct storage_settings *storage;
    struct directory *directory;
    struct board *board; /* read only */
    /*
     * Its own mailbox: lanes of HTTP loops anywhere; lane shard_lane + i is shard i's, with room for HISTORY_WISHES_MAX
     * and the shard's VALIDATION_WANTEDs; one of the publisher's with room for HISTORY_ANNOUNCEMENTS_MAX.
     */
    struct mailbox *mailbox;
    size_t shard_lane;
    /* Where wishes go, and VALIDATION_WANTED goes home: room for HISTORY_WISHES_MAX and those. Copied. */
    const struct outlet *shards;
    size_t shard_count;
    struct outlet publisher;
    int64_t snapshot_interval_us;   /* 0: off */
    int64_t validation_interval_us; /* 0: off */
    uint32_t snapshot_retention_days;
    uint32_t journal_retention_days;
    bool validation_fix; /* validations that nobody asked for by HTTP fix what they find */
    struct decimal size_threshold, average_threshold;
    int64_t staleness_us;
    uuid_source_fn *new_uuid;
    void *new_uuid_context;
};

/*
 * Starts nothing. Owns: the caller; history_destroy() after history_stop(), when shards and publisher have ended too:
 * what it lent them is freed then. Requests that came after the stop are answered STATUS_UNAVAILABLE by it.
 */
struct history *history_create(const struct history_settings *settings);
void history_destroy(struct history *history);

/* Starts its thread, after storage_prepare(). Fails: STATUS_UNAVAILABLE if no thread can be had. */
enum status history_start(struct history *history) PM_MUST_USE;

/*
 * Ends the thread at once: what is under way is given up, every request there is answered. Stop it after the HTTP
 * server, whose requests it answers. Blocks: until it ended, a fraction of a second.
 */
void history_stop(struct history *history);

#endif
