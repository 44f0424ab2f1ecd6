/*
 * Announcing snapshots from their table, oldest first, as many at a time as there are slots: memory is bounded however
 * many rows wait. A row is deleted when the broker has confirmed its announcement; until then it is announced again
 * after every new start.
 */
#include "history_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fail_point.h"

void history_outbox_create(struct history *history)
{
    history->slots = calloc(HISTORY_ANNOUNCEMENTS_MAX, sizeof *history->slots);
    pm_assert(history->slots != NULL);
    for (size_t i = 0; i < HISTORY_ANNOUNCEMENTS_MAX; i++)
        history->slots[i].announcement.head.type = MESSAGE_SNAPSHOT;
}

static void free_slot(struct outbox_slot *slot)
{
    free(slot->announcement.body);
    slot->announcement.body = NULL;
    slot->state = SLOT_FREE;
}

void history_outbox_free(struct history *history)
{
    for (size_t i = 0; i < HISTORY_ANNOUNCEMENTS_MAX; i++)
        free_slot(&history->slots[i]);
    free(history->slots);
}

void history_outbox_filled(struct history *history)
{
    history->outbox_may_hold_more = true;
}

void history_outbox_home(struct history *history, struct snapshot_announcement *announcement)
{
    static const struct uuid none = {0};
    struct outbox_slot *slot = (struct outbox_slot *)(void *)announcement;
    pm_assert(slot->state == SLOT_SENT);
    history->sent_count--;
    if (uuid_is_equal(&announcement->snapshot_id, &none)) {
        /* Unconfirmed: the publisher has stopped. The row stays for the next start. */
        history->publisher_is_gone = true;
        free_slot(slot);
        return;
    }
    FAIL_POINT(FAIL_POINT_SNAPSHOT_CONFIRMED, -1);
    slot->state = SLOT_CONFIRMED;
    history->confirmed_count++;
}

/* The identifiers of the slots in this state, or in any but free (SLOT_FREE). */
static struct pg_param ids_in_state(struct history *history, enum slot_state state)
{
    binary_array_clear(&history->ids, BINARY_UUID);
    for (size_t i = 0; i < HISTORY_ANNOUNCEMENTS_MAX; i++) {
        const struct outbox_slot *slot = &history->slots[i];
        if (slot->state == state || (state == SLOT_FREE && slot->state != SLOT_FREE))
            binary_array_uuid(&history->ids, &slot->snapshot_id);
    }
    return binary_array_param(&history->ids);
}

static enum status delete_confirmed(struct history *history)
{
    const struct pg_param params[] = {ids_in_state(history, SLOT_CONFIRMED)};
    const enum status status =
        history_query(history, LINE_QUICK, "outbox_delete",
                      "DELETE FROM position_manager_outbox WHERE snapshot_id = ANY ($1::uuid[])", 1, params, NULL);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < HISTORY_ANNOUNCEMENTS_MAX; i++) {
        if (history->slots[i].state == SLOT_CONFIRMED)
            free_slot(&history->slots[i]);
    }
    history->confirmed_count = 0;
    return STATUS_OK;
}

static struct outbox_slot *find_free_slot(struct history *history)
{
    for (size_t i = 0; i < HISTORY_ANNOUNCEMENTS_MAX; i++) {
        if (history->slots[i].state == SLOT_FREE)
            return &history->slots[i];
    }
    pm_assert(!"as many slots are free as rows were asked for");
    return NULL;
}

static bool send_row(struct history *history, const PGresult *result, int row)
{
    struct outbox_slot *slot = find_free_slot(history);
    struct snapshot_announcement *announcement = &slot->announcement;
    if (uuid_parse(PQgetvalue(result, row, 0), (size_t)PQgetlength(result, row, 0), &slot->snapshot_id) != STATUS_OK)
        return false;
    announcement->snapshot_id = slot->snapshot_id;
    snprintf(announcement->trace_id, sizeof announcement->trace_id, "%s", PQgetvalue(result, row, 1));
    announcement->body_len = (size_t)PQgetlength(result, row, 2);
    announcement->body = malloc(announcement->body_len + 1);
    pm_assert(announcement->body != NULL);
    memcpy(announcement->body, PQgetvalue(result, row, 2), announcement->body_len + 1);
    slot->state = SLOT_SENT;
    history->sent_count++;
    struct message *message = &announcement->head;
    mailbox_send_reserved(history->settings.publisher.mailbox, history->settings.publisher.lane, &message);
    return true;
}

/* Those on their way are left out by name: a later row may be committed before an earlier one. */
static void send_more(struct history *history)
{
    char room[16];
    const size_t free_count = HISTORY_ANNOUNCEMENTS_MAX - history->sent_count - history->confirmed_count;
    snprintf(room, sizeof room, "%zu", free_count);
    const struct pg_param params[] = {ids_in_state(history, SLOT_FREE), pg_text(room)};
    PGresult *result;
    const enum status status =
        history_query(history, LINE_QUICK, "outbox_read",
                      "SELECT snapshot_id::text, trace_id, message FROM position_manager_outbox "
                      "WHERE snapshot_id <> ALL ($1::uuid[]) ORDER BY created_at, snapshot_id LIMIT $2::bigint",
                      2, params, &result);
    if (status != STATUS_OK) {
        history->outbox_may_hold_more = false; /* until the next connection or snapshot */
        return;
    }
    const int count = PQntuples(result);
    for (int row = 0; row < count; row++)
        (void)send_row(history, result, row);
    history->outbox_may_hold_more = (size_t)count == free_count;
    PQclear(result);
}

void history_outbox_pump(struct history *history)
{
    /* Few at a time only where no more are to come. */
    const bool is_worth_it =
        history->confirmed_count >= HISTORY_ANNOUNCEMENTS_MAX / 4 ||
        (history->confirmed_count > 0 && (history->sent_count == 0 || !history->outbox_may_hold_more));
    if (is_worth_it && delete_confirmed(history) != STATUS_OK)
        return;
    const bool has_room = history->sent_count + history->confirmed_count <= HISTORY_ANNOUNCEMENTS_MAX / 2;
    if (history->outbox_may_hold_more && has_room && !history->publisher_is_gone)
        send_more(history);
}
