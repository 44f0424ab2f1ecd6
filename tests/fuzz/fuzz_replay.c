/*
 * fuzz_replay [iterations [first]]: every target over the corpus below, then over mutations of it.
 *
 * An iteration's mutation depends on its number only, so that a failure, which prints the number, comes back with
 * `fuzz_replay 1 <number>`.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

enum { ITERATIONS_DEFAULT = 100000, INPUT_LEN_MAX = 4096, CHANGES_MAX = 6 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *const corpus[] = {
    "{\"event_type\":\"order_executed\",\"order_id\":\"o-1\",\"asset\":\"BTCUSDT\",\"side\":\"Buy\",\"execution_"
    "quantity\":"
    "\"1.5\",\"execution_price\":\"50000.25\",\"execution_fees\":\"-0.1\",\"mode\":\"hedge\",\"position_side\":"
    "\"long\","
    "\"executed_at\":\"2025-01-15T10:00:00.123456Z\",\"trace_id\":\"t-1\",\"execution_id\":\"x-1\"}",
    "{\"event_type\":\"partially_filled\",\"event_id\":\"e-1\",\"timestamp\":1736935200123,\"trace_id\":\"t\","
    "\"order\":{"
    "\"order_id\":12345,\"asset\":\"ethusdt\",\"side\":\"SELL\",\"filled_quantity\":2.5,\"average_price\":"
    "\"1999.12345678901234\",\"fees\":0,\"executed_at\":\"2025-01-15T10:00:00+02:00\",\"is_dry_run\":false,"
    "\"reduce_only\":true,\"positionIdx\":2}}",
    "{\"event_type\":\"cancelled\",\"order\":{\"order_id\":\"1\",\"is_dry_run\":true}}",
    "{\"event_type\":\"position\",\"channel\":\"position\",\"trace_id\":\"caf\\u00e9 "
    "\\uD83D\\uDE00\",\"data\":{\"symbol\":"
    "\"BTCUSDT\",\"side\":\"Sell\",\"size\":\"1.5\",\"avgPrice\":\"50000.123456789\",\"markPrice\":50100.5,"
    "\"unrealisedPnl\":\"-12.5\",\"cumRealisedPnl\":\"0\",\"positionIdx\":0,\"updatedTime\":\"1736935200123\"}}",
    "{\"event_type\":\"position\",\"payload\":{\"symbol\":\"A1USDT\",\"mode\":\"one-way\",\"size\":null,\"entryPrice\":"
    "\"\"}}",
    " [ 1 , -0 , 0.5e-3 , 1E+400 , \"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud800\" , true , false , null , {} , [ ] ] ",
    "{\"a\":{\"a\":{\"a\":[[[[[[[[[[[[[\"deep\"]]]]]]]]]]]]]}},\"a\":\"last wins\",\"\\u0061b\":12345678901234567890}",
    "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 plain text that is longer than one step of the scanner\"",
    "2025-01-15T10:00:00.999999999+05:30",
    "2024-02-29 23:59:60",
    "253402300799999",
    "-123.456e+7",
    "",
};

static const char *const tokens[] = {
    "\"",
    "\\",
    "\\u",
    "\\ud83d",
    "\\ude00",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "\"\"",
    "0",
    "-",
    "1e9",
    "0.00000000",
    "99999999999999999999",
    "\xF0\x9F\x98\x80",
    "\xED\xA0\x80",
    "\xC0\x80",
    "\xEF\xBB\xBF",
    "\x01",
    "NaN",
    "Infinity",
    "\"order\":",
    "\"data\":",
    "\"side\":",
    "\"asset\":",
    "hedge",
    "filled",
    "\"timestamp\":",
    "T",
    "Z",
    "+00:00",
    "60",
    "{\"a\":",
    "[[[[",
};

static const char *const values[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "2",
    "1.5",
    "-1.5",
    "0.000000001",
    "0.123456785",
    "999999999999.99999999",
    "1e5",
    "1736935200123",
    "\"\"",
    "\"0\"",
    "\"1.50\"",
    "\"-3\"",
    "\"Buy\"",
    "\"sell\"",
    "\"None\"",
    "\"long\"",
    "\"both\"",
    "\"hedge\"",
    "\"one-way\"",
    "\"BTCUSDT\"",
    "\"filled\"",
    "\"created\"",
    "\"order_executed\"",
    "\"position\"",
    "\"2025-01-15T10:00:00Z\"",
    "\"\\u0000\"",
    "\"\\ud800x\"",
    "{}",
    "[]",
    "{\"order_id\":1}",
    "\"a name that is longer than any column, so that its digest stands for it, whatever it is that it names\"",
};

static const struct {
    const char *name;
    fuzz_target_fn *run;
} targets[] = {{"json", fuzz_json}, {"decode", fuzz_decode}, {"text", fuzz_text}};

struct input {
    size_t len;
    uint8_t bytes[INPUT_LEN_MAX];
};

/* What runs now, for the handler. */
static volatile unsigned long current_iteration;
static const char *volatile current_target = "";

static void on_abort(int number)
{
    char line[128];
    int len = snprintf(line, sizeof line, "fuzz_replay: signal %d in target %s, iteration %lu\n", number,
                       current_target, current_iteration);
    ssize_t written = write(STDERR_FILENO, line, (size_t)len);
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

/* splitmix64: a whole sequence from any seed, neighbours unalike. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static size_t random_below(uint64_t *state, size_t bound)
{
    return bound == 0 ? 0 : (size_t)(random_next(state) % bound);
}

static void input_replace(struct input *input, size_t at, size_t removed, const void *bytes, size_t len)
{
    if (input->len - removed + len > INPUT_LEN_MAX)
        return;
    memmove(input->bytes + at + len, input->bytes + at + removed, input->len - at - removed);
    memcpy(input->bytes + at, bytes, len);
    input->len += len - removed;
}

/* Puts another value behind a colon, so that most of these inputs stay JSON and get as far as the rules. */
static void input_change_value(struct input *input, uint64_t *state)
{
    size_t start = random_below(state, input->len + 1);
    const uint8_t *colon = memchr(input->bytes + start, ':', input->len - start);
    if (colon == NULL)
        return;
    size_t at = (size_t)(colon - input->bytes) + 1, end = at;
    while (end < input->len && strchr(",}]", input->bytes[end]) == NULL)
        end++;
    const char *value = values[random_below(state, COUNT_OF(values))];
    input_replace(input, at, end - at, value, strlen(value));
}

static void input_change(struct input *input, uint64_t *state)
{
    size_t at = random_below(state, input->len + 1), left = input->len - at;
    size_t span = random_below(state, left < 16 ? left + 1 : 16);
    uint8_t byte = (uint8_t)random_next(state), copy[16];
    const char *other;
    switch (random_below(state, 10)) {
    case 0:
        if (left > 0)
            input->bytes[at] ^= (uint8_t)(1U << random_below(state, 8));
        break;
    case 1:
        input_replace(input, at, left > 0 ? random_below(state, 2) : 0, &byte, 1);
        break;
    case 2:
        input_replace(input, at, span, "", 0);
        break;
    case 3:
        memcpy(copy, input->bytes + at, span);
        input_replace(input, random_below(state, input->len + 1), 0, copy, span);
        break;
    case 4:
        other = tokens[random_below(state, COUNT_OF(tokens))];
        input_replace(input, at, random_below(state, 2) * span, other, strlen(other));
        break;
    case 5:
        other = corpus[random_below(state, COUNT_OF(corpus))];
        other += random_below(state, strlen(other) + 1);
        input_replace(input, at, left, other, strlen(other));
        break;
    default:
        input_change_value(input, state);
        break;
    }
}

/* From memory of just its size, so that reading past its end is found out. */
static void run_all(const struct input *input)
{
    uint8_t *exact = malloc(input->len > 0 ? input->len : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, input->bytes, input->len);
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        current_target = targets[i].name;
        targets[i].run(exact, input->len);
    }
    free(exact);
}

static void input_load(struct input *input, const char *text)
{
    input->len = strlen(text);
    memcpy(input->bytes, text, input->len);
}

int main(int argc, char **argv)
{
    unsigned long iterations = argc > 1 ? strtoul(argv[1], NULL, 10) : ITERATIONS_DEFAULT;
    unsigned long first = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    static struct input input;
    signal(SIGABRT, on_abort);
    for (size_t i = 0; i < COUNT_OF(corpus); i++) {
        input_load(&input, corpus[i]);
        run_all(&input);
    }
    for (unsigned long i = first; i < first + iterations; i++) {
        uint64_t state = i;
        current_iteration = i;
        input_load(&input, corpus[random_below(&state, COUNT_OF(corpus))]);
        for (size_t changes = 1 + random_below(&state, CHANGES_MAX); changes > 0; changes--)
            input_change(&input, &state);
        run_all(&input);
    }
    printf("%zu targets, %zu seeds, %lu mutations: all held\n", COUNT_OF(targets), COUNT_OF(corpus), iterations);
    return 0;
}
