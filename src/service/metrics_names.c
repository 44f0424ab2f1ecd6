#include "metrics_names.h"

enum { MICRO = 6 };

#define EXECUTIONS    "executions_total", "Executions by what became of them."
#define MARKET_EVENTS "market_events_total", "Market events by what became of them."
#define CONNECTS      "connects_total", "Connections that were made to a neighbour."
#define LOSSES        "connection_losses_total", "Connections to a neighbour that were lost."
#define SILENCES      "neighbour_silences_total", "Times a connected neighbour owed an answer for too long."
#define PUBLISHED     "messages_published_total", "Messages confirmed by the broker, by queue."

#define PLAIN(metric, family, help)                                                                                    \
    {                                                                                                                  \
        metric, family, NULL, help                                                                                     \
    }
#define LABELLED(metric, family_and_help, label) LABELLED_(metric, family_and_help, label)
#define LABELLED_(metric, family, help, label)                                                                         \
    {                                                                                                                  \
        metric, family, label, help                                                                                    \
    }

const struct counter_name counter_names[METRIC_COUNT] = {
    LABELLED(METRIC_EXECUTIONS_APPLIED, EXECUTIONS, "outcome=\"applied\""),
    LABELLED(METRIC_EXECUTIONS_REPEATED, EXECUTIONS, "outcome=\"repeated\""),
    LABELLED(METRIC_EXECUTIONS_IGNORED, EXECUTIONS, "outcome=\"ignored\""),
    PLAIN(METRIC_EXECUTIONS_WITHOUT_IDENTITY, "executions_without_identity_total",
          "Executions that carried nothing by which a repeat could be told."),
    LABELLED(METRIC_MARKET_APPLIED, MARKET_EVENTS, "outcome=\"applied\""),
    LABELLED(METRIC_MARKET_UNCHANGED, MARKET_EVENTS, "outcome=\"unchanged\""),
    LABELLED(METRIC_MARKET_STALE, MARKET_EVENTS, "outcome=\"stale\""),
    LABELLED(METRIC_MARKET_REPEATED, MARKET_EVENTS, "outcome=\"repeated\""),
    PLAIN(METRIC_SIZE_DISCREPANCIES, "size_discrepancies_total",
          "Market events whose size differed from ours by more than the threshold."),
    PLAIN(METRIC_CONFLICTS, "version_conflicts_total", "Rows that were not at the expected version."),
    PLAIN(METRIC_CONFLICT_RETRIES, "version_conflict_retries_total",
          "Tries to apply events on top of another's change."),
    PLAIN(METRIC_COMMITS, "commits_total", "Transactions that were committed."),
    PLAIN(METRIC_COMMIT_ROLLBACKS, "commit_rollbacks_total", "Transactions redone because of a repeat or a conflict."),
    PLAIN(METRIC_COMMIT_OUTCOME_UNKNOWN, "commit_outcomes_unknown_total",
          "Transactions whose outcome had to be asked for after the connection was lost."),
    LABELLED(METRIC_DATABASE_CONNECTS, CONNECTS, "neighbour=\"database\""),
    LABELLED(METRIC_BROKER_CONNECTS, CONNECTS, "neighbour=\"broker\""),
    LABELLED(METRIC_DATABASE_LOSSES, LOSSES, "neighbour=\"database\""),
    LABELLED(METRIC_BROKER_LOSSES, LOSSES, "neighbour=\"broker\""),
    LABELLED(METRIC_DATABASE_SILENCES, SILENCES, "neighbour=\"database\""),
    LABELLED(METRIC_BROKER_SILENCES, SILENCES, "neighbour=\"broker\""),
    PLAIN(METRIC_BROKER_BLOCKED, "broker_blocked_total", "Times the broker told us to stop publishing."),
    PLAIN(METRIC_DELIVERIES, "deliveries_total", "Messages received from the broker."),
    PLAIN(METRIC_DELIVERIES_REDELIVERED, "deliveries_redelivered_total",
          "Messages that the broker marked as redelivered."),
    PLAIN(METRIC_DELIVERIES_ACKED, "deliveries_acknowledged_total", "Messages that were acknowledged."),
    PLAIN(METRIC_STALE_SETTLEMENTS, "stale_settlements_total", "Messages settled after their connection was gone."),
    LABELLED(METRIC_PUBLISHED, PUBLISHED, "queue=\"position_updated\""),
    LABELLED(METRIC_PUBLISHED_PORTFOLIO, PUBLISHED, "queue=\"portfolio_updated\""),
    LABELLED(METRIC_PUBLISHED_SNAPSHOT, PUBLISHED, "queue=\"position_snapshot_created\""),
    LABELLED(METRIC_DEAD_LETTERS, PUBLISHED, "queue=\"dead_letter\""),
    PLAIN(METRIC_PUBLISH_NACKED, "publish_nacks_total", "Publications that the broker did not take."),
    PLAIN(METRIC_ANNOUNCEMENTS_CONFLATED, "announcements_conflated_total",
          "Changes that were announced by a later one."),
    PLAIN(METRIC_MAILBOX_FULL, "mailbox_full_total", "Messages between actors that found their mailbox full."),
    PLAIN(METRIC_HTTP_UNAUTHORIZED, "http_unauthorized_total", "Requests without a valid key."),
    PLAIN(METRIC_HTTP_RATE_LIMITED, "http_rate_limited_total", "Requests refused by the rate limit."),
    PLAIN(METRIC_HTTP_CONNECTIONS_REFUSED, "http_connections_refused_total",
          "Connections refused, for want of room, or ended because of what they did."),
    PLAIN(METRIC_HTTP_STEPPED_BACK, "http_stepped_back_total",
          "Times an HTTP thread gave up real-time priority for a while, having much to do."),
    PLAIN(METRIC_LIMIT_BREACHES, "exposure_limit_breaches_total", "Times the exposure limit began to be exceeded."),
    PLAIN(METRIC_PRICE_REQUESTS, "price_requests_total", "Requests to the price service."),
    PLAIN(METRIC_PRICE_FAILURES, "price_request_failures_total",
          "Requests to the price service that brought no price."),
    PLAIN(METRIC_VALIDATIONS, "validations_total", "Positions compared with the orders."),
    PLAIN(METRIC_VALIDATION_DISCREPANCIES, "validation_discrepancies_total", "Discrepancies that validations found."),
    PLAIN(METRIC_VALIDATION_FIXES, "validation_fixes_total", "Positions mended by a validation."),
    PLAIN(METRIC_SNAPSHOTS, "snapshots_total", "Snapshots written."),
    PLAIN(METRIC_SNAPSHOTS_DELETED, "snapshots_deleted_total", "Snapshots deleted after their retention."),
};

const struct histogram_name histogram_names[HISTOGRAM_COUNT] = {
    {HISTOGRAM_COMMIT_SECONDS, "commit_duration_seconds", "Time from the begin of a transaction to its answer.", MICRO},
    {HISTOGRAM_COMMIT_ROWS, "commit_rows", "Positions written in one transaction.", 0},
    {HISTOGRAM_EVENT_VISIBLE_SECONDS, "event_visible_seconds", "Time from a delivery until readers see its effect.",
     MICRO},
    {HISTOGRAM_EVENT_ACKED_SECONDS, "event_acknowledged_seconds", "Time from a delivery to its acknowledgement.",
     MICRO},
    {HISTOGRAM_HTTP_SECONDS, "http_request_duration_seconds", "Time from a request to its answer.", MICRO},
};
