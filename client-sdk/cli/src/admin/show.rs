//! Answers as people read them. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr as _;

use super::call::END_OF_TIME_MS;
use crate::clock::{date, time};
use crate::output::printable;

/// What is between two columns.
const GAP: &str = "  ";

/// An answer as text: a line for each field, and a table for each list.
pub(super) fn text(answer: &Value) -> String {
    let Some(fields) = answer.as_object() else { return format!("{answer}\n") };
    let count = fields.len();
    // The last page has no next one, of which nobody needs to be told.
    let fields = fields.iter().filter(|(name, value)| !(*name == "next" && value.is_null()));
    let (lists, single): (Vec<_>, Vec<_>) = fields.partition(|(_, value)| value.is_array());
    let mut out = String::new();
    if lists.is_empty() || single.iter().any(|(name, _)| *name != "more") {
        let rows: Vec<_> = single.iter().map(|(name, value)| vec![label(name), cell(name, value)]).collect();
        out.push_str(&aligned(&rows));
    }
    for (name, list) in lists {
        let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            let _infallible = writeln!(out, "no {}", label(name));
        } else if rows.iter().all(Value::is_string) {
            let _infallible = writeln!(out, "{}:", label(name));
            for text in rows.iter().filter_map(Value::as_str) {
                let _infallible = writeln!(out, "{GAP}{}", printable(text));
            }
        } else {
            out.push_str(&table(rows));
        }
    }
    if single.iter().any(|(name, value)| *name == "more" && **value == Value::Bool(true) && count <= 4) {
        out.push_str("there are more\n");
    }
    out
}

/// What else is to be said of a page of history where nothing ever was: any name may be asked for, also one
/// with a slip in it.
pub(super) fn emptiness(answer: &Value) -> Option<&'static str> {
    let is_empty = answer["events"].is_array() && answer["head"] == 0;
    is_empty.then_some(
        "nothing was ever said there: `quoth admin conversation list` shows which conversations there are",
    )
}

fn table(rows: &[Value]) -> String {
    let none = Map::new();
    let rows: Vec<_> = rows.iter().map(|row| row.as_object().unwrap_or(&none)).collect();
    let names: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let head = names.iter().map(|name| label(name)).collect();
    let cells = rows.iter().map(|row| names.iter().map(|name| cell(name, &row[name.as_str()])).collect());
    aligned(&std::iter::once(head).chain(cells).collect::<Vec<Vec<String>>>())
}

/// A field's name for people: times are shown as such, so their unit is left out, and their zone is told.
fn label(name: &str) -> String {
    let spaced = |name: &str| name.replace('_', " ");
    if is_time(name) { format!("{} (UTC)", spaced(name.trim_end_matches("_ms"))) } else { spaced(name) }
}

/// Whether a field is a time since 1970, and no length of time.
fn is_time(name: &str) -> bool {
    name.ends_with("_ms") && !name.ends_with("interval_ms") && !name.ends_with("uptime_ms")
}

fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Number(number) if is_time(name) => match number.as_u64() {
            Some(0) | None => "-".to_owned(),
            Some(END_OF_TIME_MS..) => "for ever".to_owned(),
            Some(time_ms) => format!("{} {}", date(time_ms), time(time_ms)),
        },
        Value::Object(fields) if fields.len() == 1 && name == "kind" => {
            match fields.get("message").map(|message| &message["body"]) {
                Some(Value::String(text)) => printable(text),
                _ => printable(&value.to_string()),
            }
        }
        Value::Object(fields) if name == "edited" => match fields.get("body") {
            Some(Value::String(text)) => printable(text),
            _ => printable(&value.to_string()),
        },
        Value::Array(reactions) if name == "reactions" => {
            let one = |reaction: &Value| {
                let text = reaction["reaction"].as_str().unwrap_or_default();
                format!("{} {}", printable(text), reaction["count"])
            };
            reactions.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => printable(&other.to_string()),
    }
}

/// Rows in columns as wide as what is in them; lines end with their last cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let fill = " ".repeat(width - cell.width());
            let _infallible = write!(line, "{cell}{fill}{GAP}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{emptiness, text};

    #[test]
    fn a_history_without_anything_is_told() {
        let page = |head: u64| json!({ "events": [], "gaps": [], "head": head });
        assert!(emptiness(&page(0)).is_some_and(|told| told.contains("conversation list")));
        assert_eq!(emptiness(&page(3)), None, "it is gone");
        assert_eq!(emptiness(&json!({ "conversation": "a", "head": 0 })), None);
    }

    #[test]
    fn fields_are_lines_and_lists_are_tables() {
        let stats = json!({ "connections": 12, "uptime_ms": 5, "outbox": null });
        assert_eq!(text(&stats), "connections  12\noutbox       -\nuptime ms    5\n");
        let members = json!({ "members": [
            { "last_seen_ms": 0, "role": "owner", "user": "boss" },
            { "last_seen_ms": 1_104_000_000_000_u64, "role": "member", "user": "\u{202e}x" },
        ], "more": true });
        assert_eq!(
            text(&members),
            "last seen (UTC)   role    user\n-                 owner   boss\n2004-12-25 18:40  member  \\u{202e}x\nthere are more\n"
        );
        assert_eq!(text(&json!({ "sessions": [] })), "no sessions\n");
        let texts = json!({ "state": "gone", "stays": ["this", "that\u{7}"] });
        assert_eq!(text(&texts), "state  gone\nstays:\n  this\n  that\\u{7}\n");
        assert_eq!(text(&json!({ "conversation": "a", "seq": 7 })), "conversation  a\nseq           7\n");
    }

    #[test]
    fn a_message_is_shown_as_its_text() {
        let page = json!({ "events": [{ "kind": { "message": { "body": "hi\u{7}" } }, "seq": 1 }, { "kind": "invitations_revoked", "seq": 2 },
                                      { "kind": { "revoked": { "seq": 1 } }, "seq": 3 }],
                           "floor": 1, "head": 2, "more": false });
        let shown = text(&page);
        assert!(shown.contains("hi\\u{7}") && shown.contains("invitations_revoked"), "{shown}");
        assert!(shown.contains("revoked\":{\"seq\":1}"), "{shown}");
        let state = json!({ "states": [{ "edited": { "body": "ho\u{7}", "seq": 4 },
                                         "reactions": [{ "count": 2, "mine": false, "reaction": "+1" }], "seq": 1 }] });
        assert_eq!(text(&state), "edited   reactions  seq\nho\\u{7}  +1 2       1\n");
    }
}
