/* Planted: a Criterion test that passes and leaks. Without abort_on_error the runner would call it a success. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static __attribute__((noinline)) void lose(size_t bytes)
{
    char *volatile memory = malloc(bytes);
    if (memory != NULL)
        memset(memory, 1, bytes);
    memory = NULL;
}

Test(alarm, passes_and_leaks)
{
    for (size_t i = 0; i < 100; i++)
        lose(100 + i);
    cr_assert(true);
}
