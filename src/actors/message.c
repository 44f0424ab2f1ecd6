#include "message.h"

#include "check.h"

const char *update_source_word(enum update_source source)
{
    switch (source) {
    case SOURCE_ORDER_EXECUTION:
        return "order_execution";
    case SOURCE_WEBSOCKET:
        return "websocket";
    case SOURCE_VALIDATION:
        return "validation";
    case SOURCE_PRICE_API:
        return "price_api";
    case SOURCE_EXTERNAL:
        return "external";
    }
    pm_assert(!"a source without a word");
    return "";
}
