/* OpenSSL 3 would rather have these hashes asked for through EVP, which allocates and locks at each use. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "identity.h"

#include <openssl/sha.h>
#include <string.h>

#include "check.h"
#include "utf8.h"
#include "xhash.h"

enum { PIECE_LEN_MAX = 256, DIGEST_BYTES_KEPT = 16 };

#define SHA256_PREFIX "sha256:"

static void put_hex(char *out, const unsigned char *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 0xF];
    }
    out[2 * len] = '\0';
}

/* The digest of an id's bytes after unescaping, so that another way of escaping is the same id. */
static void digest_id(const struct json_value *id, unsigned char digest[SHA256_DIGEST_LENGTH])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    if (id->has_escapes) {
        char piece[PIECE_LEN_MAX];
        size_t offset = 0, len;
        while ((len = json_string_piece(id, &offset, piece, sizeof piece)) > 0)
            SHA256_Update(&context, piece, len);
    } else {
        SHA256_Update(&context, id->bytes, id->len);
    }
    SHA256_Final(digest, &context);
}

void identity_put(const char *prefix, const struct json_value *id, char *out, size_t capacity)
{
    size_t prefix_len = strlen(prefix), room = capacity - prefix_len - 1;
    pm_assert(capacity > prefix_len + strlen(SHA256_PREFIX) + 2 * SHA256_DIGEST_LENGTH);
    memcpy(out, prefix, prefix_len);
    char *at = out + prefix_len;
    char scratch[PIECE_LEN_MAX];
    const char *bytes = id->bytes;
    size_t len = id->len, offset = 0;
    bool is_whole = true;
    if (id->has_escapes) {
        len = json_string_piece(id, &offset, scratch, sizeof scratch);
        bytes = scratch;
        is_whole = offset == id->len;
    }
    if (is_whole && len <= room && utf8_is_plain(bytes, len)) {
        memcpy(at, bytes, len);
        at[len] = '\0';
        return;
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    digest_id(id, digest);
    memcpy(at, SHA256_PREFIX, strlen(SHA256_PREFIX));
    put_hex(at + strlen(SHA256_PREFIX), digest, sizeof digest);
}

void identity_put_digest(const char *body, size_t len, char out[sizeof((struct decoded *)0)->identity])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, body, len);
    SHA256_Final(digest, &context);
    memcpy(out, "d:", 2);
    put_hex(out + 2, digest, DIGEST_BYTES_KEPT);
}

/* Least significant byte first on every machine. */
static size_t put_units(unsigned char *out, int128 units)
{
    uint128 left = (uint128)units;
    for (size_t i = 0; i < sizeof units; i++) {
        out[i] = (unsigned char)left;
        left >>= 8;
    }
    return sizeof units;
}

uint64_t identity_fingerprint(const struct decoded *decoded)
{
    const struct execution *execution = &decoded->said.execution;
    unsigned char said[sizeof decoded->asset + sizeof decoded->order_key + 2 + 2 * sizeof(int128)];
    size_t len = 0;
    /* Whole arrays: what lies behind their terminators is zero since decode_open. */
    memcpy(said, decoded->asset, sizeof decoded->asset);
    len += sizeof decoded->asset;
    memcpy(said + len, decoded->order_key, sizeof decoded->order_key);
    len += sizeof decoded->order_key;
    said[len++] = execution->mode;
    said[len++] = execution->side;
    len += put_units(said + len, execution->quantity.units);
    len += put_units(said + len, execution->price.units);
    return xhash64(said, len);
}
