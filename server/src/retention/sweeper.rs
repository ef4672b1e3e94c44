//! Removes what is kept beside events that have gone, beside whatever else frees space: that never waits for
//! it, however much there is to look at.
//!
//! It goes in pieces, the first registers of all conversations and all registers in turns. Where a sweep of
//! all is stands in memory alone. A start begins it anew: what was removed is not there any more, so what was
//! looked at before costs its reading once more and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quoth_store::{Pacer, Purged, SweepCursor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::{Engine, Pace, Step};

/// How long one piece takes at most.
const PIECE: Duration = Duration::from_secs(10);

/// How long is waited after a purge that has failed.
const PURGE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How often at once a purge is tried for whoever waits for it. Each waits for reads itself.
const PURGES_MAX: u32 = 4;

/// Why who waits for everything is not told that it is done.
const STOPS: &str = "the server stops";

/// What it is asked for.
enum Ask {
    /// To look at the first registers, and at all of them if that is due.
    Look,
    /// To look at all of them from the beginning, and to take all that is removed from the disk.
    Everything(oneshot::Sender<Result<(), String>>),
}

/// For who asks it.
#[derive(Clone)]
pub(super) struct Sweeping {
    asks: mpsc::Sender<Ask>,
    is_hurried: Arc<AtomicBool>,
}

impl Sweeping {
    /// Has the first registers of all conversations looked at, and all of them if that is due.
    pub(super) fn look(&self) {
        // One that waits is as good.
        let _waits = self.asks.try_send(Ask::Look);
    }

    /// Looks at everything, and takes all that is removed from the disk.
    ///
    /// # Errors
    /// Why the store could not do it, or why it is not done yet.
    pub(super) async fn everything(&self) -> Result<(), String> {
        self.is_hurried.store(true, Ordering::Relaxed);
        let (done, is_done) = oneshot::channel();
        // Where nobody takes it, the server stops. What is not sent is dropped, and nobody waits for it.
        drop(self.asks.send(Ask::Everything(done)).await);
        is_done.await.unwrap_or_else(|_| Err(STOPS.to_owned()))
    }
}

/// Sweeps, piece by piece.
pub(super) struct Sweeper {
    engine: Engine,
    pace: Arc<Pace>,
    asks: mpsc::Receiver<Ask>,
    /// Somebody waits for everything: a piece that is under way ends early.
    is_hurried: Arc<AtomicBool>,
    /// Between the beginnings of two sweeps of all.
    interval: Duration,
    /// How long one piece takes at most, about.
    piece: Duration,
    all_due: Instant,
    first: Round,
    all: Round,
    /// When registers are purged of what was erased, if anything was, at the earliest.
    purge_due: Instant,
    /// What is removed may be on the disk.
    to_purge: Option<ToPurge>,
}

/// A purge that is to be made.
#[derive(Clone, Copy)]
struct ToPurge {
    /// Somebody has asked for everything.
    everything: bool,
    /// Not before.
    due: Instant,
    /// It was held up, and not looked at since.
    is_held_up: bool,
}

impl ToPurge {
    fn now(everything: bool) -> Self {
        Self { everything, due: Instant::now(), is_held_up: false }
    }
}

/// One sweep through all conversations, if it is under way.
#[derive(Default)]
struct Round {
    is_under_way: bool,
    cursor: SweepCursor,
}

impl Sweeper {
    /// One that looks at all registers as often as an interval says, and at once: what an earlier process has
    /// left is as old as can be.
    pub(super) fn new(engine: Engine, pace: Arc<Pace>, interval: Duration) -> (Self, Sweeping) {
        let ((asks, asked), is_hurried) = (mpsc::channel(1), Arc::new(AtomicBool::new(false)));
        let sweeping = Sweeping { asks, is_hurried: Arc::clone(&is_hurried) };
        let (first, all, all_due) = (Round::default(), Round::default(), Instant::now());
        let sweeper = Self {
            engine,
            pace,
            asks: asked,
            is_hurried,
            interval,
            piece: PIECE,
            all_due,
            first,
            all,
            purge_due: all_due,
            to_purge: None,
        };
        (sweeper, sweeping)
    }

    /// Goes on until nobody can ask any more.
    pub(super) async fn run(mut self) {
        while let Some(ask) = self.next().await {
            match ask {
                Some(Ask::Everything(done)) => {
                    self.is_hurried.store(false, Ordering::Relaxed);
                    let swept = self.everything().await;
                    let _nobody_waits = done.send(swept);
                    continue;
                }
                Some(Ask::Look) => {
                    self.first.is_under_way = true;
                    self.all.is_under_way |= self.all_due <= Instant::now();
                    self.look_at_purge();
                }
                None => {}
            }
            if self.pace.is_stopped() {
                return;
            }
            if let Err(error) = self.turn().await {
                tracing::error!(error, "what is kept beside events that have gone stays");
                self.first = Round::default();
                self.give_up_all();
            }
            self.purge_if_due().await;
        }
    }

    /// A sweep of all that did not come to its end is due again.
    fn give_up_all(&mut self) {
        if std::mem::take(&mut self.all).is_under_way {
            self.all_due = Instant::now();
        }
    }

    /// Registers are purged of what was erased as often as all of them are looked at, but not behind that, which
    /// may take long. What held one up may have ended.
    fn look_at_purge(&mut self) {
        if self.purge_due <= Instant::now() && self.engine.outstanding().erased.events > 0 {
            self.to_purge.get_or_insert_with(|| ToPurge::now(false));
        }
        if let Some(to_purge) = &mut self.to_purge {
            to_purge.is_held_up = false;
        }
    }

    /// What is asked for next, nothing where something is under way; `None` at the end.
    async fn next(&mut self) -> Option<Option<Ask>> {
        if !self.first.is_under_way && !self.all.is_under_way {
            return self.asks.recv().await.map(Some);
        }
        match self.asks.try_recv() {
            Ok(ask) => Some(Some(ask)),
            Err(mpsc::error::TryRecvError::Empty) => Some(None),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        }
    }

    /// A piece of each that is under way.
    async fn turn(&mut self) -> Result<(), String> {
        if self.first.is_under_way {
            self.first.piece(&self.engine, false, self.piece()).await?;
        }
        // On a full disk it would write where others free something.
        if self.engine.is_short() {
            self.give_up_all();
            return Ok(());
        }
        if self.all.is_under_way {
            if self.all.cursor == SweepCursor::default() {
                self.all_due = Instant::now() + self.interval;
            }
            self.all.piece(&self.engine, true, self.piece()).await?;
            if !self.all.is_under_way {
                self.to_purge.get_or_insert_with(|| ToPurge::now(false));
            }
        }
        Ok(())
    }

    /// Takes what is removed from the disk, where that is to be.
    async fn purge_if_due(&mut self) {
        let Some(ToPurge { everything, due, is_held_up }) = self.to_purge else { return };
        if is_held_up || due > Instant::now() || self.engine.is_short() {
            return;
        }
        // Nobody ends it for whoever waits for everything: that begins the same anew, and one that is ended
        // again and again never comes to its end.
        if let Err(error) = self.purge(everything).await {
            tracing::error!(error, "what was removed beside events is on the disk still");
        }
    }

    /// Takes what is removed from the disk; says how far that has come. It is to be made until it is done, and
    /// after an error not at once: on a disk without room it would take it from others each time. What holds
    /// it up is looked at again with the next look, and does not have everything written once more.
    async fn purge(&mut self, everything: bool) -> Result<Purged, String> {
        self.purge_due = Instant::now() + self.interval;
        let pace = Arc::clone(&self.pace);
        let pace: Pacer = Arc::new(move |bytes, may_wait| pace.take_while(bytes, may_wait));
        let purged = self.engine.purge(everything, pace).await;
        let due = Instant::now() + if purged.is_err() { PURGE_PAUSE } else { Duration::ZERO };
        let everything = everything && purged != Ok(Purged::Written);
        let is_held_up = purged.is_ok();
        self.to_purge = (purged != Ok(Purged::Done)).then_some(ToPurge { everything, due, is_held_up });
        purged
    }

    async fn everything(&mut self) -> Result<(), String> {
        self.engine.change_pass(|pass| pass.step = Step::Sweep);
        let is_short = self.engine.is_short();
        let mut round = Round { is_under_way: true, ..Round::default() };
        let pace = Arc::clone(&self.pace);
        round.piece(&self.engine, !is_short, move |bytes| pace.take(bytes)).await?;
        if is_short {
            return Err("the disk is full: only the first of each conversation was looked at".to_owned());
        }
        if round.is_under_way {
            return Err(STOPS.to_owned());
        }
        self.engine.change_pass(|pass| pass.step = Step::Purge);
        (self.first, self.all, self.all_due) =
            (Round::default(), Round::default(), Instant::now() + self.interval);
        let mut everything = true;
        for _ in 0..PURGES_MAX {
            match self.purge(everything).await? {
                Purged::Done => return Ok(()),
                Purged::Written => everything = false,
                Purged::Unfinished => {}
            }
            if self.pace.is_stopped() {
                return Err(STOPS.to_owned());
            }
        }
        Err("a read, a backup or a full disk holds up what was removed: that is tried again".to_owned())
    }

    /// As long as a piece is, and nobody waits for everything.
    fn piece(&self) -> impl Fn(u64) -> bool + Send + Sync + 'static {
        let (pace, until) = (Arc::clone(&self.pace), Instant::now() + self.piece);
        let is_hurried = Arc::clone(&self.is_hurried);
        move |bytes| pace.take(bytes) && !is_hurried.load(Ordering::Relaxed) && Instant::now() < until
    }
}

impl Round {
    /// Goes on, for as long as it is let.
    async fn piece(
        &mut self,
        engine: &Engine,
        everything: bool,
        goes_on: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Result<(), String> {
        let (swept, cursor) = engine.sweep(everything, std::mem::take(&mut self.cursor), goes_on).await?;
        (self.is_under_way, self.cursor) = (!swept.is_done, cursor);
        if swept.registers > 0 {
            tracing::debug!(
                registers = swept.registers,
                "removed what was kept beside events that have gone"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
