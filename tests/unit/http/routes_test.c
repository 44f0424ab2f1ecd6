#define _GNU_SOURCE

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "openapi.h"
#include "routes.h"
#include "visits.h"

Test(routes, paths_find_their_template)
{
    static const struct {
        const char *path, *template, *asset;
        bool is_public;
    } rows[] = {
        {"/api/v1/positions", "/api/v1/positions", NULL, false},
        {"/api/v1/positions/BTCUSDT", "/api/v1/positions/{asset}", "BTCUSDT", false},
        {"/api/v1/positions/%", "/api/v1/positions/{asset}", "%", false},
        {"/api/v1/positions/", NULL, NULL, false},
        {"/api/v1/positions/BTCUSDT/", NULL, NULL, false},
        {"/api/v1/positions/a/b", NULL, NULL, false},
        {"/api/v1/positions/A/validate", "/api/v1/positions/{asset}/validate", "A", false},
        {"/api/v1/positions/A/snapshot", "/api/v1/positions/{asset}/snapshot", "A", false},
        {"/api/v1/positions/A/snapshots", "/api/v1/positions/{asset}/snapshots", "A", false},
        {"/api/v1/positions/validate", "/api/v1/positions/{asset}", "validate", false},
        {"/api/v1/positions//validate", NULL, NULL, false},
        {"/api/v1/positions/A/B/snapshot", NULL, NULL, false},
        {"/api/v1/positions/A/snapshots/", NULL, NULL, false},
        {"/api/v1/positions/A/Snapshots", NULL, NULL, false},
        {"/api/v1/positionsX", NULL, NULL, false},
        {"/api/v1/position", NULL, NULL, false},
        {"/api/v1/portfolio", "/api/v1/portfolio", NULL, false},
        {"/api/v1/portfolio/exposure", "/api/v1/portfolio/exposure", NULL, false},
        {"/api/v1/portfolio/pnl", "/api/v1/portfolio/pnl", NULL, false},
        {"/api/v1/portfolio/other", NULL, NULL, false},
        {"/health", "/health", NULL, true},
        {"/health/live", "/health/live", NULL, true},
        {"/health/ready", "/health/ready", NULL, true},
        {"/health/other", NULL, NULL, true},
        {"/healthz", NULL, NULL, true},
        {"/healt", NULL, NULL, false},
        {"/metrics", "/metrics", NULL, true},
        {"/metrics/x", NULL, NULL, false},
        {"/openapi.json", "/openapi.json", NULL, true},
        {"/", NULL, NULL, false},
        {"", NULL, NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *asset;
        size_t asset_len;
        const struct route *route = route_find(rows[i].path, strlen(rows[i].path), &asset, &asset_len);
        cr_expect_eq(route != NULL, rows[i].template != NULL, "%s", rows[i].path);
        if (route != NULL && rows[i].template != NULL)
            cr_expect_str_eq(route->template, rows[i].template);
        cr_expect_eq(asset_len, rows[i].asset != NULL ? strlen(rows[i].asset) : 0, "%s", rows[i].path);
        if (rows[i].asset != NULL)
            cr_expect(memcmp(asset, rows[i].asset, asset_len) == 0, "%s", rows[i].path);
        cr_expect_eq(route_is_public(route, rows[i].path, strlen(rows[i].path)), rows[i].is_public, "%s", rows[i].path);
    }
}

Test(routes, allow_names_what_the_table_answers)
{
    static const struct {
        struct route route;
        const char *allow;
    } rows[] = {
        {{.get = answer_live}, "GET, HEAD"},
        {{.post = answer_live}, "POST"},
        {{.get = answer_live, .post = answer_live}, "GET, HEAD, POST"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_str_eq(route_allow(&rows[i].route), rows[i].allow);
}

Test(routes, every_template_is_there_once_and_answers_something)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        cr_expect(ROUTES[i].get != NULL || ROUTES[i].post != NULL, "%s", ROUTES[i].template);
        cr_expect_eq(route_index(&ROUTES[i]), i);
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(ROUTES[i].template, ROUTES[j].template);
    }
    cr_expect_eq(route_index(NULL), ROUTE_COUNT);
    cr_expect_str_eq(route_label(ROUTE_COUNT), "unmatched");
}

Test(routes, every_template_is_described)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        char member[128];
        int len = snprintf(member, sizeof member, "\"%s\": {", ROUTES[i].template);
        cr_expect_not_null(memmem(openapi_json, openapi_json_len, member, (size_t)len), "%s", member);
    }
}

Test(visits, methods_have_their_words_and_strangers_share_one)
{
    static const struct {
        const char *text;
        enum http_method method;
    } rows[] = {{"GET", METHOD_GET},   {"HEAD", METHOD_HEAD}, {"POST", METHOD_POST},  {"PUT", METHOD_OTHER},
                {"get", METHOD_OTHER}, {"", METHOD_OTHER},    {"GETS", METHOD_OTHER}, {"other", METHOD_OTHER}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(http_method_parse(rows[i].text, strlen(rows[i].text)), rows[i].method, "%s", rows[i].text);
    cr_expect_str_eq(http_method_word(METHOD_OTHER), "other");
}

static struct visits visits;

Test(visits, each_code_counts_in_its_slot_and_unknown_ones_together)
{
    static const int codes[] = {200, 200, 404, 299, 599};
    uint64_t others = 0;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        visits_add(&visits, 1, METHOD_GET, codes[i]);
    for (size_t slot = 0; slot < VISIT_CODES; slot++) {
        uint64_t count = visits_read(&visits, 1, METHOD_GET, slot);
        int code = visits_code(slot);
        cr_expect_eq(count, code == 200 ? 2 : code == 404 ? 1 : code == 0 ? 2 : 0, "code %d", code);
        others += visits_read(&visits, 0, METHOD_GET, slot) + visits_read(&visits, 1, METHOD_HEAD, slot);
    }
    cr_expect_eq(others, 0);
}
