#include "trace.h"

#include <string.h>

#include "uuid.h"

enum {
    PARENT_ID_AT = 3, /* 00-<32>-<16>-<2> */
    PARENT_ID_LEN = 32,
    PARENT_LEN = 55,
};

bool trace_id_is_sane(const char *text, size_t len)
{
    if (len == 0 || len > TRACE_ID_LEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\')
            return false;
    }
    return true;
}

static bool is_lower_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

static bool is_all_zeros(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != '0')
            return false;
    return true;
}

bool trace_from_parent(const char *text, size_t len, char out[TRACE_ID_LEN_MAX + 1])
{
    if (len < PARENT_LEN || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!is_lower_hex(text, 2) || !is_lower_hex(text + PARENT_ID_AT, PARENT_ID_LEN) || !is_lower_hex(text + 36, 16) ||
        !is_lower_hex(text + 53, 2))
        return false;
    if (memcmp(text, "ff", 2) == 0 || is_all_zeros(text + PARENT_ID_AT, PARENT_ID_LEN) || is_all_zeros(text + 36, 16))
        return false;
    /* Version 00 has nothing behind the flags; later versions may, after another dash. */
    if (len > PARENT_LEN && (memcmp(text, "00", 2) == 0 || text[PARENT_LEN] != '-'))
        return false;
    memcpy(out, text + PARENT_ID_AT, PARENT_ID_LEN);
    out[PARENT_ID_LEN] = '\0';
    return true;
}

static void write_hex(uint64_t bits, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++, bits <<= 4)
        out[i] = digits[bits >> 60];
}

/* Two different numbers never become the same one, and neighbours look unrelated (the finalizer of splitmix64). */
static uint64_t scatter(uint64_t bits)
{
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebU;
    return bits ^ bits >> 31;
}

void trace_generate(char out[TRACE_ID_LEN_MAX + 1])
{
    static _Thread_local struct {
        char thread[16]; /* random digits, the same in all ids of a thread; empty: none yet */
        uint64_t number; /* random in the beginning */
    } source;
    if (source.thread[0] == '\0') {
        struct uuid uuid = uuid_generate();
        uint64_t thread;
        memcpy(&thread, uuid.bytes, sizeof thread);
        memcpy(&source.number, uuid.bytes + sizeof thread, sizeof source.number);
        write_hex(thread, source.thread);
    }
    memcpy(out, source.thread, sizeof source.thread);
    write_hex(scatter(source.number++), out + 16);
    out[32] = '\0';
}
