//! `quoth-server verify`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use quoth_core::retention::{Classes, judged_ms};
use quoth_store::backup::{Backup, BackupFolder, CheckedBackups};
use quoth_store::{Progress, Record, Report, View, ViewError};

use super::amount::{count, moment, size, span};
use super::print;
use super::progress::Bar;
use crate::config::Config;
use crate::engine::{Clock as _, Reading, SystemClock};
use crate::retention::former_classes;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Check a folder of backups in place of the data folder: every file of every backup, and the latest one
    /// as a store
    #[arg(long, value_name = "DIR")]
    backups: Option<PathBuf>,
}

pub(super) fn verify(config: &Config, args: &VerifyArgs) -> Result<(), String> {
    match &args.backups {
        Some(dir) => verify_backups(config, dir),
        None => verify_store(config, &config.data_dir.join("store"), true),
    }
}

pub(super) fn verify_backups(config: &Config, dir: &Path) -> Result<(), String> {
    let folder = BackupFolder::take_existing(dir).map_err(|error| error.to_string())?;
    let bar = Bar::new("checking");
    let checked = folder.check(&mut |bytes| bar.show(bytes)).map_err(|error| error.to_string())?;
    bar.end();
    let CheckedBackups { sound, damaged, findings } = checked;
    let mut text = String::new();
    for (number, backup) in &sound {
        text.push_str(&format!("backup {number}  {}\n", what_it_has(backup)));
    }
    damaged.iter().for_each(|number| text.push_str(&format!("backup {number}  cannot be restored whole\n")));
    findings.iter().for_each(|finding| text.push_str(&format!("DAMAGED  {finding}\n")));
    print(&text)?;
    if !findings.is_empty() {
        return Err(format!(
            "{} in {}: the next backup there copies anew what the store still has of it, and older backups that need the same are whole \
             again; to be safe, make one in another folder as well",
            count(findings.len() as u64, "finding"),
            dir.display()
        ));
    }
    let Some((number, _)) = sound.last() else {
        return Err(format!("{} has no backup", dir.display()));
    };
    print(&format!("the store of backup {number}:\n"))?;
    let (_links, store) = folder.linked(Some(*number)).map_err(|error| error.to_string())?;
    verify_store(config, &store, false)
}

/// What a backup has, for people.
pub(super) fn what_it_has(backup: &Backup) -> String {
    format!(
        "{}, the log up to position {}, begun {} ({} ago)",
        size(backup.bytes),
        backup.position,
        moment(backup.time_ms),
        span(SystemClock.unix_ms().saturating_sub(backup.time_ms))
    )
}

/// Says of an event whether it may be absent: by the configured classes, or by those of the store's last
/// start, when space was freed.
fn may_be_absent(config: &Config) -> impl FnMut(&dyn View, &Record) -> bool + use<> {
    let (configured, clock_ms) = (Classes::new(config.retention.classes.clone()), SystemClock.unix_ms());
    let mut former = None;
    move |view, record| {
        // As the server judges, whose clock goes back for nobody.
        let now_ms = judged_ms(view.stored_ms(), clock_ms);
        let former = former.get_or_insert_with(|| former_classes(view).unwrap_or_default());
        let name = &record.conversation;
        let mut by = [&configured, &*former].into_iter().map(|classes| {
            let reading = Reading::in_view(view, name, classes, now_ms)?;
            Ok::<_, ViewError>(reading.judged(view, name)?.is_absent(record))
        });
        // What is damaged is told by the walk over the rows.
        by.any(|is_absent| is_absent.unwrap_or(true))
    }
}

/// `is_in_place` says that the folder is the one that a server would start with.
fn verify_store(config: &Config, dir: &Path, is_in_place: bool) -> Result<(), String> {
    let is_terminal = std::io::stderr().is_terminal();
    let mut show = |progress| {
        if is_terminal {
            let text = match progress {
                Progress::Log { done, segments } => format!("log: {done} of {segments} segments"),
                Progress::Tables { done, tables } => format!("view: {done} of {tables} tables"),
                Progress::View { messages } => format!("view: {messages} messages"),
            };
            eprint!("\r{text}\x1b[K");
        }
    };
    let report = quoth_store::verify_kept(dir, &mut may_be_absent(config), &mut show)
        .map_err(|error| error.to_string())?;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let advice = if is_in_place { view_advice(&report, dir) } else { String::new() };
    let Report { groups, records, torn, applied, conversations, messages, registers, findings, .. } = report;
    let mut text = format!(
        "log   {records} records in {groups} groups\n\
         view  {messages} messages and {registers} registers in {conversations} conversations\n"
    );
    if let Some(position) = torn {
        text.push_str(&format!(
            "group {position} was being written when the server stopped; the next start drops it, nobody was told of it\n"
        ));
    }
    if applied.is_none() && findings.is_empty() {
        text.push_str("there is no view; the next start builds it from the log\n");
    }
    findings.iter().for_each(|finding| text.push_str(&format!("DAMAGED  {finding}\n")));
    print(&text)?;
    match findings.len() {
        0 => print("sound\n"),
        findings => Err(format!(
            "{} in {}: keep a copy of the folder before anything else{advice}",
            count(findings as u64, "finding"),
            dir.display()
        )),
    }
}

/// What can be done about a view when the log is sound.
fn view_advice(report: &Report, dir: &Path) -> String {
    let view = dir.join("view");
    match (report.is_view_lost(), report.can_rebuild_view()) {
        (false, _) => String::new(),
        (true, true) => format!(
            ". The log is sound and holds everything: move {} away, and the next start builds it anew",
            view.display()
        ),
        (true, false) => format!(
            ". The log is sound but starts at position {}, so the view cannot be built anew: restore the folder from a \
             backup",
            report.log_first
        ),
    }
}
