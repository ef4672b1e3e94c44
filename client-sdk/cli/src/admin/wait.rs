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

/// What has become of the pass of a number; `None`: it has not ended. Others may have ended behind it.
fn outcome(passes: &Value, number: u64) -> anyhow::Result<Option<Value>> {
    let run = |pass: &Value| pass["run"].as_u64();
    let ended = passes["ended"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(own) = ended.iter().find(|pass| run(pass) == Some(number)) {
        return Ok(Some(own.clone()));
    }
    let running = run(&passes["running"]);
    // Numbers begin anew with each start of the server, which knows the last few.
    let is_behind = ended.iter().filter_map(run).chain(running).any(|run| run > number);
    if is_behind || running.is_some_and(|running| running + 1 < number) {
        bail!(
            "what became of run {number} is not known: the server was started anew meanwhile, or many others have ended behind it"
        );
    }
    Ok(None)
}

/// Waits until the pass has ended that was asked for; gives what has become of it. On the standard error
/// stands how far it is: in one line on a terminal, else in a line whenever it comes to something else.
pub(super) fn until_done(api: &Api, asked: &Value) -> anyhow::Result<Value> {
    let number = asked["run"].as_u64().unwrap_or_default();
    let (mut stderr, mut told) = (std::io::stderr(), String::new());
    let is_terminal = stderr.is_terminal();
    loop {
        let passes = api.send(&Call::get("/v1/retention/run".to_owned()))?;
        if let Some(own) = outcome(&passes, number)? {
            if is_terminal {
                let _nobody_reads_it = stderr.write_all(b"\r\x1b[K");
            }
            return Ok(own);
        }
        let running = &passes["running"];
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

    use super::{done, outcome, progress};

    /// Two who ask at once have one run behind the other, and the first one may look when both have ended.
    #[test]
    fn each_is_told_of_its_own_run_whatever_has_ended_behind_it() {
        let pass = |run: u64, error: Option<&str>| json!({ "run": run, "windows": run, "error": error });
        let passes = |running: Option<u64>, ended: &[u64]| {
            let ended: Vec<_> =
                ended.iter().map(|run| pass(*run, (*run == 28).then_some("no room"))).collect();
            json!({ "running": running.map(|run| pass(run, None)), "ended": ended })
        };
        let told = |passes, number| outcome(&passes, number).map_err(|error| error.to_string());
        for (running, ended) in
            [(None, &[28][..]), (Some(29), &[28, 26]), (None, &[29, 28]), (Some(31), &[30, 29, 28])]
        {
            assert_eq!(told(passes(running, ended), 28), Ok(Some(pass(28, Some("no room")))), "{ended:?}");
        }
        assert_eq!(told(passes(None, &[29, 28]), 29), Ok(Some(pass(29, None))));
        for (running, ended) in [(None, &[][..]), (None, &[27]), (Some(27), &[]), (Some(28), &[27])] {
            assert_eq!(told(passes(running, ended), 28), Ok(None), "{running:?} {ended:?}");
        }
        for (running, ended) in [(Some(29), &[][..]), (None, &[60, 59]), (Some(1), &[])] {
            told(passes(running, ended), 28).unwrap_err();
        }
    }

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
