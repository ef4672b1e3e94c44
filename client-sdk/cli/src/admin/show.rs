//! Answers as people read them. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr as _;

use super::call::END_OF_TIME_MS;
use crate::amount::count;
use crate::clock::{date, time};
use crate::output::printable;

/// What is between two columns.
const GAP: &str = "  ";

/// Columns that stand first, in this order: what a row is about. The others follow by their names.
const FIRST_COLUMNS: [&str; 6] = ["seq", "conversation", "user", "device", "token_id", "title"];

/// An answer as text: a line for each field, and a table for each list.
pub(super) fn text(answer: &Value) -> String {
    let Some(fields) = answer.as_object() else { return format!("{answer}\n") };
    let fields_count = fields.len();
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
            let _infallible = writeln!(out, "{}", none(name));
        } else if rows.iter().all(Value::is_string) {
            let _infallible = writeln!(out, "{}:", label(name));
            for text in rows.iter().filter_map(Value::as_str) {
                let _infallible = writeln!(out, "{GAP}{}", printable(text));
            }
        } else {
            out.push_str(&table(rows));
        }
    }
    if single.iter().any(|(name, value)| *name == "more" && **value == Value::Bool(true) && fields_count <= 4)
    {
        out.push_str("there are more\n");
    }
    out
}

fn table(rows: &[Value]) -> String {
    let none = Map::new();
    let rows: Vec<_> = rows.iter().map(|row| row.as_object().unwrap_or(&none)).collect();
    let mut names: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let place = |name: &str| FIRST_COLUMNS.iter().position(|first| *first == name);
    names.sort_by_key(|name| place(name).unwrap_or(FIRST_COLUMNS.len()));
    let head = names.iter().map(|name| label(name)).collect();
    let cells = rows.iter().map(|row| names.iter().map(|name| cell(name, &row[name.as_str()])).collect());
    aligned(&std::iter::once(head).chain(cells).collect::<Vec<Vec<String>>>())
}

/// What is said of a list with nothing in it.
fn none(name: &str) -> String {
    match name {
        "owner_of" => "last owner of nothing".to_owned(),
        "skipped" => "nothing skipped".to_owned(),
        "erasures" => "no erasure is unfinished".to_owned(),
        _ => format!("no {}", label(name)),
    }
}

/// A field's name for people: times are shown as such, so their unit is left out, and their zone is told.
fn label(name: &str) -> String {
    let spaced = |name: &str| name.replace('_', " ");
    if name == "owner_of" {
        "last owner of".to_owned()
    } else if is_time(name) {
        format!("{} (UTC)", spaced(name.trim_end_matches("_ms")))
    } else {
        spaced(name)
    }
}

/// Whether a field is a time since 1970, and no length of time.
fn is_time(name: &str) -> bool {
    name.ends_with("_ms") && !name.ends_with("interval_ms") && !name.ends_with("uptime_ms")
}

fn cell(name: &str, value: &Value) -> String {
    match value {
        // Of what has no age, and of what is kept for ever.
        Value::Null if ["goes_ms", "next_ms"].contains(&name) => "not by age".to_owned(),
        Value::Null => "-".to_owned(),
        Value::Bool(is_closed) if name == "closed" => if *is_closed { "yes" } else { "not yet" }.to_owned(),
        Value::String(class) if name == "kept_for" => class.replace('_', " "),
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
        Value::Object(fields) if name == "retention" => bounds(fields),
        Value::Object(fields) if fields.values().all(|value| !value.is_object() && !value.is_array()) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{} {}", label(name), cell(name, value))).collect();
            fields.join(", ")
        }
        other => printable(&other.to_string()),
    }
}

/// How long something is kept.
fn bounds(fields: &Map<String, Value>) -> String {
    let bound = |name: &str| fields.get(name).and_then(Value::as_u64).filter(|bound| *bound > 0);
    let age = bound("age_s").map(|s| match s {
        _ if s % 86_400 == 0 => format!("{} d", s / 86_400),
        _ if s % 3_600 == 0 => format!("{} h", s / 3_600),
        _ => format!("{s} s"),
    });
    let last = |number, what| match number {
        1 => format!("the last {what}"),
        _ => format!("the last {}", count(number, what)),
    };
    let events = bound("count").map(|number| last(number, "event"));
    let bytes = bound("bytes").map(|number| format!("{} of contents", last(number, "byte")));
    let told: Vec<_> = [age, events, bytes].into_iter().flatten().collect();
    if told.is_empty() { "for ever".to_owned() } else { told.join(", ") }
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

    use super::text;

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
            "user       last seen (UTC)   role\nboss       -                 owner\n\\u{202e}x  2004-12-25 18:40  member\nthere are more\n"
        );
        assert_eq!(text(&json!({ "sessions": [] })), "no sessions\n");
        let texts = json!({ "state": "gone", "stays": ["this", "that\u{7}"] });
        assert_eq!(text(&texts), "state  gone\nstays:\n  this\n  that\\u{7}\n");
        assert_eq!(text(&json!({ "conversation": "a", "seq": 7 })), "conversation  a\nseq           7\n");
    }

    #[test]
    fn what_is_in_a_field_is_told_without_json() {
        let kept = |age_s: u64, count: u64, bytes: u64| {
            text(&json!({ "own": true, "retention": { "age_s": age_s, "count": count, "bytes": bytes } }))
        };
        assert_eq!(kept(0, 0, 0), "own        true\nretention  for ever\n");
        assert!(kept(2_592_000, 5, 0).contains("retention  30 d, the last 5 events\n"));
        assert!(kept(7_200, 0, 9).contains("2 h, the last 9 bytes of contents\n"));
        let status =
            json!({ "erased": { "events": 2, "since_ms": 1_104_000_000_000_u64, "gone_by_ms": null } });
        assert_eq!(text(&status), "erased  events 2, gone by (UTC) -, since (UTC) 2004-12-25 18:40\n");
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
        assert_eq!(text(&state), "seq  edited   reactions\n1    ho\\u{7}  +1 2\n");
    }
}
