#include "backoff.h"

#include <string.h>

#include "check.h"
#include "xhash.h"

void backoff_init(struct backoff *backoff, uint64_t seed)
{
    *backoff = (struct backoff){.delay_ms = BACKOFF_FIRST_MS, .random = seed | 1};
}

void backoff_fail(struct backoff *backoff, int64_t stood_us, int64_t since_us)
{
    pm_assert(backoff->delay_ms > 0);
    if (stood_us >= (int64_t)BACKOFF_STEADY_MS * 1000)
        backoff_reset(backoff);
    /* xorshift: the jitter only has to differ between processes. */
    backoff->random ^= backoff->random << 13;
    backoff->random ^= backoff->random >> 7;
    backoff->random ^= backoff->random << 17;
    const int64_t half_us = backoff->delay_ms * 1000 / 2;
    backoff->retry_at_us = since_us + half_us + (int64_t)(backoff->random % (uint64_t)(half_us + 1));
    backoff->delay_ms = backoff->delay_ms * 2 < BACKOFF_MAX_MS ? backoff->delay_ms * 2 : BACKOFF_MAX_MS;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->delay_ms = BACKOFF_FIRST_MS;
}

int64_t backoff_left_us(const struct backoff *backoff, int64_t now_us)
{
    return backoff->retry_at_us > now_us ? backoff->retry_at_us - now_us : 0;
}

bool reminder_must_tell(struct reminder *reminder, const char *reason, int64_t now_us)
{
    const uint64_t hash = xhash64(reason, strlen(reason));
    const int64_t since_us = now_us - reminder->told_at_us;
    const bool is_known = hash == reminder->told_hashes[0] || hash == reminder->told_hashes[1];
    const int64_t rest_ms = is_known ? BACKOFF_REMIND_MS : BACKOFF_TELL_OTHER_MS;
    const bool is_first = reminder->count == 0;
    reminder->count++;
    if (!is_first && since_us < rest_ms * 1000)
        return false;
    reminder->told_at_us = now_us;
    if (!is_known) {
        reminder->told_hashes[1] = reminder->told_hashes[0];
        reminder->told_hashes[0] = hash;
    }
    return true;
}

void reminder_reset(struct reminder *reminder)
{
    *reminder = (struct reminder){0};
}
