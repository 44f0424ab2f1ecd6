/*
 * settings_table: the rows behind settings.h: what each variable is called, what it may be, and where it goes.
 *
 * Private to settings*.c. A new setting is a member of struct settings and a row here; deploy/env.example follows from
 * `position-manager --env-example`.
 */
#ifndef PM_SETTINGS_TABLE_H
#define PM_SETTINGS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "settings.h"

enum setting_kind {
    SETTING_INTEGER, /* times scale, into an unsigned of 2, 4 or 8 bytes or an int64_t */
    SETTING_BOOL,
    SETTING_WORD,      /* one of words, any case; the index is stored */
    SETTING_DECIMAL,   /* min and max are whole numbers */
    SETTING_TEXT,      /* min to max bytes without control characters */
    SETTING_NAME,      /* the same of visible ASCII */
    SETTING_ADDRESS,   /* IPv4 or IPv6 */
    SETTING_URL,       /* http or https, without user, query and fragment */
    SETTING_FILE,      /* readable */
    SETTING_PATTERN,   /* of assets */
    SETTING_KEY,       /* the required key */
    SETTING_OVERRIDES, /* key:limit, … */
    SETTING_QUEUES,    /* name, … */
};

enum {
    SETTING_SECRET = 1,     /* its value is never shown */
    SETTING_REQUIRED = 2,   /* has no default and cannot be left out */
    SETTING_ABOVE_ZERO = 4, /* decimals: zero is not allowed */
    SETTING_CORES = 8,      /* the default is the number of cores, within the bounds */
};

struct setting_row {
    const char *name;
    enum setting_kind kind;
    size_t offset; /* into struct settings; unused where settings.c puts several together */
    size_t width;
    const char *default_text; /* "": nothing is stored, the member stays as settings_load() initialised it */
    int64_t min, max;
    int64_t scale;
    const char *const *words;
    unsigned flags;
    const char *help;
};

/* The limits a minute that a key may have. */
enum { RATE_LIMIT_MIN = 1, RATE_LIMIT_MAX = 1000000 };

extern const struct setting_row setting_rows[];
extern const size_t setting_row_count;

/* What is allowed, in words that follow "allowed is". Cut at size. */
void setting_format_allowed(const struct setting_row *row, char *out, size_t size);

/* One run of settings_load(). */
struct settings_loading {
    struct settings *settings;
    const struct settings_source *source;
    size_t problem_count;
    const char *api_key; /* kept; NULL until it was found good */
    struct api_key *overrides;
    size_t override_count;
    char detail[96]; /* set by a parser that can say more than what is allowed; never holds a value */
};

/* Copies a text for as long as the settings live. */
const char *settings_keep(struct settings *settings, const char *text, size_t len);

/* Reads text as the row says and stores it. Returns false where that is not allowed; then nothing was stored. */
bool setting_parse(struct settings_loading *loading, const struct setting_row *row, const char *text);

/* A whole number, digits only. */
bool setting_parse_whole(const char *text, size_t len, int64_t min, int64_t max, int64_t *out);

/* The kinds that fill a list (settings_lists.c). */
bool setting_parse_queues(struct settings_loading *loading, const struct setting_row *row, const char *text);
bool setting_parse_overrides(struct settings_loading *loading, const char *text);
bool setting_is_name(const char *text, size_t len, size_t len_max);

#endif
