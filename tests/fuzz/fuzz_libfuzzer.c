/* libFuzzer's entry; FUZZ_TARGET is set by the build, one program for each target. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    FUZZ_TARGET(data, len);
    return 0;
}
