//! `retention plan`, `run` and `status`: on a data folder that no server has.

use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::Subcommand;
use quoth_core::retention::Classes;
use quoth_protocol::ConversationName;
use quoth_store::{
    Class, Extent, NoRoom, OpenError, Pacer, Purged, Record, Rewrite, Store, SweepCursor, View,
};
use serde_json::Value;

use super::amount::{count, size, span};
use super::{plan, print};
use crate::config::Config;
use crate::engine::retention::{keep_in, marks_in};
use crate::engine::{Outstanding, Overview, free_log, notice, outstanding, overview};
use crate::retention::{Worth, adopt, commit, former_classes, loss_at_start, now_ms};
use crate::server::store_options;

/// Conversations between two looks at the terminal.
const PROGRESS_CONVERSATIONS: u64 = 256;

/// What to do about what is absent.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum RetentionCommand {
    /// Say which windows go, and when, and which conversations lose most, by the classes as they are configured
    /// now; change nothing
    ///
    /// What other classes would take it says of those that are given:
    /// `quoth-server retention plan --set 'retention.classes=teams:team-*:age_s=2592000'`. Of a running server:
    /// GET /v1/retention
    Plan {
        /// Print it as JSON, as GET /v1/retention has it, with all conversations that lose something
        #[arg(long)]
        json: bool,
    },
    /// Free the space of what is absent, revoked or erased
    ///
    /// A running server does it by itself, and at once for POST /v1/retention/run
    Run,
    /// Say how many bytes are live, how many are absent and take space still, and what was revoked or erased
    /// and when that is gone
    ///
    /// Of a running server: GET /v1/retention
    Status {
        /// Print it as JSON, as GET /v1/retention has it
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(config: &Config, command: RetentionCommand) -> Result<(), String> {
    let options = store_options(config)?;
    if !options.dir.exists() {
        return Err(format!(
            "{} is no data folder of Quoth; name one with --data-dir",
            config.data_dir.display()
        ));
    }
    let store = Store::open(options).map_err(|error| match error {
        OpenError::Locked { .. } => {
            format!(
                "{error}; of a running server, `quoth admin retention plan` and `run` say and do the same"
            )
        }
        error => error.to_string(),
    })?;
    let (classes, now_ms) = (Classes::new(config.retention.classes.clone()), now_ms(&store));
    let erasure_max_ms = config.retention.erasure_max_s.saturating_mul(1_000);
    // Only who runs by changed classes takes them over: what is absent by them never comes back.
    let former = former_classes(&*store.view)?;
    let told_max = if let RetentionCommand::Plan { json: true } = command {
        usize::MAX
    } else {
        plan::CONVERSATIONS_TOLD
    };
    let seen = |view: &dyn View| {
        overview(view, &[&former, &classes], now_ms, told_max).map_err(|error| error.to_string())
    };
    match command {
        RetentionCommand::Plan { json: true } | RetentionCommand::Status { json: true } => {
            let outstanding = outstanding(&*store.view, erasure_max_ms, 0, |ms| ms.min(now_ms));
            let mut told = seen(&*store.view)?.to_json(&outstanding);
            told["view_bytes"] = store.view.disk_bytes().into();
            if matches!(command, RetentionCommand::Plan { .. }) {
                let loss = loss_at_start(&store, &classes, now_ms, usize::MAX)?;
                told["loss"] = loss.map_or(Value::Null, |loss| loss.to_json());
            }
            print(&format!("{told}\n"))?;
        }
        RetentionCommand::Plan { json: false } => {
            let loss = loss_at_start(&store, &classes, now_ms, usize::MAX)?;
            print(&plan::text(&seen(&*store.view)?, loss.as_ref(), &classes, now_ms))?;
        }
        RetentionCommand::Status { json: false } => {
            print(&status(&seen(&*store.view)?, &*store.view, erasure_max_ms, now_ms))?
        }
        RetentionCommand::Run => {
            adopt(&store, &classes, now_ms)?;
            close_windows(&store, now_ms)?;
            let reclaimed = reclaim(&*store.view, &classes, now_ms)?;
            let (windows, bytes) = (reclaimed.windows, reclaimed.bytes);
            print(&format!("freed {} with {} of the disk\n", count(windows, "window"), size(bytes)))?;
            let (windows, bytes, no_room) = rewrite(&store, &classes, now_ms)?;
            print(&format!(
                "rewrote {}, which freed {} of the disk\n",
                count(windows, "window"),
                size(bytes)
            ))?;
            let registers = sweep(&*store.view)?;
            let purged = purge(&*store.view);
            print(&format!("removed {registers} edits, reactions and marks of events that have gone\n"))?;
            free_log(&*store.log, &*store.view)?;
            print(&status(&seen(&*store.view)?, &*store.view, erasure_max_ms, now_ms))?;
            purged?;
            no_room.map_or(Ok(()), |no_room| Err(no_room.to_string()))?;
        }
    }
    store.close().map_err(|error| error.to_string())
}

/// Ends the windows whose time is over, as the server does: by a notice in the log.
fn close_windows(store: &Store, now_ms: u64) -> Result<(), String> {
    store.view.overdue(now_ms).into_iter().try_for_each(|class| end_window(store, class, now_ms))
}

fn end_window(store: &Store, class: Class, now_ms: u64) -> Result<(), String> {
    let notice = notice(ConversationName::server(), now_ms, Vec::new());
    commit(store, &[Record { class, ends_window: true, ..notice }])
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

/// Rewrites what stays where others are absent, as fast as the disk is; gives how many windows went, the
/// bytes of the disk that this has freed, and what was left for want of room.
fn rewrite(store: &Store, classes: &Classes, now_ms: u64) -> Result<(u64, u64, Option<NoRoom>), String> {
    let (view, mut windows, mut bytes, mut worth) = (&*store.view, 0, 0, Worth::default());
    let mut extent = Extent::EVERYTHING;
    loop {
        let mut rewrite = Rewrite { now_ms, erased_by_ms: now_ms, extent, pace: &mut |_| true };
        let rewritten = view.rewrite(&mut |name| keep_in(view, name, classes, now_ms), &mut rewrite);
        let rewritten = rewritten.map_err(|error| error.to_string())?;
        extent = extent.behind(&rewritten);
        windows += rewritten.windows;
        bytes += rewritten.bytes.saturating_sub(rewritten.written_bytes);
        for class in &rewritten.held_up {
            end_window(store, *class, now_ms)?;
        }
        // With nothing written in between, an ended window holds nothing up again.
        if !worth.is_more(&rewritten) && rewritten.held_up.is_empty() {
            return Ok((windows, bytes, rewritten.no_room));
        }
    }
}

/// Removes what is kept beside events that have gone; gives how much that was.
fn sweep(view: &dyn View) -> Result<u64, String> {
    let swept = view.sweep(true, &mut SweepCursor::default(), &mut |_| true);
    swept.map(|swept| swept.registers).map_err(|error| error.to_string())
}

/// Takes what was removed from the disk.
fn purge(view: &dyn View) -> Result<(), String> {
    // Nobody reads and nobody else writes, so nothing ends it but a full disk.
    let pace: Pacer = Arc::new(|_, _| true);
    match view.purge(true, &pace).map_err(|error| error.to_string())? {
        Purged::Done => Ok(()),
        Purged::Written | Purged::Unfinished => {
            Err("what was removed beside events is on the disk still".to_owned())
        }
    }
}

fn status(overview: &Overview, view: &dyn View, erasure_max_ms: u64, now_ms: u64) -> String {
    let Outstanding { erased, gone_by_ms, .. } = outstanding(view, erasure_max_ms, 0, |ms| ms.min(now_ms));
    let erased = match erased.since_ms.zip(gone_by_ms) {
        None => "nothing".to_owned(),
        Some((since_ms, gone_by_ms)) => format!(
            "{} with {}, since {}, {}",
            count(erased.events, "event"),
            size(erased.bytes),
            span(now_ms.saturating_sub(since_ms)),
            match gone_by_ms.checked_sub(now_ms) {
                Some(left_ms) => format!("gone in {} once a server runs", span(left_ms)),
                None => "late: run a server, or `retention run`".to_owned(),
            }
        ),
    };
    let oldest = overview.oldest_expired_ms.map_or_else(
        || "none".to_owned(),
        |oldest_ms| format!("the oldest was stored {} ago", span(now_ms.saturating_sub(oldest_ms))),
    );
    let damaged = match overview.damaged_conversations {
        0 => String::new(),
        damaged => format!(
            "damaged  {}: nothing of them goes; `quoth-server verify` names them\n",
            count(damaged, "conversation")
        ),
    };
    let held = match overview.held {
        0 => String::new(),
        held => format!("held     {}\n", count(held, "conversation")),
    };
    format!(
        "live     {}\nabsent   {}, {oldest}\nerased   {erased}\n{held}{damaged}on disk  {}\n",
        size(overview.live_bytes),
        size(overview.expired_bytes),
        size(view.disk_bytes())
    )
}
