/*
 * main: the command line, then the settings, then the service.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "service.h"

extern char **environ;

/* Whoever starts us may have closed standard input, output or error: the log would go to what takes its number. */
static void occupy_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    const char *offender = NULL;
    enum cli_command command = cli_parse(argc, argv, &offender);
    struct cli_surroundings surroundings = {
        .get = settings_get_environment, .environment = environ, .out = stdout, .err = stderr};
    if (command != CLI_SERVE)
        return cli_execute(command, offender, &surroundings);

    struct settings settings;
    struct settings_source source = {.get = settings_get_environment, .report = cli_report, .report_context = stderr};
    if (settings_load(&settings, &source) != STATUS_OK)
        return 1;
    (void)settings_warn_unknown(environ, cli_report, stderr);
    int code = service_run(&settings);
    settings_finish(&settings);
    return code;
}
