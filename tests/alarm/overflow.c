/* Planted: a signed overflow, which UBSan must not only print. */
#include <limits.h>

int main(void)
{
    volatile int value = INT_MAX;
    value = value + 1;
    return 0;
}
