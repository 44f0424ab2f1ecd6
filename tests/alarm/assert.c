/* Planted: an assert that does not hold, in a build with NDEBUG. */
#include "check.h"

int main(void)
{
    volatile int planted = 1;
    pm_assert(planted == 2);
    return 0;
}
