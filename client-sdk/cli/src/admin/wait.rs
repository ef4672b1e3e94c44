//! `quoth admin retention run --wait`: how far it is until it is done, and what was freed.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::api::Api;
use super::call::Call;
use crate::amount::{count, size};
use crate::output::printable;

/// Between two looks at how far it is.
const PAUSE: Duration = Duration::from_millis(300);

/// Waits until the pass has ended that was asked for; gives what has become of it. On the standard error
/// stands how far it is: in one line on a terminal, else in a line whenever it comes to something else.
pub(super) fn until_done(api: &Api, asked: &Value) -> anyhow::Result<Value> {
    let number = asked["run"].as_u64().unwrap_or_default();
    let (mut stderr, mut told) = (std::io::stderr(), String::new());
    let is_terminal = stderr.is_terminal();
    loop {
        let passes = api.send(&Call::get("/v1/retention/run".to_owned()))?;
        if passes["last"]["run"].as_u64().is_some_and(|last| last >= number) {
            if is_terminal {
                let _nobody_reads_it = stderr.write_all(b"\r\x1b[K");
            }
            return Ok(passes["last"].clone());
        }
        let running = &passes["running"];
        // Numbers begin anew with each start of the server.
        if running["run"].as_u64().is_some_and(|running| running > number || running + 1 < number) {
            bail!("the server was started anew meanwhile: run it again");
        }
        let text = progress(running, number);
        if is_terminal {
            let _nobody_reads_it = stderr.write_all(format!("\r{text}\x1b[K").as_bytes());
        } else if step(running) != told {
            step(running).clone_into(&mut told);
            let _nobody_reads_it = writeln!(stderr, "{text}");
        }
        std::thread::sleep(PAUSE);
    }
}

fn step(pass: &Value) -> &str {
    pass["step"].as_str().unwrap_or_default()
}

/// How far it is.
fn progress(running: &Value, number: u64) -> String {
    if running["run"] != number {
        return format!("run {number} begins");
    }
    let does = match step(running) {
        "windows" => "freeing windows of which everything is gone",
        "rewrite" => "copying what stays beside what is gone",
        "log" => "freeing the log",
        "sweep" => "looking for edits and reactions of messages that are gone",
        "purge" => "taking these from the disk",
        _ => "looking how much is gone",
    };
    format!("run {number}: {does}; {}, {} moved", freed(running), bytes(&running["moved_bytes"]))
}

fn freed(pass: &Value) -> String {
    let windows = pass["windows"].as_u64().unwrap_or_default();
    format!("{} and {} of the disk freed", count(windows, "window"), bytes(&pass["bytes"]))
}

fn bytes(told: &Value) -> String {
    size(told.as_u64().unwrap_or_default())
}

/// What has become of a pass, for people.
pub(super) fn done(pass: &Value) -> String {
    let ms = |name: &str| pass[name].as_u64().unwrap_or_default();
    let took_ms = ms("ended_ms").saturating_sub(ms("begun_ms"));
    let ends = pass["error"]
        .as_str()
        .map_or_else(String::new, |error| format!("not all of it: {}\n", printable(error)));
    format!("{}, in {}.{} s\n{ends}", freed(pass), took_ms / 1_000, took_ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{done, progress};

    #[test]
    fn how_far_it_is_and_what_was_freed_are_lines() {
        let pass = |step: &str| {
            json!({ "run": 7, "step": step, "windows": 1, "bytes": 1_536, "moved_bytes": 5 << 20, "begun_ms": 1_000,
                    "ended_ms": 3_250, "error": null })
        };
        assert_eq!(progress(&pass("windows"), 8), "run 8 begins");
        assert_eq!(progress(&json!(null), 8), "run 8 begins");
        assert_eq!(
            progress(&pass("rewrite"), 7),
            "run 7: copying what stays beside what is gone; 1 window and 1.5 KiB of the disk freed, 5.0 MiB moved"
        );
        let does = |step| progress(&pass(step), 7).split(';').next().map(str::to_owned);
        let sweeps = "run 7: looking for edits and reactions of messages that are gone";
        assert_eq!(does("sweep").as_deref(), Some(sweeps));
        assert_eq!(does("purge").as_deref(), Some("run 7: taking these from the disk"));
        assert_eq!(done(&pass("done")), "1 window and 1.5 KiB of the disk freed, in 2.2 s\n");
        let failed =
            json!({ "windows": 0, "bytes": 0, "begun_ms": 0, "ended_ms": 0, "error": "no\u{7} room" });
        assert_eq!(
            done(&failed),
            "0 windows and 0 B of the disk freed, in 0.0 s\nnot all of it: no\\u{7} room\n"
        );
    }
}
