//! `quoth import`: IRC logs through the public API. An import that is repeated or goes on after an interruption writes
//! nothing twice: a file's producer follows from its conversation, and a message's number is its line.

mod irc;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use quoth_client::{Client, Conversation, ProducerId, SendOptions, Sending};
use sha2::{Digest as _, Sha256};

use irc::{Lines, is_log};

/// Files on the way at once: enough that the disk's flushes are shared.
const FILES_AT_ONCE: usize = 8;

/// Messages of one file on the way ahead of their acks.
const AHEAD_MAX: usize = 256;

/// How long one message may wait for its ack: an import would rather wait for a server that restarts.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// What to load.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Logs, or folders of logs
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Put in front of each conversation's name, which is the file's name without .raw.txt, .txt or .log
    #[arg(long, default_value = "")]
    prefix: String,
}

/// What has been loaded.
#[derive(Debug, Default)]
struct Totals {
    files: u64,
    messages: u64,
    duplicates: u64,
}

/// Loads all logs and prints a summary.
pub(crate) async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut waiting = VecDeque::new();
    let mut lines = 0;
    for path in files(&args.paths)? {
        let text = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        if is_log(&text) {
            lines += text.iter().filter(|byte| **byte == b'\n').count();
            waiting.push_back((path, text));
        } else {
            eprintln!("skipped {}: no line of it looks like IRC", path.display());
        }
    }
    ensure!(!waiting.is_empty(), "no IRC log was found");
    let progress = if std::io::stderr().is_terminal() {
        ProgressBar::new(u64::try_from(lines)?)
    } else {
        ProgressBar::hidden()
    };
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} messages, {per_sec}, {eta} left")?);
    let mut totals = Totals::default();
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.len() < FILES_AT_ONCE
            && let Some((path, text)) = waiting.pop_front()
        {
            let (conversation, file_name) = (conversation_name(&args.prefix, &path), name_of(&path));
            let room = client.conversation_with_producer(&conversation, producer(&conversation))?;
            running.spawn(import_file(room, file_name, text, progress.clone()));
        }
        let Some(done) = running.join_next().await else { break };
        let (messages, duplicates) = done??;
        totals.files += 1;
        totals.messages += messages;
        totals.duplicates += duplicates;
    }
    progress.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let Totals { files, messages, duplicates } = totals;
    println!(
        "{messages} messages of {files} files in {seconds:.1} s ({:.0}/s); {duplicates} of them were there already",
        messages as f64 / seconds
    );
    Ok(())
}

async fn import_file(
    room: Conversation,
    file_name: String,
    text: Vec<u8>,
    progress: ProgressBar,
) -> anyhow::Result<(u64, u64)> {
    let mut ahead = VecDeque::<Sending>::new();
    let (mut messages, mut duplicates) = (0, 0);
    let mut parser = Lines::of(&file_name);
    let mut settle = async |ahead: &mut VecDeque<Sending>, keep: usize| -> anyhow::Result<()> {
        while ahead.len() > keep {
            let Some(sending) = ahead.pop_front() else { break };
            let ack = sending.await.with_context(|| format!("{file_name}: run the import again to go on"))?;
            messages += 1;
            duplicates += u64::from(ack.duplicate);
            progress.inc(1);
        }
        Ok(())
    };
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    for (n, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = parser.next(line);
        settle(&mut ahead, AHEAD_MAX - 1).await?;
        let options = SendOptions {
            body: bytes::Bytes::copy_from_slice(line.body),
            n: Some(n),
            publish_as: Some(line.sender),
            origin_time_ms: line.origin_time_ms,
            timeout: Some(SEND_TIMEOUT),
        };
        ahead.push_back(room.send_pipelined(options).await?);
    }
    settle(&mut ahead, 0).await?;
    Ok((messages, duplicates))
}

/// The files that the paths name, in order: a folder stands for its `.txt` and `.log` files.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut inside = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        inside.retain(|file| file.extension().is_some_and(|ext| ext == "txt" || ext == "log"));
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn conversation_name(prefix: &str, path: &Path) -> String {
    let name = name_of(path);
    let stem = [".raw.txt", ".txt", ".log"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    format!("{prefix}{stem}")
}

fn producer(conversation: &str) -> ProducerId {
    let digest = Sha256::digest(format!("quoth import\0{conversation}"));
    ProducerId(digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
}
