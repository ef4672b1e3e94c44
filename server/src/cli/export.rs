//! `quoth-server export`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use quoth_core::retention::{Classes, judged_ms};
use quoth_protocol::{ConversationName, Pattern, Seq};
use quoth_store::backup::{BackupFolder, Frozen};
use quoth_store::{FjallView, PageLimit, Record, View as _, ViewError};
use serde_json::json;

use super::backup::Source;
use crate::config::Config;
use crate::engine::{Clock as _, Reading, SystemClock, event};
use crate::retention::former_classes;

/// Begins the conversations that are the server's own.
const OWN_PREFIX: char = '$';

/// What is read at once.
const PAGE: PageLimit = PageLimit { records: 1_000, bytes: 4 * 1024 * 1024 };

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Conversations, as in 'team-*'; may be repeated. Default: all but users' own logs ($user/…) and the
    /// server's ($server…)
    #[arg(long, value_name = "PATTERN")]
    conversation: Vec<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// A new file for it, which only its owner may read; it has its name once all is written. Default:
    /// standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Export the latest backup of this folder in place of the data folder
    #[arg(long, value_name = "DIR")]
    backups: Option<PathBuf>,
    /// Write what has expired, too, as far as its space was not freed yet. Default: what readers get
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON object in each line
    Jsonl,
}

/// Why an export ended.
enum Ended {
    Failed(String),
    /// The reader has gone, as in `quoth-server export | head`.
    ReaderGone,
}

/// What is exported.
struct Export {
    view: FjallView,
    /// With their texts.
    patterns: Vec<(Pattern, String)>,
    /// Those of the last start and those of the configuration: what either makes absent no reader gets.
    classes: Vec<Classes>,
    now_ms: u64,
    is_raw: bool,
}

pub(super) fn export(config: &Config, args: &ExportArgs) -> Result<(), String> {
    let Format::Jsonl = args.format;
    if let Some(path) = args.to.as_ref().filter(|path| path.exists()) {
        return Err(format!("{} is there already: name another file, or delete it", path.display()));
    }
    let linked = match &args.backups {
        Some(dir) => {
            let folder = BackupFolder::take_existing(dir).map_err(|error| error.to_string())?;
            Some(folder.linked(None).map_err(|error| error.to_string())?)
        }
        None => None,
    };
    let source = match &linked {
        Some((_, store)) => {
            Source { store: Frozen::of_stopped(store).map_err(|error| error.to_string())?, pinned: None }
        }
        None => Source::of(&config.data_dir)?,
    };
    let view = source.store.view().map_err(|error| error.to_string())?;
    let now_ms = judged_ms(view.stored_ms(), SystemClock.unix_ms());
    let mut classes = vec![former_classes(&view)?, Classes::new(config.retention.classes.clone())];
    classes.dedup();
    let export = Export {
        view,
        patterns: args.conversation.iter().map(|text| (Pattern::new(text), text.clone())).collect(),
        classes,
        now_ms,
        is_raw: args.raw,
    };
    let lost = match &args.to {
        None => export.write_all(&mut BufWriter::new(std::io::stdout().lock())),
        Some(path) => to_file(path, |file| export.write_all(&mut BufWriter::new(file))),
    };
    let lost = match lost {
        Ok(lost) => lost,
        Err(Ended::ReaderGone) => return Ok(()),
        Err(Ended::Failed(reason)) => return Err(format!("{reason}; what was written is not all of it")),
    };
    if !lost.is_empty() {
        return Err(format!("{}; all else was written", lost.join("\n")));
    }
    let unmet = export.patterns_without_a_match().map_err(|error| error.to_string())?;
    match unmet.as_slice() {
        [] => Ok(()),
        unmet => Err(format!("no conversation has a name like {}", unmet.join(", "))),
    }
}

/// Writes a file that has its name when all of it is on stable storage; what is written until then goes when
/// that fails.
fn to_file<T>(path: &Path, write: impl FnOnce(&File) -> Result<T, Ended>) -> Result<T, Ended> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new_path = PathBuf::from(name);
    let failed =
        |error: std::io::Error| Ended::Failed(format!("{} cannot be written: {error}", path.display()));
    // One of before may have had other readers.
    match std::fs::remove_file(&new_path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new_path);
    let file = file.map_err(failed)?;
    let written = write(&file).and_then(|written| {
        let named = file.sync_all().and_then(|()| std::fs::rename(&new_path, path));
        named.map_err(failed).map(|()| written)
    });
    if written.is_err() {
        // The error that matters is the first one.
        let _ = std::fs::remove_file(&new_path);
    }
    written
}

impl Export {
    fn wants(&self, name: &ConversationName) -> bool {
        match &self.patterns[..] {
            [] => !name.as_str().starts_with(OWN_PREFIX),
            patterns => patterns.iter().any(|(pattern, _)| pattern.matches(name.as_str())),
        }
    }

    fn patterns_without_a_match(&self) -> Result<Vec<String>, ViewError> {
        let names = self.view.conversations()?;
        let is_met = |pattern: &Pattern| names.iter().any(|name| pattern.matches(name.as_str()));
        let unmet = self.patterns.iter().filter(|(pattern, _)| !is_met(pattern));
        Ok(unmet.map(|(_, text)| format!("{text:?}")).collect())
    }

    /// Writes all that can be read, and says what could not.
    fn write_all(&self, out: &mut dyn Write) -> Result<Vec<String>, Ended> {
        let mut lost = Vec::new();
        let names = self.view.conversations().map_err(|error| Ended::Failed(error.to_string()))?;
        for name in names.iter().filter(|name| self.wants(name)) {
            self.write(name, out, &mut lost)?;
        }
        out.flush().map_err(unwritten)?;
        Ok(lost)
    }

    /// Writes a conversation. Behind damage it goes on at the next seq that can be read, for which it looks
    /// at distances that grow.
    fn write(
        &self,
        name: &ConversationName,
        out: &mut dyn Write,
        lost: &mut Vec<String>,
    ) -> Result<(), Ended> {
        let (view, mut distance) = (&self.view, 1);
        let mut lose = |what: String, error: ViewError| lost.push(format!("{what} of {name}: {error}"));
        let readings = self.classes.iter().map(|classes| Reading::in_view(view, name, classes, self.now_ms));
        let known =
            view.bounds(name).and_then(|bounds| Ok((bounds, readings.collect::<Result<Vec<_>, _>>()?)));
        let (bounds, readings) = match known {
            Ok(known) => known,
            Err(error) => {
                lose("nothing was written".to_owned(), error);
                return Ok(());
            }
        };
        let judged = readings.iter().map(|reading| reading.judged(view, name)).collect::<Result<Vec<_>, _>>();
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => {
                lose("nothing was written".to_owned(), error);
                return Ok(());
            }
        };
        let is_absent = |record: &Record| judged.iter().any(|judged| judged.is_absent(record));
        let mut cursor = Seq(bounds.floor.0.saturating_sub(1));
        while cursor < bounds.head {
            let page = match view.after(name, cursor, PAGE) {
                Ok(page) => page,
                Err(error) => {
                    if distance == 1 {
                        lose(format!("seq {} and some behind it were not written", cursor.next()), error);
                    }
                    cursor = Seq(cursor.0.saturating_add(distance));
                    distance *= 2;
                    continue;
                }
            };
            if page.to <= cursor {
                break;
            }
            (cursor, distance) = (page.to, 1);
            for record in page.iter().filter(|record| self.is_raw || !is_absent(record)) {
                match line(record) {
                    Ok(line) => writeln!(out, "{line}").map_err(unwritten)?,
                    Err(error) => lose(format!("seq {} was not written", record.seq), error),
                }
            }
        }
        Ok(())
    }
}

fn line(record: &Record) -> Result<serde_json::Value, ViewError> {
    Ok(json!({ "conversation": record.conversation, "event": event(record)? }))
}

fn unwritten(error: std::io::Error) -> Ended {
    match error.kind() {
        ErrorKind::BrokenPipe => Ended::ReaderGone,
        _ => Ended::Failed(format!("the export cannot be written: {error}")),
    }
}
