/*
 * decode: messages from the broker into domain values (contract §3).
 *
 * Fills the parts of struct decoded that amqp copies into a delivery. Never logs, never allocates. Thread: any; the
 * compiled asset pattern is shared read-only.
 */
#ifndef PM_DECODE_H
#define PM_DECODE_H

#include <regex.h>
#include <stddef.h>
#include <stdint.h>

#include "execution.h"
#include "market.h"
#include "status.h"

enum { BODY_LEN_MAX = 256 * 1024 };

/* Sizes as in a delivery (actors/message.h), which codec does not see. */
struct decoded {
    char asset[ASSET_LEN_MAX + 1];
    char trace_id[65]; /* empty: none came */
    char identity[89];
    char order_key[81];
    uint64_t fingerprint;
    union {
        struct execution execution;
        struct market_event market;
    } said;
    const char *field; /* on refusal: a literal that names the field ("filled_quantity"), or NULL */
};

/* How assets look (POSITION_MANAGER_ASSET_PATTERN, POSIX extended). The default is matched without regexec. */
struct asset_pattern {
    regex_t regex;
    bool is_default;
    bool is_compiled;
};
#define ASSET_PATTERN_DEFAULT "^[A-Z0-9]{1,16}USDT$"
/* Fails: STATUS_INVALID if it does not compile. Owns: the caller; finish with asset_pattern_finish. */
enum status asset_pattern_init(struct asset_pattern *pattern, const char *text) PM_MUST_USE;
void asset_pattern_finish(struct asset_pattern *pattern);
/* Upper-cases and checks; also against ASSET_LEN_MAX. Fails: STATUS_BAD_ASSET. */
enum status asset_parse(const struct asset_pattern *pattern, const char *text, size_t len,
                        char out[ASSET_LEN_MAX + 1]) PM_MUST_USE;

/*
 * Both decoders judge in this order: size of the body, JSON and its depth, event_type, required members, then values.
 * Keys and words are read after unescaping; event types, sides, modes and legs in any case of letters. An id or a trace
 * id may be a number. An id that does not fit its array, or holds a NUL or no UTF-8, is replaced by "sha256:" and hex.
 * A trace id is cut to 64 bytes at a character.
 */

/*
 * Decodes a market event (contract §3.1). arrival_us is not used for its timestamp (an absent one is TIME_NONE).
 * Fails: a refusal; out->field says where; out->trace_id and out->asset are set if they could be read. STATUS_IGNORED
 * never.
 */
enum status decode_market(const char *body, size_t len, const struct asset_pattern *pattern,
                          struct decoded *out) PM_MUST_USE;

/*
 * Decodes an execution of either shape (contract §3.2) and its identity (§3.3). message_id: AMQP's, may be NULL.
 * The fingerprint covers asset, mode, side, order, quantity and price; it is stored, so it must never change its
 * meaning. positionIdx 1 or 2 implies hedge mode where `mode` is absent, as in market events. Returns STATUS_IGNORED
 * for dry runs and for known order states that are no fills. Fails as decode_market.
 */
enum status decode_execution(const char *body, size_t len, const char *message_id, size_t message_id_len,
                             int64_t arrival_us, const struct asset_pattern *pattern, struct decoded *out) PM_MUST_USE;

#endif
