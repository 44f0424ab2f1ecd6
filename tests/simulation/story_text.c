/*
 * story_text.c: a story as lines that a person can read and the simulator can read back.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "story.h"

/* ---- messages ---- */

enum shape { SHAPE_FLAG, SHAPE_LETTER, SHAPE_NUMBER, SHAPE_DECIMAL };

struct field {
    const char *name;
    size_t offset;
    int64_t absent; /* not printed then */
    enum shape shape;
};

#define FIELD(name, absent, shape)                                                                                     \
    {                                                                                                                  \
#name, offsetof(struct story_message, name), absent, shape                                                     \
    }

static const struct field fields[] = {
    FIELD(market, 0, SHAPE_FLAG),
    FIELD(asset, STORY_NONE, SHAPE_LETTER),
    FIELD(hedge, 0, SHAPE_FLAG),
    FIELD(sell, 0, SHAPE_FLAG),
    FIELD(cumulative, 0, SHAPE_FLAG),
    FIELD(reduce_only, 0, SHAPE_FLAG),
    FIELD(quantity, STORY_NONE, SHAPE_DECIMAL),
    FIELD(price, STORY_NONE, SHAPE_DECIMAL),
    FIELD(fee, STORY_NONE, SHAPE_DECIMAL),
    FIELD(identity, STORY_NONE, SHAPE_NUMBER),
    FIELD(order, STORY_NONE, SHAPE_NUMBER),
    FIELD(mark, STORY_NONE, SHAPE_DECIMAL),
    FIELD(realized, STORY_NONE, SHAPE_DECIMAL),
    FIELD(at, STORY_NONE, SHAPE_NUMBER),
    FIELD(digest, STORY_NONE, SHAPE_NUMBER),
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

static int64_t *field_of(struct story_message *message, const struct field *field)
{
    return (int64_t *)(void *)((char *)message + field->offset);
}

static void print_message(const struct story_message *message, FILE *file)
{
    struct story_message copy = *message;
    (void)fprintf(file, "message");
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        int64_t value = *field_of(&copy, &fields[i]);
        char text[DECIMAL_TEXT_LEN_MAX];
        if (value == fields[i].absent)
            continue;
        switch (fields[i].shape) {
        case SHAPE_FLAG:
            (void)fprintf(file, " %s", fields[i].name);
            break;
        case SHAPE_LETTER:
            (void)fprintf(file, " %s=%c", fields[i].name, (char)('A' + value));
            break;
        case SHAPE_NUMBER:
            (void)fprintf(file, " %s=%" PRId64, fields[i].name, value);
            break;
        case SHAPE_DECIMAL:
            (void)decimal_format(decimal_from_units(value), 0, text);
            (void)fprintf(file, " %s=%s", fields[i].name, text);
            break;
        }
    }
    (void)fprintf(file, "\n");
}

static bool read_value(const struct field *field, const char *text, int64_t *out)
{
    struct decimal decimal;
    char *end = NULL;
    switch (field->shape) {
    case SHAPE_FLAG:
        *out = 1;
        return text == NULL;
    case SHAPE_LETTER:
        if (text == NULL || text[0] < 'A' || text[0] >= 'A' + WORLD_ASSETS_MAX || text[1] != '\0')
            return false;
        *out = text[0] - 'A';
        return true;
    case SHAPE_NUMBER:
        *out = text == NULL ? 0 : strtoll(text, &end, 10);
        return text != NULL && end != text && *end == '\0';
    case SHAPE_DECIMAL:
        if (text == NULL || decimal_parse(text, strlen(text), DECIMAL_EXCESS_REFUSE, &decimal) != STATUS_OK)
            return false;
        *out = (int64_t)decimal.units;
        return true;
    }
    return false;
}

/* words: what follows "message", cut up. */
static bool read_message(struct story_message *message, char *words)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        *field_of(message, &fields[i]) = fields[i].absent;
    char *rest = NULL;
    for (char *word = strtok_r(words, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        char *value = strchr(word, '=');
        if (value != NULL)
            *value++ = '\0';
        size_t i = 0;
        while (i < FIELD_COUNT && strcmp(fields[i].name, word) != 0)
            i++;
        if (i == FIELD_COUNT || !read_value(&fields[i], value, field_of(message, &fields[i])))
            return false;
    }
    if (message->asset == STORY_NONE)
        return false;
    return message->market == 1 || (message->quantity != STORY_NONE && message->price != STORY_NONE);
}

/* ---- steps ---- */

/* A '#' is a number: the first a, the second b. */
static const char *const phrases[OP_COUNT] = {
    [OP_DELIVER] = "the broker delivers #",
    [OP_SHARD] = "shard # takes #",
    [OP_AGGREGATOR] = "the aggregator takes #",
    [OP_TAKE_REQUESTS] = "the committer takes requests",
    [OP_CARRY_OUT] = "the database carries out request #",
    [OP_ANSWER] = "the committer answers request #",
    [OP_PUBLISH] = "the publisher publishes",
    [OP_CONFIRM] = "the broker confirms # picked by #",
    [OP_ACKNOWLEDGE] = "the consumer acknowledges",
    [OP_TIME] = "# microseconds pass",
    [OP_FOREIGN] = "somebody else writes row # in way #",
    [OP_REFUSE] = "the database will refuse row #",
    [OP_DISK] = "the disk stands still: #",
    [OP_BROKER] = "the broker blocks: #",
    [OP_LOSE_DATABASE] = "the database's connection is lost, and it cannot tell the outcome: #",
    [OP_LOSE_CONSUMER] = "the consumer's connection is lost",
    [OP_CRASH] = "the service dies and starts again with # announcements",
    [OP_QUIET] = "everything comes to rest",
};

static void print_step(const struct story_step *step, FILE *file)
{
    uint64_t numbers[2] = {step->a, step->b};
    size_t used = 0;
    for (const char *c = phrases[step->op]; *c != '\0'; c++) {
        if (*c == '#')
            (void)fprintf(file, "%" PRIu64, numbers[used++]);
        else
            (void)fputc(*c, file);
    }
    (void)fputc('\n', file);
}

static bool read_phrase(const char *phrase, const char *line, struct story_step *step)
{
    uint64_t *numbers[2] = {&step->a, &step->b};
    size_t used = 0;
    step->a = step->b = 0;
    for (; *phrase != '\0'; phrase++) {
        if (*phrase != '#') {
            if (*phrase != *line++)
                return false;
            continue;
        }
        char *end = NULL;
        *numbers[used++] = strtoull(line, &end, 10);
        if (end == line)
            return false;
        line = end;
    }
    return *line == '\n' || *line == '\0';
}

static bool read_step(struct story_step *step, const char *line)
{
    for (step->op = 0; step->op < OP_COUNT; step->op++)
        if (read_phrase(phrases[step->op], line, step))
            return true;
    return false;
}

/* ---- the whole ---- */

void story_print(const struct story *story, FILE *file)
{
    (void)fprintf(file, "prefetch %" PRIu64 "\nannouncements %" PRIu64 "\nbatch %" PRIu64 "\n", story->prefetch,
                  story->announcements, story->batch);
    for (size_t i = 0; i < story->message_count; i++)
        print_message(&story->messages[i], file);
    for (size_t i = 0; i < story->step_count; i++)
        print_step(&story->steps[i], file);
}

static bool read_line(struct story *story, char *line)
{
    struct story_step number;
    if (line[0] == '#' || line[0] == '\n')
        return true;
    if (strncmp(line, "message ", 8) == 0)
        return story->message_count < WORLD_MESSAGES_MAX &&
               read_message(&story->messages[story->message_count++], line + 8);
    if (read_phrase("prefetch #", line, &number)) {
        story->prefetch = number.a;
        return number.a >= 1 && number.a <= WORLD_POOL_MAX;
    }
    if (read_phrase("announcements #", line, &number)) {
        story->announcements = number.a;
        return number.a >= 1 && number.a <= WORLD_ANNOUNCED_MAX;
    }
    if (read_phrase("batch #", line, &number)) {
        story->batch = number.a;
        return number.a >= 1;
    }
    return story->step_count < STORY_STEPS_MAX && read_step(&story->steps[story->step_count++], line);
}

int story_read(struct story *story, FILE *file)
{
    memset(story, 0, sizeof *story);
    story->prefetch = 16;
    story->announcements = 1;
    story->batch = WORLD_BATCH_MAX;
    char line[512];
    for (int number = 1; fgets(line, sizeof line, file) != NULL; number++)
        if (!read_line(story, line))
            return number;
    return 0;
}
