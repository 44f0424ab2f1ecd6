/*
 * One writer a part and several readers that come and go. Every figure of a position is tied to its version, so a torn
 * view shows; realized PnL only grows, so totals that miss a change already seen show; and whenever the change count
 * stood still, the sum over all positions must be the totals exactly.
 */
#include "directory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

enum { PARTS = 3, READERS = 3, ASSETS = 300, POSITIONS = 2 * ASSETS, VERSIONS = 400, PAUSE_EVERY = 500 };

static struct directory *directory;
static atomic_uint writers_left = PARTS;
static atomic_uint_fast64_t quiet_checks;

static void asset_name(int number, char out[ASSET_LEN_MAX + 1])
{
    (void)snprintf(out, ASSET_LEN_MAX + 1, "A%05dUSDT", number);
}

static struct decimal units(int64_t count)
{
    return decimal_from_units(count);
}

static void fill_position(struct position *position, int number, enum position_mode mode, int32_t version)
{
    memset(position, 0, sizeof *position);
    asset_name(number, position->asset);
    position->mode = (uint8_t)mode;
    position->version = version;
    position->size = units(version);
    position->average_entry_price = units(DECIMAL_ONE);
    position->current_price = units(DECIMAL_ONE);
    position->unrealized_pnl = units(2 * (int64_t)version);
    position->realized_pnl = units(3 * (int64_t)version);
    position->fees_paid = units(5 * (int64_t)version);
    position->long_size = mode == POSITION_MODE_HEDGE ? units(version) : DECIMAL_NONE;
    position->short_size = mode == POSITION_MODE_HEDGE ? DECIMAL_ZERO : DECIMAL_NONE;
    position->long_avg_price = mode == POSITION_MODE_HEDGE ? units(DECIMAL_ONE) : DECIMAL_NONE;
    position->short_avg_price = DECIMAL_NONE;
    position->last_updated_us = 7 * (int64_t)version;
    position->market_digests[MARKET_DIGESTS_MAX - 1] = 11 * (uint64_t)version;
}

static void check_position(const struct position *position)
{
    int64_t version = position->version;
    pm_assert(version > 0);
    pm_assert(position->size.units == version && position->realized_pnl.units == 3 * version);
    pm_assert(position->unrealized_pnl.units == 2 * version && position->fees_paid.units == 5 * version);
    pm_assert(position->last_updated_us == 7 * version);
    pm_assert(position->market_digests[MARKET_DIGESTS_MAX - 1] == 11 * (uint64_t)version);
}

static void *write_part(void *argument)
{
    size_t index = (size_t)(intptr_t)argument;
    struct directory_part *part = directory_part(directory, index);
    unsigned published = 0;
    for (int32_t version = 1; version <= VERSIONS; version++) {
        for (int number = 0; number < ASSETS; number++) {
            struct position position;
            /* The higher numbers come later, so that tables grow under the readers' eyes. */
            fill_position(&position, number, version % 2 ? POSITION_MODE_ONE_WAY : POSITION_MODE_HEDGE, version);
            if (number > version * 10 || directory_part_index(directory, position.asset) != index)
                continue;
            struct directory_slot *slot = directory_publish(part, &position);
            pm_assert(directory_part_find(part, position.asset, position.mode) == slot);
            pm_assert(directory_slot_position(slot)->version == version);
            if (++published % PAUSE_EVERY == 0)
                (void)sched_yield();
        }
    }
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

struct seen {
    int64_t realized; /* sum over what was visited */
    int64_t count;
    char last_asset[ASSET_LEN_MAX + 1];
    uint8_t last_mode;
};

static void on_visit(void *context, const struct position *position)
{
    struct seen *seen = context;
    check_position(position);
    int order = strcmp(seen->last_asset, position->asset);
    /* By the mode's word: hedge stands before one-way. */
    pm_assert(order < 0 || (order == 0 && seen->last_mode > position->mode));
    memcpy(seen->last_asset, position->asset, sizeof seen->last_asset);
    seen->last_mode = position->mode;
    seen->realized += (int64_t)position->realized_pnl.units;
    seen->count++;
}

static void read_once(struct directory_reader *reader, int round)
{
    struct seen seen = {.realized = 0};
    struct portfolio_totals totals;
    char asset[ASSET_LEN_MAX + 1];
    asset_name(round % ASSETS, asset);

    directory_begin(reader);
    uint64_t before = directory_change_count(directory);
    directory_visit(reader, on_visit, &seen);
    const struct position *found = directory_find(reader, asset, POSITION_MODE_ONE_WAY);
    if (found != NULL) {
        check_position(found);
        pm_assert(strcmp(found->asset, asset) == 0);
    }
    directory_totals(reader, &totals);
    uint64_t after = directory_change_count(directory);
    pm_assert(totals.realized_pnl >= seen.realized && totals.positions >= seen.count);
    pm_assert(3 * totals.unrealized_pnl == 2 * totals.realized_pnl); /* totals are not torn either */
    pm_assert(before <= after);
    if (before == after) {
        pm_assert(totals.realized_pnl == seen.realized && totals.positions == seen.count);
        atomic_fetch_add(&quiet_checks, 1);
    }
    directory_end(reader);
}

static void *read_all(void *unused)
{
    (void)unused;
    for (int round = 0; atomic_load(&writers_left) > 0 || round == 0;) {
        struct directory_reader *reader = directory_reader_register(directory);
        for (int i = 0; i < 20; i++)
            read_once(reader, round++);
        directory_reader_unregister(reader);
    }
    return NULL;
}

int main(void)
{
    directory = directory_create(PARTS);
    pthread_t writers[PARTS];
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        pm_assert(pthread_create(&readers[i], NULL, read_all, NULL) == 0);
    for (intptr_t i = 0; i < PARTS; i++)
        pm_assert(pthread_create(&writers[i], NULL, write_part, (void *)i) == 0);
    for (int i = 0; i < PARTS; i++)
        pm_assert(pthread_join(writers[i], NULL) == 0);
    for (int i = 0; i < READERS; i++)
        pm_assert(pthread_join(readers[i], NULL) == 0);

    struct directory_reader *reader = directory_reader_register(directory);
    uint64_t quiet_while_written = atomic_load(&quiet_checks);
    read_once(reader, 0);
    pm_assert(atomic_load(&quiet_checks) ==
              quiet_while_written + 1); /* nothing moves: the strict comparison was made */
    pm_assert(directory_position_count(directory) == POSITIONS);
    directory_reader_unregister(reader);
    directory_destroy(directory);
    (void)fprintf(stderr, "%llu readings of a directory that stood still\n", (unsigned long long)quiet_while_written);
    return 0;
}
