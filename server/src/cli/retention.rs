//! `retention plan`, `run` and `status`: on a data folder that no server has.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use clap::Subcommand;
use quoth_core::retention::Classes;
use quoth_protocol::ConversationName;
use quoth_store::{Options, Record, Store, View};

use super::print;
use crate::config::Config;
use crate::engine::retention::marks_in;
use crate::engine::{Clock as _, Overview, SystemClock, WindowPlan, overview};
use crate::retention::{adopt, commit, notice};

/// Conversations between two looks at the terminal.
const PROGRESS_CONVERSATIONS: u64 = 256;

/// What to do about what is absent.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum RetentionCommand {
    /// Say which windows go, and when; change nothing that a start would not
    ///
    /// Of a running server: GET /v1/retention
    Plan,
    /// Free the space of windows of which everything is absent
    ///
    /// A running server does it by itself every minute, and at once for POST /v1/retention/run
    Run,
    /// Say how many bytes are live, and how many are absent and take space still
    ///
    /// Of a running server: GET /v1/retention
    Status,
}

pub(super) fn run(config: &Config, command: RetentionCommand) -> Result<(), String> {
    let options = Options {
        segment_bytes: config.log_segment_bytes,
        cache_bytes: config.view_cache_bytes,
        ..Options::new(config.data_dir.join("store"))
    };
    let store = Store::open(options).map_err(|error| error.to_string())?;
    let (classes, now_ms) = (Classes::new(config.retention.classes.clone()), SystemClock.unix_ms());
    adopt(&store, &classes, now_ms)?;
    let seen = |view: &dyn View| overview(view, &classes, now_ms).map_err(|error| error.to_string());
    match command {
        RetentionCommand::Plan => print(&plan(&seen(&*store.view)?, &classes, now_ms))?,
        RetentionCommand::Status => print(&status(&seen(&*store.view)?, &*store.view, now_ms))?,
        RetentionCommand::Run => {
            close_windows(&store, now_ms)?;
            let reclaimed = reclaim(&*store.view, &classes, now_ms)?;
            let (windows, bytes) = (reclaimed.windows, reclaimed.bytes);
            print(&format!("freed {windows} windows with {} of the disk\n", size(bytes)))?;
            print(&status(&seen(&*store.view)?, &*store.view, now_ms))?;
        }
    }
    store.close().map_err(|error| error.to_string())
}

/// Ends the windows whose time is over, as the server does: by a notice in the log.
fn close_windows(store: &Store, now_ms: u64) -> Result<(), String> {
    for class in store.view.overdue(now_ms) {
        commit(store, &[Record { class, ..notice(ConversationName::server(), now_ms, Vec::new()) }])?;
    }
    Ok(())
}

fn reclaim(view: &dyn View, classes: &Classes, now_ms: u64) -> Result<quoth_store::Reclaimed, String> {
    let is_terminal = std::io::stderr().is_terminal();
    let (mut all, mut done) = (0_u64, 0_u64);
    let counted = view.survey(&mut |_, _| {
        all += 1;
        Ok(())
    });
    counted.map_err(|error| error.to_string())?;
    let reclaimed = view.reclaim(&mut |name| {
        done += 1;
        if is_terminal && (done.is_multiple_of(PROGRESS_CONVERSATIONS) || done == all) {
            eprint!("\r{done} of {all} conversations\x1b[K");
        }
        marks_in(view, name, classes, now_ms)
    });
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    reclaimed.map_err(|error| error.to_string())
}

fn plan(overview: &Overview, classes: &Classes, now_ms: u64) -> String {
    let mut text = String::new();
    for class in classes.all() {
        let _infallible = writeln!(text, "class  {class}");
    }
    for window in &overview.windows {
        let WindowPlan { class, window: number, conversations, bytes, expired_bytes, .. } = window;
        let _infallible = writeln!(
            text,
            "window {class}/{number}  {conversations} conversations  {}  {} absent  {}",
            size(*bytes),
            size(*expired_bytes),
            when(window, now_ms)
        );
    }
    text
}

/// When a window goes.
fn when(window: &WindowPlan, now_ms: u64) -> String {
    let open = if window.is_closed { "" } else { ", and once it is full or its time is over" };
    match window.goes_ms {
        None => format!("stays, as far as can be foreseen{open}"),
        Some(goes_ms) if goes_ms <= now_ms => format!("goes now{open}"),
        Some(goes_ms) => format!("goes in {}{open}", span(goes_ms - now_ms)),
    }
}

fn status(overview: &Overview, view: &dyn View, now_ms: u64) -> String {
    let oldest = overview.oldest_expired_ms.map_or_else(
        || "none".to_owned(),
        |oldest_ms| format!("the oldest was stored {} ago", span(now_ms.saturating_sub(oldest_ms))),
    );
    format!(
        "live     {}\nabsent   {}, {oldest}\non disk  {}\n",
        size(overview.live_bytes),
        size(overview.expired_bytes),
        size(view.disk_bytes())
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * (power + 1)) > 0);
    match unit {
        None => format!("{bytes} B"),
        Some((power, unit)) => {
            let tenths = (bytes >> (10 * power)) * 10 / 1_024;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..86_400 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{size, span};

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 5 << 20, 3 << 40].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB"]
        );
        assert_eq!([999, 61_000, 7_200_000, 86_400_000].map(span), ["0 s", "1 min", "2 h", "1 d"]);
    }
}
