/* Planted: a write one byte behind an allocation. */
#include <stdint.h>
#include <stdlib.h>

int main(void)
{
    volatile char *memory = malloc(10);
    volatile size_t index = 10;
    if (memory == NULL)
        return 0;
    memory[index] = 1;
    free((void *)(uintptr_t)memory);
    return 0;
}
