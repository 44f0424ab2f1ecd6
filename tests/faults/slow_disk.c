/*
 * slow_disk: makes a server's disk slow to say that something is safe. Preloaded (LD_PRELOAD); the file named by
 * PM_SLOW_DISK holds eight bytes, the milliseconds by which every fsync and fdatasync takes longer, and may be written
 * at any time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none;
static volatile int64_t *delay_ms = &none;

__attribute__((constructor)) static void map_delay(void)
{
    const char *path = getenv("PM_SLOW_DISK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *delay_ms, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        delay_ms = mapped;
    (void)close(file);
}

static void delay(void)
{
    int64_t ms = *delay_ms;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&left, &left) != 0) {
    }
}

typedef int sync_fn(int file);

int fsync(int file)
{
    delay();
    return ((sync_fn *)dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    delay();
    return ((sync_fn *)dlsym(RTLD_NEXT, "fdatasync"))(file);
}
