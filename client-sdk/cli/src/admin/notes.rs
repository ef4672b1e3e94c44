//! What else is to be said of an answer: what follows from it, what has to be done still, and what is not what
//! was hoped for, since any name may be asked for, also one with a slip in it. Pure.

use serde_json::Value;

use crate::amount::events;
use crate::output::printable;

/// What is said behind an answer, a line each.
///
/// `ends_hold`: whether a hold ends by it, or would.
pub(super) fn notes(answer: &Value, ends_hold: bool) -> Vec<String> {
    if answer["held_events"].is_u64() {
        return of_retention(answer, ends_hold);
    }
    if answer["affected"].is_u64() {
        return of_classes(answer);
    }
    if answer["stays"].is_array() {
        return of_erasure(answer).into_iter().collect();
    }
    if answer["windows"].as_array().is_some_and(|windows| !windows.is_empty()) {
        return vec![
            "a window goes as a whole, once it is closed and all of it is gone by age; of other windows what is gone is freed when \
             they are rewritten, which `quoth admin retention run` does at once"
                .to_owned(),
        ];
    }
    if answer["erasures"].as_array().is_some_and(|users| !users.is_empty()) {
        return vec![
            "`quoth admin user erasure USER` says how far an erasure is, and what it waits for".to_owned(),
        ];
    }
    of_others(answer).into_iter().collect()
}

fn of_others(answer: &Value) -> Option<String> {
    if answer["events"].is_array() && answer["head"] == 0 {
        let told = "nothing was ever said there: `quoth admin conversation list` shows which conversations there are";
        return Some(told.to_owned());
    }
    if let Some(run) = answer["run"].as_u64().filter(|_| answer["step"].is_null()) {
        return Some(format!(
            "run {run} does it, or has done it already: `--wait` says at its end what was freed"
        ));
    }
    if answer["lifted"] == false {
        return Some("nothing of that was revoked: `quoth admin revocations` shows what is".to_owned());
    }
    let is_change = answer["conversation"].is_string() || answer["whom"].is_string();
    (is_change && has_changed_nothing(answer)).then(|| "nothing had to change: it is so already".to_owned())
}

/// Whether an answer says that it was so before.
pub(super) fn has_changed_nothing(answer: &Value) -> bool {
    answer["seq"] == 0 && answer["time_ms"] == 0
}

/// Of what is set of how a conversation is kept, or would be.
fn of_retention(answer: &Value, ends_hold: bool) -> Vec<String> {
    let number = |name: &str| answer[name].as_u64().unwrap_or_default();
    let amount = |what: &str, bytes: &str| events(number(what), number(bytes));
    let (gone, held) = (number("events"), number("held_events"));
    let (is_held, is_used) = (number("hold_ms") > 0, number("head") > 0);
    let is_set = is_held || answer["own"] == true;
    let is_preview = answer["floor_then"].is_u64();
    // A hold keeps it as well, and no floor tells how much of it there is.
    let besides = match ends_hold {
        true => {
            ", and besides what was sent with a time of its own (--expires) and is past that, which is not counted"
        }
        false => "",
    };
    let mut notes = Vec::new();
    match (is_preview, is_used) {
        (true, false) => {
            notes.push("nothing was changed, and nothing was ever said there: is the name right?".to_owned());
            return notes;
        }
        (false, _) if has_changed_nothing(answer) => {
            notes.push("nothing had to change: it is so already".to_owned());
        }
        (false, false) if is_set => notes.push(
            "nothing was ever said there, so nothing is kept by that yet: what is set counts from a first message on; is the name right?"
                .to_owned(),
        ),
        (false, false) => notes.push("nothing is set for it any more; nothing was ever said there".to_owned()),
        (true, true) if gone > 0 => {
            notes.push(format!("{} would be gone for good by that{besides}", amount("events", "bytes")));
        }
        (false, true) if gone > 0 => {
            notes.push(format!("gone for good by that: {}{besides}", amount("events", "bytes")));
        }
        (_, true) if ends_hold => notes.push(
            "nothing goes by how long it is kept; what was sent with a time of its own (--expires) and is past that goes by the end of \
             the hold, and is not counted"
                .to_owned(),
        ),
        (_, true) if !is_held => notes.push("nothing that is there goes by that".to_owned()),
        (_, true) => {}
    }
    if is_used && is_held {
        notes.push(match held {
            0 => "it is held: nothing goes until the hold ends".to_owned(),
            _ => format!(
                "it is held, and nothing goes until the hold ends; then, as of now, {}: `quoth admin retention release --dry-run` \
                 says it anew",
                amount("held_events", "held_bytes")
            ),
        });
    }
    if is_preview {
        notes
            .push("nothing was changed: without --dry-run it is, and what is gone by it stays so".to_owned());
    }
    notes
}

/// Of classes that are tried.
fn of_classes(answer: &Value) -> Vec<String> {
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    let classes = answer["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unused = classes.iter().filter(|class| number(class, "conversations") == 0);
    let mut notes: Vec<_> = unused
        .map(|class| {
            format!(
                "no conversation is of the class {}: none has a name that it fits and no class before it does; is it written right?",
                printable(class["class"].as_str().unwrap_or_default())
            )
        })
        .collect();
    match number(answer, "own") {
        0 => {}
        own => notes.push(format!(
            "{own} of these have a retention of their own (`quoth admin retention show`): no class takes anything there"
        )),
    }
    if number(answer, "held") > 0 {
        notes
            .push("what is held goes when its hold ends, by the classes that are configured then".to_owned());
    }
    notes.push(
        "nothing was changed: what a start with these classes takes stays away, whatever is configured later"
            .to_owned(),
    );
    notes
}

/// Of how far the erasure of a user is.
fn of_erasure(answer: &Value) -> Option<String> {
    let user = printable(answer["user"].as_str().unwrap_or_default());
    match answer["state"].as_str() {
        Some("under_way" | "waiting") => {
            Some(format!("it goes on: `quoth admin user erasure {user}` says how far it is"))
        }
        Some("last_owner") => {
            let first = answer["owner_of"][0].as_str().unwrap_or_default();
            Some(format!(
                "not finished: {user} is still there as the last owner; `quoth admin member set {} OTHER --role owner` makes somebody else \
                 owner, of each of these, and `quoth admin user erase {user}` ends it then",
                printable(first)
            ))
        }
        Some(_) if answer["found"] == false && answer["earlier"].is_object() => {
            Some(format!("nothing of {user} was found since the last time: `earlier` has what went before"))
        }
        Some(_) if answer["found"] == false => Some(format!("nothing of {user} was found: is the id right?")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::notes;

    fn told(answer: &serde_json::Value) -> String {
        notes(answer, false).join("\n")
    }

    /// What has a time of its own goes by the end of a hold, so nobody is told that nothing does.
    #[test]
    fn the_end_of_a_hold_says_what_is_not_counted() {
        let of = |events: u64, is_preview: bool| {
            let mut answer = json!({ "head": 9, "own": false, "hold_ms": 0, "events": events, "bytes": 10, "held_events": 0,
                                     "held_bytes": 0, "conversation": "a", "seq": 0, "time_ms": 5 });
            if is_preview {
                answer["floor_then"] = json!(1);
            }
            answer
        };
        for (answer, begins) in [
            (of(0, false), "nothing goes by how long it is kept; "),
            (of(0, true), "nothing goes by how long it is kept; "),
            (of(1, false), "gone for good by that: 1 event (10 B), and besides "),
            (of(1, true), "1 event (10 B) would be gone for good by that, and besides "),
        ] {
            let ends = notes(&answer, true).join("\n");
            assert!(
                ends.starts_with(begins) && ends.contains("--expires") && ends.contains("is not counted"),
                "{ends}"
            );
            assert!(!told(&answer).contains("--expires"), "no hold ends by it");
        }
    }

    #[test]
    fn who_is_not_erased_yet_can_be_asked_for() {
        let of = |erasures: &[&str]| told(&json!({ "erasures": erasures, "live_bytes": 1 }));
        assert!(of(&["carol"]).contains("`quoth admin user erasure USER`"));
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn a_history_without_anything_is_told() {
        let page = |head: u64| json!({ "events": [], "gaps": [], "head": head });
        assert!(told(&page(0)).contains("conversation list"));
        assert_eq!(told(&page(3)), "", "it is gone");
    }

    #[test]
    fn what_changes_nothing_is_told() {
        assert!(told(&json!({ "lifted": false })).contains("nothing of that was revoked"));
        assert_eq!(told(&json!({ "lifted": true })), "");
        let done = |seq: u64, time_ms: u64| json!({ "conversation": "a", "seq": seq, "time_ms": time_ms });
        assert!(told(&done(0, 0)).contains("nothing had to change"));
        assert_eq!((told(&done(7, 5)), told(&done(0, 5))), (String::new(), String::new()));
    }

    #[test]
    fn what_goes_by_a_retention_or_with_a_hold_is_told() {
        let of = |head: u64, own: bool, hold_ms: u64, events: u64, held_events: u64| {
            json!({ "head": head, "own": own, "hold_ms": hold_ms, "events": events, "bytes": events * 10,
                    "held_events": held_events, "held_bytes": held_events * 10 })
        };
        let set = |mut of: serde_json::Value, time_ms: u64| {
            (of["conversation"], of["seq"], of["time_ms"]) = (json!("a"), json!(0), json!(time_ms));
            told(&of)
        };
        let previewed = |mut of: serde_json::Value| {
            of["floor_then"] = json!(1);
            told(&of)
        };
        for (told, expected) in [
            (set(of(9, true, 0, 0, 0), 5), "nothing that is there goes by that"),
            (set(of(9, true, 0, 3, 0), 5), "gone for good by that: 3 events (30 B)"),
            (set(of(9, true, 0, 0, 0), 0), "nothing had to change: it is so already"),
            (set(of(9, false, 7, 0, 0), 5), "it is held: nothing goes until the hold ends"),
            (
                set(of(9, true, 7, 0, 1), 5),
                "it is held, and nothing goes until the hold ends; then, as of now, 1 event (10 B): `quoth admin retention release \
                 --dry-run` says it anew",
            ),
            (
                set(of(0, true, 0, 0, 0), 5),
                "nothing was ever said there, so nothing is kept by that yet: what is set counts from a first message on; is the name \
                 right?",
            ),
            (
                set(of(0, false, 7, 0, 0), 5),
                "nothing was ever said there, so nothing is kept by that yet: what is set counts from a first message on; is the name \
                 right?",
            ),
            (set(of(0, false, 0, 0, 0), 5), "nothing is set for it any more; nothing was ever said there"),
            (
                previewed(of(9, true, 0, 3, 0)),
                "3 events (30 B) would be gone for good by that\nnothing was changed: without --dry-run it is, and what is gone by it \
                 stays so",
            ),
            (
                previewed(of(9, true, 7, 0, 3)),
                "it is held, and nothing goes until the hold ends; then, as of now, 3 events (30 B): `quoth admin retention release \
                 --dry-run` says it anew\nnothing was changed: without --dry-run it is, and what is gone by it stays so",
            ),
            (
                previewed(of(0, true, 0, 0, 0)),
                "nothing was changed, and nothing was ever said there: is the name right?",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn classes_that_fit_nothing_or_are_not_asked_are_told() {
        let loss = |conversations: u64, own: u64, held: u64| {
            let class = json!({ "class": "nomatch:zzz-*:count=1", "conversations": conversations });
            told(&json!({ "affected": 0, "own": own, "held": held, "classes": [class] }))
        };
        assert!(loss(0, 0, 0).starts_with("no conversation is of the class nomatch:zzz-*:count=1: "));
        assert!(loss(3, 0, 0).starts_with("nothing was changed"));
        assert!(loss(3, 2, 0).starts_with("2 of these have a retention of their own"));
        assert!(loss(3, 0, 1).starts_with("what is held goes when its hold ends"));
    }

    #[test]
    fn an_erasure_says_what_is_left_to_do() {
        let erasure = |state: &str, found: serde_json::Value| {
            told(
                &json!({ "user": "bob", "state": state, "found": found, "stays": [], "owner_of": ["g1", "g2"] }),
            )
        };
        assert!(erasure("under_way", json!(null)).contains("user erasure bob"));
        assert_eq!(erasure("absent", json!(false)), "nothing of bob was found: is the id right?");
        assert_eq!(erasure("gone", json!(true)), "");
        let again = json!({ "user": "bob", "state": "gone", "found": false, "stays": [], "earlier": { "messages": 3 } });
        assert!(told(&again).contains("`earlier`"), "who asks again has made no slip");
        let last = erasure("last_owner", json!(true));
        assert!(last.starts_with("not finished: bob is still there"), "{last}");
        assert!(
            last.contains("member set g1 OTHER --role owner") && last.contains("user erase bob"),
            "{last}"
        );
    }
}
