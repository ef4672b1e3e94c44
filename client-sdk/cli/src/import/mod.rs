//! `quoth import`.

mod files;
mod irc;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use quoth_client::{Client, SendOptions, UserId};
use tokio::task::JoinSet;

use self::files::{Found, LogFile};
use self::irc::{Clock, Line, SYSTEM_USER};
use crate::args::ImportArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::interrupt::counted;
use crate::output::{confirm, note};
use crate::pipeline::{Pipeline, Tally};
use crate::progress::bar;
use crate::states::telling_states;

/// Logs that are imported at once, each with up to 256 messages on the way.
const LOGS_AT_ONCE: usize = 8;

/// Without a terminal progress is told so often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The lines of the logs in a folder, a list for each log, with their times behind the log's first line. What
/// is said within one minute is spread over it, since logs tell no seconds.
pub(crate) fn lines_in(folder: &Path) -> anyhow::Result<Vec<Vec<quoth_bench::schedule::Line>>> {
    let args = ImportArgs { paths: vec![folder.to_owned()], conversation: None, prefix: String::new() };
    let logs = files::find(&args)?.logs;
    anyhow::ensure!(!logs.is_empty(), "there is no chat log in {}", folder.display());
    Ok(logs.iter().map(timed_lines).collect())
}

fn timed_lines(log: &LogFile) -> Vec<quoth_bench::schedule::Line> {
    let mut clock = Clock::new(Some(0));
    let said: Vec<(u64, &[u8])> = log
        .lines()
        .map(Line::parse)
        .filter_map(|line| Some((clock.time_ms(line.minutes)?, line.body)))
        .collect();
    let first_ms = said.first().map_or(0, |(ms, _)| *ms);
    let minutes = said.chunk_by(|a, b| a.0 == b.0);
    let spread = minutes.flat_map(|lines| {
        let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        (0..).zip(lines).map(move |(i, (ms, text))| quoth_bench::schedule::Line {
            at: Duration::from_millis(ms - first_ms) + Duration::from_secs(60) * i / count,
            text: text.to_vec().into(),
        })
    });
    spread.collect()
}

pub(crate) async fn run(connection: &Connection, args: ImportArgs) -> anyhow::Result<()> {
    let Found { logs, skipped } = files::find(&args)?;
    for (path, why) in &skipped {
        note(format_args!("skipped {}: {why}", path.display()));
    }
    if logs.is_empty() {
        bail!(
            "there is nothing to import: the folder has no IRC log, which is a file *.txt or *.log with lines that begin \
             with `[HH:MM] ` or `=== `"
        );
    }
    let log_count = logs.len();
    let undated: usize = logs.iter().map(LogFile::undated).sum();
    let progress = progress(&logs);
    let import = async |client: &Client, situation: &Situation<'_>| {
        let started = Instant::now();
        let say = |text: &str| progress.suspend(|| note(text));
        let import = telling_states(client, situation, say, import_all(client, logs, &progress));
        let tally = connection
            .interrupt()
            .unless_asked(import)
            .await
            .context("import again to go on, nothing is written twice")??;
        Ok((tally, started.elapsed().as_secs_f64()))
    };
    let result = connection.run(Purpose::Import, import).await;
    progress.finish_and_clear();
    let (Tally { acked, duplicates, .. }, seconds) = result?;
    confirm(&format!(
        "{}, {acked} messages ({duplicates} were already there) in {seconds:.1} s, {:.0} messages/s",
        counted(log_count, "log"),
        acked as f64 / seconds.max(0.001)
    ));
    if undated > 0 {
        note(format_args!(
            "{} got the time of the import alone: the name of the file has no date (YYYY-MM-DD)",
            counted(undated, "message")
        ));
    }
    Ok(())
}

/// Imports the logs in their order, several at once.
async fn import_all(client: &Client, logs: Vec<LogFile>, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let mut waiting = logs.into_iter();
    let mut running = JoinSet::new();
    let mut total = Tally::default();
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    tick.tick().await;
    loop {
        while running.len() < LOGS_AT_ONCE
            && let Some(log) = waiting.next()
        {
            running.spawn(import_one(client.clone(), log, progress.clone()));
        }
        tokio::select! {
            finished = running.join_next() => match finished {
                None => return Ok(total),
                Some(tally) => {
                    let tally = tally??;
                    total.acked += tally.acked;
                    total.duplicates += tally.duplicates;
                }
            },
            _ = tick.tick(), if progress.is_hidden() => {
                note(format_args!("{} of {} lines", progress.position(), progress.length().unwrap_or_default()));
            }
        }
    }
}

async fn import_one(client: Client, log: LogFile, progress: ProgressBar) -> anyhow::Result<Tally> {
    let in_log = || format!("{}", log.path.display());
    let system = UserId::new(SYSTEM_USER)?;
    let room =
        client.conversation_with_producer(log.conversation.as_str(), log.producer).with_context(in_log)?;
    let mut pipeline = Pipeline::new(room);
    let mut clock = Clock::new(log.day);
    for (number, line) in (1..).zip(log.lines()) {
        let Line { nick, body, minutes } = Line::parse(line);
        let message = SendOptions {
            n: Some(number),
            publish_as: Some(nick.unwrap_or_else(|| system.clone())),
            origin_time_ms: clock.time_ms(minutes),
            ..SendOptions::from(body.to_vec())
        };
        while pipeline.is_full() {
            settle(&mut pipeline, &progress).await.with_context(in_log)?;
        }
        pipeline.push(message).await.with_context(|| format!("{}, line {number}", log.path.display()))?;
    }
    while pipeline.unsettled() > 0 {
        settle(&mut pipeline, &progress).await.with_context(in_log)?;
    }
    Ok(pipeline.tally())
}

async fn settle(pipeline: &mut Pipeline, progress: &ProgressBar) -> anyhow::Result<()> {
    pipeline.settle_one().await.map_err(|error| {
        let line_number = pipeline.tally().settled;
        anyhow::anyhow!(error).context(format!("stopped at line {line_number}; import again to go on"))
    })?;
    progress.inc(1);
    Ok(())
}

/// A progress bar on a terminal, and a hidden one elsewhere.
fn progress(logs: &[LogFile]) -> ProgressBar {
    let lines = logs.iter().map(|log| log.lines().count() as u64).sum();
    bar(Some(lines), "{bar:30} {human_pos} of {human_len} lines, {rate}{left}")
}
