#include "status.h"

#include "check.h"

static const char *const words[STATUS_COUNT] = {
    [STATUS_OK] = "ok",
    [STATUS_NOT_JSON] = "not_json",
    [STATUS_TOO_DEEP] = "too_deep",
    [STATUS_TOO_LARGE] = "too_large",
    [STATUS_WRONG_EVENT_TYPE] = "wrong_event_type",
    [STATUS_MISSING_FIELD] = "missing_field",
    [STATUS_BAD_NUMBER] = "bad_number",
    [STATUS_OUT_OF_RANGE] = "out_of_range",
    [STATUS_NOT_POSITIVE] = "not_positive",
    [STATUS_BAD_TIME] = "bad_time",
    [STATUS_BAD_ASSET] = "bad_asset",
    [STATUS_BAD_MODE] = "bad_mode",
    [STATUS_BAD_SIDE] = "bad_side",
    [STATUS_LEG_BELOW_ZERO] = "leg_below_zero",
    [STATUS_IDENTITY_CONFLICT] = "identity_conflict",
    [STATUS_VERSION_CONFLICT] = "version_conflict",
    [STATUS_IGNORED] = "ignored",
    [STATUS_REPEAT] = "repeat",
    [STATUS_STALE] = "stale",
    [STATUS_UNCHANGED] = "unchanged",
    [STATUS_FULL] = "full",
    [STATUS_NOT_FOUND] = "not_found",
    [STATUS_UNAVAILABLE] = "unavailable",
    [STATUS_TIMEOUT] = "timeout",
    [STATUS_LOST] = "lost",
    [STATUS_INVALID] = "invalid",
    [STATUS_STOPPING] = "stopping",
};

const char *status_word(enum status status)
{
    pm_assert((unsigned)status < STATUS_COUNT);
    return words[status];
}
