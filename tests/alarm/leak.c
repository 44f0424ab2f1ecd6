/* Planted: memory that nothing points to any more. */
#include <stdlib.h>
#include <string.h>

static __attribute__((noinline)) void lose(size_t bytes)
{
    char *volatile memory = malloc(bytes);
    if (memory != NULL)
        memset(memory, 1, bytes);
    memory = NULL;
}

int main(void)
{
    for (size_t i = 0; i < 100; i++) /* one address may linger in a register */
        lose(100 + i);
    return 0;
}
