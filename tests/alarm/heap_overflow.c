/* Planted: a write one byte behind an allocation. */
#include <stdlib.h>

/* Knows nothing of the allocation, so that UBSan's own check of object sizes does not come first. */
static __attribute__((noipa)) void write_at(volatile char *memory, size_t index)
{
    memory[index] = 1;
}

int main(void)
{
    char *memory = malloc(10);
    if (memory == NULL)
        return 0;
    write_at(memory, 10);
    free(memory);
    return 0;
}
