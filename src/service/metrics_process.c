#include "metrics_process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

#include "metrics_page.h"

enum { MICRO = 6 };

static bool read_cpu_us(int64_t *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return false;
    *out = ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
    return true;
}

static bool read_memory(uint64_t *virtual_bytes, uint64_t *resident_bytes)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return false;
    uint64_t virtual_pages, resident_pages, page_len = (uint64_t)sysconf(_SC_PAGESIZE);
    bool is_read = fscanf(file, "%" SCNu64 " %" SCNu64, &virtual_pages, &resident_pages) == 2;
    fclose(file);
    if (!is_read)
        return false;
    *virtual_bytes = virtual_pages * page_len;
    *resident_bytes = resident_pages * page_len;
    return true;
}

static bool count_open_fds(uint64_t *out)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return false;
    uint64_t count = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    *out = count - 1; /* the one that the counting itself needs */
    return true;
}

static bool read_fd_limit(uint64_t *out)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    *out = limit.rlim_cur;
    return true;
}

void process_metrics_write(FILE *page, int64_t started_wall_us)
{
    int64_t cpu_us;
    uint64_t virtual_bytes, resident_bytes, open_fds, fd_limit;
    if (read_cpu_us(&cpu_us)) {
        page_family(page, "process_cpu_seconds_total", "counter", "Time that the process spent on processors.");
        page_sample_scaled(page, "process_cpu_seconds_total", NULL, cpu_us, MICRO);
    }
    if (read_memory(&virtual_bytes, &resident_bytes)) {
        page_gauge(page, "process_virtual_memory_bytes", "Virtual memory.", virtual_bytes);
        page_gauge(page, "process_resident_memory_bytes", "Resident memory.", resident_bytes);
    }
    if (count_open_fds(&open_fds))
        page_gauge(page, "process_open_fds", "Open file descriptors.", open_fds);
    if (read_fd_limit(&fd_limit))
        page_gauge(page, "process_max_fds", "File descriptors that may be open.", fd_limit);
    page_gauge_scaled(page, "process_start_time_seconds", "Start of the process, seconds since 1970.", started_wall_us,
                      MICRO);
}
