//! How long conversations are kept, from the terminal.

use anyhow::{Context as _, ensure};
use quoth_tests::http::Api;
use serde_json::{Value, json};

use super::{Terminal, admin, done};

/// `quoth admin retention …`: its answer and its notes. Behind a preview that took long there is a rest.
fn retention(terminal: &Terminal, form: &[&str], line: &[&str]) -> anyhow::Result<(String, String)> {
    let mut tries = 0..1_000;
    loop {
        let output = admin(&[&terminal.here()[..], form].concat(), &[&["retention"], line].concat())?;
        let notes = String::from_utf8(output.stderr)?;
        if !notes.starts_with("error: overloaded") || tries.next().is_none() {
            ensure!(output.status.success(), "{line:?}: {notes}");
            return Ok((String::from_utf8(output.stdout)?, notes));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The same as JSON.
fn retention_json(terminal: &Terminal, line: &[&str]) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&retention(terminal, &["--json"], line)?.0)?)
}

/// What it says beside its answer.
fn noted(terminal: &Terminal, line: &[&str]) -> anyhow::Result<String> {
    Ok(retention(terminal, &[], line)?.1)
}

/// How the room is kept: count, whether it is its own, floor and whether it is held.
fn kept(terminal: &Terminal) -> anyhow::Result<(Option<u64>, bool, Option<u64>, bool)> {
    let kept = retention_json(terminal, &["show", "room"])?;
    let is_held = kept["hold_ms"].as_u64().context("when it was held")? > 0;
    Ok((kept["retention"]["count"].as_u64(), kept["own"] == true, kept["floor"].as_u64(), is_held))
}

/// Of the room's twelve seqs four are there, which its class allows.
fn assert_planned_and_freed(terminal: &Terminal) -> anyhow::Result<()> {
    let json = |line: &[&str]| retention_json(terminal, line);
    let lost = json!({ "conversation": "room", "events": 8, "bytes": null, "next_ms": null });
    let of_room = |told: &Value| {
        let mut first = told["conversations"][0].clone();
        ensure!(first["bytes"].as_u64() > Some(0), "{told}");
        first["bytes"] = Value::Null;
        Ok(first)
    };
    let plan = json(&["plan"])?;
    ensure!(plan["windows"].as_array().is_some_and(|windows| !windows.is_empty()), "{plan}");
    assert_eq!(of_room(&plan)?, lost);
    assert!(done(&terminal.here(), &["retention", "plan"])?.contains("\nroom "), "it is named");
    let status = json(&["status"])?;
    assert_eq!(status["expired_bytes"], plan["expired_bytes"]);
    let four = json(&["preview", "four:*:count=4"])?;
    assert_eq!((&four["affected"], &four["events"]), (&json!(0), &json!(0)), "{four}");
    let two = json(&["preview", "four:other:count=4", "two:room*:count=2"])?;
    assert_eq!(
        (&two["affected"], &two["events"], &of_room(&two)?["events"]),
        (&json!(1), &json!(2), &json!(2))
    );
    let used =
        |class: &str, conversations: u64| json!({ "class": class, "conversations": conversations, "own": 0 });
    assert_eq!(two["classes"], json!([used("four:other:count=4", 0), used("two:room*:count=2", 1)]));
    let told = noted(terminal, &["preview", "four:other:count=4", "two:room*:count=2"])?;
    ensure!(told.contains("no conversation is of the class four:other:count=4"), "{told}");
    let alike = admin(&terminal.here(), &["retention", "preview", "a:*:count=1", "a:*:count=2"])?;
    assert!(
        alike.status.code() == Some(1) && String::from_utf8(alike.stderr)?.contains("two classes are called")
    );
    assert_eq!(kept(terminal)?, (Some(5), false, Some(9), false), "nothing is changed");
    let odd = admin(&terminal.here(), &["retention", "preview", "rooms:room*:age=2"])?;
    assert!(odd.status.code() == Some(1) && String::from_utf8(odd.stderr)?.contains("age_s"));
    ensure!(json(&["run"])?["run"].as_u64().is_some(), "it has a number");
    let freed = json(&["run", "--wait"])?;
    assert_eq!((&freed["step"], &freed["error"]), (&json!("done"), &Value::Null), "{freed}");
    assert_eq!(json(&["status"])?["expired_bytes"], json!(0), "its space is freed");
    // What is said beforehand.
    let early = admin(&terminal.here(), &["retention", "hold", "room-2"])?;
    let told = String::from_utf8(early.stderr)?;
    assert!(early.status.success() && told.contains("from a first message on"), "{told}");
    ensure!(json(&["show", "room-2"])?["hold_ms"].as_u64() > Some(0), "it is held");
    let back = noted(terminal, &["release", "room-2"])?;
    ensure!(back.contains("nothing is set for it any more") && !back.contains("first message on"), "{back}");
    Ok(())
}

#[test]
fn how_conversations_are_kept_is_shown_set_held_and_freed() -> anyhow::Result<()> {
    let terminal = Terminal::start(&["--set", "retention.classes=rooms:room*:count=5"])?;
    let api = Api::told(&terminal.server.client_file()?)?;
    let publish = |count: u64| -> anyhow::Result<()> {
        for _ in 0..count {
            api.done("POST", "/v1/publish", Some(&json!({ "conversation": "room", "text": "some words" })))?;
        }
        Ok(())
    };
    let json = |line: &[&str]| retention_json(&terminal, line);
    let shown = || kept(&terminal);
    let unknown = admin(&terminal.here(), &["retention", "show", "room"])?;
    assert_eq!(unknown.status.code(), Some(1), "nothing is there");
    publish(8)?;
    assert_eq!(shown()?, (Some(5), false, Some(4), false));
    let preview = json(&["set", "room", "--count", "3", "--dry-run"])?;
    assert_eq!((&preview["floor_then"], &preview["events"]), (&json!(7), &json!(3)));
    assert_eq!(shown()?, (Some(5), false, Some(4), false), "a dry run sets nothing");
    assert_eq!(json(&["set", "room", "--count", "3"])?["seq"], json!(9));
    assert_eq!(shown()?, (Some(3), true, Some(7), false));
    json(&["hold", "room"])?;
    publish(2)?;
    assert_eq!(shown()?, (Some(3), true, Some(7), true));
    // What goes when a hold ends is told before, by whatever is set meanwhile, and behind it.
    let of = |told: &Value| {
        let number = |name: &str| told[name].as_u64();
        (number("events"), number("held_events"))
    };
    let ends = json(&["release", "room", "--dry-run"])?;
    assert_eq!((of(&ends), &ends["floor_then"]), ((Some(2), Some(0)), &json!(9)), "{ends}");
    let one = json(&["set", "room", "--count", "1", "--dry-run"])?;
    assert_eq!(of(&one), (Some(0), Some(5)), "with what says so: {one}");
    assert_eq!(of(&json(&["set", "room", "--count", "3"])?), (Some(0), Some(2)), "it is set already");
    assert_eq!(shown()?, (Some(3), true, Some(7), true), "nothing was changed");
    let told = noted(&terminal, &["set", "room", "--count", "2", "--dry-run"])?;
    ensure!(
        told.contains("it is held, and nothing goes until the hold ends; then, as of now, 4 events ("),
        "{told}"
    );
    let released = json(&["release", "room"])?;
    assert_eq!((of(&released), &released["hold_ms"]), ((Some(2), Some(0)), &json!(0)), "{released}");
    assert_eq!(shown()?, (Some(3), true, Some(9), false));
    let back = json(&["set", "room", "--by-class", "--dry-run"])?;
    assert_eq!((of(&back), &back["own"]), ((Some(0), Some(0)), &json!(false)), "{back}");
    assert_eq!(json(&["set", "room", "--by-class"])?["seq"], json!(12));
    assert_eq!(shown()?, (Some(5), false, Some(9), false), "what is gone stays so");
    assert_planned_and_freed(&terminal)
}
