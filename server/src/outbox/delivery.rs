//! Sends batches, one after the other, and waits while nobody takes them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::Uri;
use quoth_store::{Hold, Log, LogError, Position};
use rand::RngExt as _;

use super::Progress;
use super::event::Filter;
use super::feed::{Batch, Feed, Next, Skip};
use super::place::{Cursor, CursorFile, Place};
use crate::engine::{Clock as _, Engine, SystemClock};
use crate::hooks::{Backend, signed};
use crate::outbound::Limits;
use crate::session::PhaseReceiver;

/// How long the first pause behind a batch that was not taken is; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often the cursor is written while batches are taken: a crash repeats at most what was taken since.
const CURSOR_INTERVAL: Duration = Duration::from_millis(500);

/// How often it is told that nobody takes events.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// What of an answer is read and dropped, in bytes. Of one that is longer the connection is not used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What sends events.
pub(super) struct Delivery {
    pub(super) uri: Uri,
    pub(super) timeout: Duration,
    pub(super) bytes_max: u64,
    pub(super) filter: Filter,
    pub(super) file: CursorFile,
    pub(super) log: Arc<dyn Log>,
    pub(super) hold: Hold,
    pub(super) engine: Engine,
    pub(super) phase: PhaseReceiver,
    pub(super) backend: Backend,
    pub(super) progress: Arc<Progress>,
}

/// Bytes of the log that were not taken yet.
#[derive(Debug, Clone, Copy)]
struct Backlog {
    /// Those of before the start, and less what was taken since.
    known_bytes: i128,
    /// What the engine had written by then.
    written_before_bytes: u64,
}

/// Where the cursor stands in memory and on disk.
struct Standing {
    cursor: Cursor,
    written: Cursor,
    written_at: Instant,
    /// What is behind it; `None` before it was counted.
    backlog: Option<Backlog>,
}

impl Delivery {
    /// Sends until the service drains or fails. Gives back what holds the log for the next run.
    pub(super) async fn run(mut self, cursor: Cursor) -> Hold {
        let mut pause = PAUSE_MIN;
        let mut standing = Standing { cursor, written: cursor, written_at: Instant::now(), backlog: None };
        loop {
            match self.send_all(&mut standing).await {
                // The service drains.
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(%error, cursor = %standing.cursor.next, "the outbox cannot read the log: it tries again");
                    let nothing =
                        Backlog { known_bytes: 0, written_before_bytes: self.engine.stats().log_bytes };
                    let backlog = *standing.backlog.get_or_insert(nothing);
                    if self.pauses(&mut pause, backlog).await {
                        break;
                    }
                }
            }
        }
        self.write(&mut standing).await;
        self.hold
    }

    async fn send_all(&mut self, standing: &mut Standing) -> Result<(), LogError> {
        let mut feed = self.feed(standing)?;
        let mut backlog = match standing.backlog {
            Some(backlog) => backlog,
            None => match self.count(standing.cursor).await? {
                Some(backlog) => *standing.backlog.insert(backlog),
                None => return Ok(()),
            },
        };
        let mut pause = PAUSE_MIN;
        let mut told: Option<Instant> = None;
        let mut batch: Option<Batch> = None;
        loop {
            let bytes = self.tell_backlog(backlog);
            if bytes > self.bytes_max {
                if !self.drop_oldest(standing, &mut backlog, bytes).await {
                    return Ok(());
                }
                batch = None;
                feed = self.feed(standing)?;
                continue;
            }
            let Some(next) = batch.take() else {
                let (read, next) = off(move || read_on(feed)).await;
                feed = read;
                match next? {
                    Next::Batch(next) => batch = Some(next),
                    Next::Passed { end, log_bytes } => {
                        backlog.known_bytes -= i128::from(log_bytes);
                        standing.backlog = Some(backlog);
                        self.reached(standing, end).await;
                    }
                    Next::End => {
                        self.write(standing).await;
                        tokio::select! {
                            biased;
                            _ = self.phase.next(false) => return Ok(()),
                            () = self.engine.followed() => {}
                        }
                    }
                }
                continue;
            };
            let posted = tokio::select! {
                biased;
                _ = self.phase.next(false) => return Ok(()),
                posted = self.post(&next) => posted,
            };
            match posted {
                Ok(()) => {
                    if told.take().is_some() {
                        tracing::info!(cursor = %next.end.next, "events are taken again");
                    }
                    *self.progress.failing.lock() = None;
                    self.progress.delivered.fetch_add(next.count() as u64, Ordering::Relaxed);
                    pause = PAUSE_MIN;
                    backlog.known_bytes -= i128::from(next.log_bytes);
                    standing.backlog = Some(backlog);
                    self.reached(standing, next.end).await;
                }
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= TOLD_INTERVAL) {
                        told = Some(Instant::now());
                        tracing::warn!(
                            %error, batch = next.id, backlog_bytes = bytes,
                            "events are not taken: they are kept and sent again"
                        );
                    }
                    *self.progress.failing.lock() = Some(error);
                    batch = Some(next);
                    if self.pauses(&mut pause, backlog).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Counts what was not taken yet, by reading over it once. What is written meanwhile may count twice.
    /// `None` when the service drains.
    async fn count(&mut self, cursor: Cursor) -> Result<Option<Backlog>, LogError> {
        let written_before_bytes = self.engine.stats().log_bytes;
        let skipped = self.skip(cursor.next.position, u64::MAX).await?;
        Ok(skipped.map(|(_, bytes)| Backlog { known_bytes: bytes.into(), written_before_bytes }))
    }

    /// The place behind the groups from `from` on that have so many bytes together, and how many they have.
    /// `None` when the service drains.
    async fn skip(&mut self, from: Position, bytes: u64) -> Result<Option<(Place, u64)>, LogError> {
        let mut skip = Skip::new(&self.log, from)?;
        loop {
            let piece = off(move || {
                let is_done = skip.on(bytes);
                (skip, is_done)
            });
            let (read, is_done) = tokio::select! {
                biased;
                _ = self.phase.next(false) => return Ok(None),
                piece = piece => piece,
            };
            skip = read;
            if is_done? {
                return Ok(Some((skip.behind, skip.bytes)));
            }
        }
    }

    fn feed(&self, standing: &mut Standing) -> Result<Feed, LogError> {
        let feed = Feed::new(&self.log, self.filter.clone(), standing.cursor)?;
        if let (Some(from), None) = (feed.cursor().gap_from, standing.cursor.gap_from) {
            tracing::error!(
                %from, before = %feed.cursor().next,
                "events were lost: the log no longer has them, since hooks.events_url was not set for a while, or it is an older one than the cursor's"
            );
        }
        standing.cursor = feed.cursor();
        Ok(feed)
    }

    /// Gives up what nobody takes, and goes on behind it. Says whether the service goes on.
    async fn drop_oldest(&mut self, standing: &mut Standing, backlog: &mut Backlog, bytes: u64) -> bool {
        let Some((cursor, dropped_bytes)) = self.give_up(standing, bytes).await else { return false };
        standing.cursor = cursor;
        self.write(standing).await;
        backlog.known_bytes -= i128::from(dropped_bytes);
        if standing.cursor.next >= Place::begin(self.log.next()) {
            // Nothing is left, whatever was counted twice.
            *backlog = Backlog { known_bytes: 0, written_before_bytes: self.engine.stats().log_bytes };
        }
        standing.backlog = Some(*backlog);
        true
    }

    /// Drops the oldest half of what may be kept, and tells it: all, where the log cannot be read. Says what
    /// comes next, and how many bytes were dropped; `None` when the service drains.
    async fn give_up(&mut self, standing: &Standing, bytes: u64) -> Option<(Cursor, u64)> {
        let Cursor { next, gap_from } = standing.cursor;
        let (behind, dropped_bytes) = match self.skip(next.position, self.bytes_max / 2).await {
            Ok(skipped) => skipped?,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot read what it drops");
                (Place::begin(self.log.next()), bytes)
            }
        };
        tracing::error!(
            from = %next, before = %behind, backlog_bytes = bytes, hooks_outbox_bytes_max = self.bytes_max,
            "EVENTS ARE DROPPED: nobody has taken them for too long. The backend is told of the gap"
        );
        Some((Cursor { next: behind, gap_from: Some(gap_from.unwrap_or(next)) }, dropped_bytes))
    }

    /// Sends a batch, without what of it nobody is to have any more by now.
    async fn post(&self, batch: &Batch) -> Result<(), String> {
        let body = batch.body(&self.engine.are_absent(&batch.records).await);
        let now_ms = SystemClock.unix_ms();
        let request = signed(&self.uri, &self.backend.signer, &batch.id, now_ms, body)?;
        let limits = Limits { timeout: self.timeout, body_bytes_max: ANSWER_BYTES_MAX };
        let status = self.backend.client.send_for_status(request, limits).await;
        let status = status.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(()) } else { Err(format!("it answered with {status}")) }
    }

    /// Waits before another try, for a random part of the pause, and lengthens it; no longer than what is
    /// kept is within its bound. Says whether the service drains.
    async fn pauses(&self, pause: &mut Duration, backlog: Backlog) -> bool {
        let mut waits = pin!(tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..=1.0))));
        *pause = (*pause * 2).min(PAUSE_MAX);
        while self.tell_backlog(backlog) <= self.bytes_max {
            tokio::select! {
                biased;
                _ = self.phase.next(false) => return true,
                () = waits.as_mut() => return false,
                () = self.engine.followed() => {}
            }
        }
        false
    }

    async fn reached(&mut self, standing: &mut Standing, cursor: Cursor) {
        standing.cursor = cursor;
        if standing.written_at.elapsed() >= CURSOR_INTERVAL {
            self.write(standing).await;
        }
    }

    /// Writes the cursor, and then lets go of what is before it.
    async fn write(&mut self, standing: &mut Standing) {
        if standing.cursor == standing.written {
            return;
        }
        let (file, cursor) = (self.file.clone(), standing.cursor);
        match off(move || file.write(cursor)).await {
            Ok(()) => {
                standing.written = standing.cursor;
                standing.written_at = Instant::now();
                self.hold.advance(standing.cursor.next.position);
            }
            Err(error) => tracing::error!(
                error,
                "the outbox's cursor cannot be written: the log is kept from the old one on"
            ),
        }
    }

    fn tell_backlog(&self, backlog: Backlog) -> u64 {
        let written = self.engine.stats().log_bytes - backlog.written_before_bytes;
        let bytes = u64::try_from(backlog.known_bytes + i128::from(written)).unwrap_or(0);
        self.progress.backlog_bytes.store(bytes, Ordering::Relaxed);
        bytes
    }
}

/// Reads on, and gives the feed back.
fn read_on(mut feed: Feed) -> (Feed, Result<Next, LogError>) {
    let next = feed.next();
    (feed, next)
}

/// Does what takes the disk's time where nobody waits for it.
async fn off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
