//! `quoth-server export`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use quoth_core::authorize::Pattern;
use quoth_protocol::ConversationName;
use quoth_store::Record;
use quoth_store::backup::{BackupError, BackupFolder, Frozen};
use serde_json::json;

use super::backup::Source;
use crate::config::Config;
use crate::engine::event;

/// Begins the conversations that are the server's own.
const OWN_PREFIX: char = '$';

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Conversations, as in 'team-*'; may be repeated. Default: all but users' own logs ($user/…) and the server's ($server…)
    #[arg(long, value_name = "PATTERN")]
    conversation: Vec<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// A new file for it. Default: standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Export the latest backup of this folder in place of the data folder
    #[arg(long, value_name = "DIR")]
    backups: Option<PathBuf>,
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

impl From<BackupError> for Ended {
    fn from(error: BackupError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(super) fn export(config: &Config, args: &ExportArgs) -> Result<(), String> {
    let Format::Jsonl = args.format;
    let patterns: Vec<_> = args.conversation.iter().map(Pattern::new).collect();
    let wants = |name: &ConversationName| match &patterns[..] {
        [] => !name.as_str().starts_with(OWN_PREFIX),
        patterns => patterns.iter().any(|pattern| pattern.matches(name.as_str())),
    };
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
    let exported = match &args.to {
        None => write_all(&source, &wants, &mut BufWriter::new(std::io::stdout().lock())),
        Some(path) => {
            let failed = |error| format!("{} cannot be written: {error}", path.display());
            let file = File::create_new(path).map_err(failed)?;
            let written = write_all(&source, &wants, &mut BufWriter::new(&file));
            match written {
                Ok(()) => return file.sync_all().map_err(failed),
                failed => failed,
            }
        }
    };
    match exported {
        Ok(()) | Err(Ended::ReaderGone) => Ok(()),
        Err(Ended::Failed(reason)) => Err(format!("{reason}; what was written is not all of it")),
    }
}

fn write_all(
    source: &Source,
    wants: &dyn Fn(&ConversationName) -> bool,
    out: &mut dyn Write,
) -> Result<(), Ended> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ended::ReaderGone,
        _ => Ended::Failed(format!("the export cannot be written: {error}")),
    };
    source.store.export(wants, &mut |record: &Record| {
        let event = event(record).map_err(|error| Ended::Failed(error.to_string()))?;
        let line = json!({ "conversation": record.conversation, "event": event });
        writeln!(out, "{line}").map_err(failed)
    })?;
    out.flush().map_err(failed)
}
