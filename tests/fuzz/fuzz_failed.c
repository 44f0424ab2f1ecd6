#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

void fuzz_failed(const char *what, const uint8_t *data, size_t len)
{
    fprintf(stderr, "does not hold: %s\ninput of %zu bytes: ", what, len);
    for (size_t i = 0; i < len; i++) {
        if (isprint(data[i]) && data[i] != '\\')
            fputc(data[i], stderr);
        else
            fprintf(stderr, "\\x%02x", data[i]);
    }
    fputc('\n', stderr);
    abort();
}
