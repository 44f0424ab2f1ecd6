/* Planted: two threads that add to a plain integer. */
#include <pthread.h>
#include <stddef.h>

static int shared;

static void *add_much(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++)
        *(volatile int *)&shared = shared + 1;
    return NULL;
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, add_much, NULL) != 0)
        return 0;
    (void)add_much(NULL);
    (void)pthread_join(thread, NULL);
    return 0;
}
