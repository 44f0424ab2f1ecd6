#include "routes.h"

#include <string.h>

#include "check.h"
#include "visits.h"

#define ASSET_PLACE "{asset}"

const struct route ROUTES[] = {
    {"/api/v1/positions", NULL, true, true, answer_positions, NULL},
    {"/api/v1/positions/" ASSET_PLACE, "", true, true, answer_position, answer_validate},
    {"/api/v1/positions/" ASSET_PLACE "/validate", "/validate", true, true, NULL, answer_validate},
    {"/api/v1/positions/" ASSET_PLACE "/snapshot", "/snapshot", true, true, NULL, answer_snapshot},
    {"/api/v1/positions/" ASSET_PLACE "/snapshots", "/snapshots", true, true, answer_snapshots, NULL},
    {"/api/v1/portfolio", NULL, true, true, answer_portfolio, NULL},
    {"/api/v1/portfolio/exposure", NULL, true, true, answer_exposure, NULL},
    {"/api/v1/portfolio/pnl", NULL, true, true, answer_pnl, NULL},
    {"/health", NULL, false, false, answer_health, NULL},
    {"/health/live", NULL, false, false, answer_live, NULL},
    {"/health/ready", NULL, false, false, answer_ready, NULL},
    {"/metrics", NULL, false, false, answer_metrics, NULL},
    {"/openapi.json", NULL, false, false, answer_openapi, NULL},
};

const size_t ROUTE_COUNT = sizeof ROUTES / sizeof ROUTES[0];
_Static_assert(sizeof ROUTES / sizeof ROUTES[0] < VISIT_ROUTES_MAX, "every route and the unmatched one have a counter");

static bool matches_exactly(const struct route *route, const char *path, size_t len)
{
    return strlen(route->template) == len && memcmp(route->template, path, len) == 0;
}

static bool matches_with_asset(const struct route *route, const char *path, size_t len, const char **asset,
                               size_t *asset_len)
{
    size_t suffix_len = strlen(route->suffix);
    size_t prefix_len = strlen(route->template) - suffix_len - (sizeof ASSET_PLACE - 1);
    if (len <= prefix_len + suffix_len || memcmp(path, route->template, prefix_len) != 0 ||
        memcmp(path + len - suffix_len, route->suffix, suffix_len) != 0)
        return false;
    size_t middle_len = len - prefix_len - suffix_len;
    if (memchr(path + prefix_len, '/', middle_len) != NULL)
        return false;
    *asset = path + prefix_len;
    *asset_len = middle_len;
    return true;
}

const struct route *route_find(const char *path, size_t len, const char **asset, size_t *asset_len)
{
    *asset = NULL;
    *asset_len = 0;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &ROUTES[i];
        bool matches = route->suffix == NULL ? matches_exactly(route, path, len)
                                             : matches_with_asset(route, path, len, asset, asset_len);
        if (matches)
            return route;
    }
    return NULL;
}

bool route_is_public(const struct route *route, const char *path, size_t len)
{
    static const char health[] = "/health";
    if (route != NULL)
        return !route->needs_key;
    return len >= sizeof health - 1 && memcmp(path, health, sizeof health - 1) == 0;
}

const char *route_allow(const struct route *route)
{
    if (route->get == NULL)
        return "POST";
    return route->post == NULL ? "GET, HEAD" : "GET, HEAD, POST";
}

size_t route_index(const struct route *route)
{
    return route == NULL ? ROUTE_COUNT : (size_t)(route - ROUTES);
}

const char *route_label(size_t index)
{
    pm_assert(index <= ROUTE_COUNT);
    return index == ROUTE_COUNT ? "unmatched" : ROUTES[index].template;
}
