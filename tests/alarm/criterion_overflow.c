/* Planted: a Criterion test that passes and overflows. Without -fno-sanitize-recover it would be called a success. */
#include <criterion/criterion.h>
#include <limits.h>

Test(alarm, passes_and_overflows)
{
    volatile int value = INT_MAX;
    value = value + 1;
    cr_assert(value < 0);
}
