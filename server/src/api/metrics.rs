//! The numbers of `/v1/stats` in Prometheus' text format, version 0.0.4: a line each. The format is three
//! lines for a number, so a library for it would be larger than this.

use std::fmt::Write as _;

use serde_json::Value;

/// What Prometheus takes the text for.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number: its metric, whether it only grows from the start on, what it is, and which one of the stats;
/// milliseconds are told in seconds.
type Metric = (&'static str, bool, &'static str, &'static str);

const METRICS: [Metric; 22] = [
    ("quoth_uptime_seconds", false, "Time since the start.", "/uptime_ms"),
    ("quoth_connections", false, "Connections that are open.", "/connections"),
    ("quoth_connections_max", false, "Connections that may be open.", "/connections_max"),
    ("quoth_sessions", false, "Sessions that are signed in.", "/sessions"),
    ("quoth_users", false, "Users that are signed in.", "/users"),
    ("quoth_revocations", false, "Revocations of tokens in force.", "/revocations"),
    ("quoth_publishes_total", true, "Events that were stored.", "/publishes"),
    ("quoth_queued_publishes", false, "Publishes that wait to be stored.", "/queued_publishes"),
    ("quoth_queued_publishes_max", false, "Publishes that may wait.", "/queued_publishes_max"),
    ("quoth_log_position", false, "Position of the last group of the log.", "/log_position"),
    ("quoth_store_bytes", false, "What the store takes of the disk.", "/store_bytes"),
    ("quoth_view_bytes", false, "What the view takes of the disk.", "/view_bytes"),
    ("quoth_live_bytes", false, "Contents that are kept.", "/live_bytes"),
    ("quoth_expired_bytes", false, "Contents that are absent and take space still.", "/expired_bytes"),
    (
        "quoth_oldest_expired_timestamp_seconds",
        false,
        "When the oldest of these was stored, in seconds since 1970.",
        "/oldest_expired_ms",
    ),
    (
        "quoth_erased_bytes",
        false,
        "Revoked and erased contents that may be on the disk still.",
        "/erased_bytes",
    ),
    (
        "quoth_erased_gone_by_timestamp_seconds",
        false,
        "When all of these are gone at the latest, in seconds since 1970. Behind that they are overdue.",
        "/erased_gone_by_ms",
    ),
    ("quoth_reclaimed_windows_total", true, "Windows that were freed.", "/reclaimed_windows"),
    ("quoth_reclaimed_bytes_total", true, "What was freed of the disk.", "/reclaimed_bytes"),
    ("quoth_rewritten_bytes_total", true, "Rows that were written anew to free others.", "/rewritten_bytes"),
    ("quoth_damaged_conversations", false, "Conversations with damaged rows.", "/damaged_conversations"),
    (
        "quoth_outbox_backlog_bytes",
        false,
        "What hooks.events_url has not taken yet.",
        "/outbox/backlog_bytes",
    ),
];

/// What becomes of questions, as the stats name it.
const ANSWERS: [&str; 4] = ["allowed", "changed", "denied", "unanswered"];

/// The text. What is not known has no line.
pub(super) fn text(stats: &Value, outbox_fails: bool) -> String {
    let mut text = String::new();
    let mut add = |name: &str, only_grows: bool, help: &str, value: &dyn std::fmt::Display| {
        let kind = if only_grows { "counter" } else { "gauge" };
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    for (name, only_grows, help, pointer) in METRICS {
        let Some(value) = stats.pointer(pointer).and_then(Value::as_u64) else { continue };
        if pointer.ends_with("_ms") {
            add(name, only_grows, help, &format_args!("{}.{:03}", value / 1_000, value % 1_000));
        } else {
            add(name, only_grows, help, &value);
        }
    }
    if let Some(is_full) = stats["storage_full"].as_bool() {
        add(
            "quoth_storage_full",
            false,
            "1 while messages are refused until the disk has room for store.reserve_bytes again.",
            &u8::from(is_full),
        );
    }
    if stats["outbox"].is_object() {
        add(
            "quoth_outbox_failing",
            false,
            "1 while hooks.events_url does not take events.",
            &u8::from(outbox_fails),
        );
    }
    add_hooks(&mut text, &stats["hooks"]);
    text
}

/// One metric for all hooks, with labels for which one and for what became of its questions.
fn add_hooks(text: &mut String, hooks: &Value) {
    let name = "quoth_hook_questions_total";
    let configured = hooks.as_object().into_iter().flatten().filter(|(_, counts)| counts.is_object());
    for (at, (kind, counts)) in configured.enumerate() {
        if at == 0 {
            let help = "Questions of hooks.connect, hooks.join and hooks.publish.";
            let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        }
        for answer in ANSWERS {
            let count = counts[answer].as_u64().unwrap_or_default();
            let _infallible = writeln!(text, "{name}{{hook=\"{kind}\",answer=\"{answer}\"}} {count}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{METRICS, text};

    #[test]
    fn each_known_number_is_three_lines_with_a_name_of_its_own() {
        let stats = json!({
            "uptime_ms": 61_005, "publishes": 7, "live_bytes": null, "expired_bytes": 12,
            "storage_full": true,
            "outbox": { "backlog_bytes": 3, "failing": "down" },
            "hooks": { "connect": { "allowed": 1, "changed": 0, "denied": 2, "unanswered": 3 }, "join": null },
        });
        let expected = "# HELP quoth_uptime_seconds Time since the start.\n# TYPE quoth_uptime_seconds gauge\n\
                        quoth_uptime_seconds 61.005\n\
                        # HELP quoth_publishes_total Events that were stored.\n# TYPE quoth_publishes_total counter\n\
                        quoth_publishes_total 7\n\
                        # HELP quoth_expired_bytes Contents that are absent and take space still.\n\
                        # TYPE quoth_expired_bytes gauge\nquoth_expired_bytes 12\n\
                        # HELP quoth_outbox_backlog_bytes What hooks.events_url has not taken yet.\n\
                        # TYPE quoth_outbox_backlog_bytes gauge\nquoth_outbox_backlog_bytes 3\n\
                        # HELP quoth_storage_full 1 while messages are refused until the disk has room for \
                        store.reserve_bytes again.\n# TYPE quoth_storage_full gauge\nquoth_storage_full 1\n\
                        # HELP quoth_outbox_failing 1 while hooks.events_url does not take events.\n\
                        # TYPE quoth_outbox_failing gauge\nquoth_outbox_failing 1\n\
                        # HELP quoth_hook_questions_total Questions of hooks.connect, hooks.join and hooks.publish.\n\
                        # TYPE quoth_hook_questions_total counter\n\
                        quoth_hook_questions_total{hook=\"connect\",answer=\"allowed\"} 1\n\
                        quoth_hook_questions_total{hook=\"connect\",answer=\"changed\"} 0\n\
                        quoth_hook_questions_total{hook=\"connect\",answer=\"denied\"} 2\n\
                        quoth_hook_questions_total{hook=\"connect\",answer=\"unanswered\"} 3\n";
        assert_eq!(text(&stats, true), expected);
        let mut names: Vec<_> = METRICS.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for (name, only_grows, _, _) in METRICS {
            assert_eq!(name.ends_with("_total"), only_grows, "{name}");
        }
    }
}
