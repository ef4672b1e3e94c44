//! Feeds committed groups to the view, and frees the log behind it.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::StoreError;
use crate::log::{Log, Position};
use crate::record::{Record, Register};
use crate::room::RETRY_PAUSE;
use crate::thread::panic_text;
use crate::view::{View, ViewError};

/// Default of [`ApplierOptions::flush_bytes`].
pub(crate) const FLUSH_BYTES: u64 = 4 * 1024 * 1024;

/// How an applier works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplierOptions {
    /// Bytes of groups that wait to be applied. At more, [`Applier::submit`] waits. Default 16 MiB.
    pub queue_bytes: usize,
    /// After so many bytes of applied groups the view is flushed and the log behind it trimmed. It bounds
    /// what a restart after a crash has to apply again, and how much the disk gets at once. Default 4 MiB.
    pub flush_bytes: u64,
    /// How long a group waits, at most, for others to be applied with it. A group of its own costs a wake-up
    /// of the applier, which at 1,000 messages/s is as much work as the rows are. Nobody waits for it: what
    /// the view does not have yet is in the tails, and who needs the view itself says so ([`Hurry`]). Default
    /// 5 ms.
    pub gather_max: Duration,
}

impl Default for ApplierOptions {
    fn default() -> Self {
        let gather_max = Duration::from_millis(5);
        Self { queue_bytes: 16 * 1024 * 1024, flush_bytes: FLUSH_BYTES, gather_max }
    }
}

/// So many times [`ApplierOptions::flush_bytes`] are applied while a flush is under way; then the applier
/// waits for it. That much is in memory up to three times: what is applied, what is being flushed, and what
/// the flush before has written, which the engine keeps until the next one.
const FLUSHES_BEHIND_MAX: u64 = 4;

/// With so many bytes queued the applier begins at once.
const GATHER_BYTES_MAX: usize = 256 * 1024;

/// Called once, when the view has what somebody waits for; dropped when it never will.
pub type Then = Box<dyn FnOnce() + Send>;

/// Called once, when the view or the log fails or panics.
pub type OnFailure = Box<dyn FnOnce(StoreError) + Send>;

/// Two threads: one feeds committed groups to the view, the other flushes the view and trims the log behind
/// it, so that the first never waits for a flush.
pub struct Applier {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("view", &self.shared.view).finish_non_exhaustive()
    }
}

struct Shared {
    log: Arc<dyn Log>,
    view: Arc<dyn View>,
    options: ApplierOptions,
    work: Mutex<Work>,
    /// The applier has something to do.
    submitted: Condvar,
    /// There is room in the queue, or for further groups that are not flushed.
    room: Condvar,
    /// The flusher has something to do.
    flush_due: Condvar,
    on_failure: Mutex<Option<OnFailure>>,
}

#[derive(Default)]
struct Work {
    queue: VecDeque<(Position, Arc<[Record]>)>,
    queued_bytes: usize,
    applied_bytes: u64,
    /// The view cannot be flushed, since the disk has no room.
    no_room: bool,
    /// The applier sleeps until something is submitted.
    idle: bool,
    /// Those who wait for the view, by the group that they wait for.
    waiting: Vec<(Position, Then)>,
    stop: bool,
    drained: bool,
    failed: bool,
}

impl Applier {
    /// Starts with the default options.
    #[must_use]
    pub fn start(log: Arc<dyn Log>, view: Arc<dyn View>, on_failure: OnFailure) -> Self {
        Self::start_with(ApplierOptions::default(), log, view, on_failure)
    }

    /// Starts the threads. `on_failure` is called once, on one of them, with the first error; nothing is
    /// applied after it, while the log goes on.
    #[must_use]
    pub fn start_with(
        options: ApplierOptions,
        log: Arc<dyn Log>,
        view: Arc<dyn View>,
        on_failure: OnFailure,
    ) -> Self {
        let shared = Arc::new(Shared {
            log,
            view,
            options,
            work: Mutex::default(),
            submitted: Condvar::new(),
            room: Condvar::new(),
            flush_due: Condvar::new(),
            on_failure: Mutex::new(Some(on_failure)),
        });
        let (applying, flushing) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            spawn("quoth-applier", move || applying.guarded(Shared::apply_all)),
            spawn("quoth-flusher", move || flushing.guarded(Shared::flush_and_trim)),
        ];
        Self { shared, threads }
    }

    /// Hands over a group that the log has flushed. Groups come in the order of their positions, without a
    /// gap. Waits while the queue is full.
    pub fn submit(&self, position: Position, records: Arc<[Record]>) {
        let bytes = group_bytes(&records);
        let mut work = self.shared.work.lock();
        while work.queued_bytes + bytes > self.shared.options.queue_bytes
            && !work.queue.is_empty()
            && !work.failed
        {
            self.shared.room.wait(&mut work);
        }
        if !work.failed {
            let before = work.queued_bytes;
            work.queued_bytes += bytes;
            work.queue.push_back((position, records));
            if work.idle || (before < GATHER_BYTES_MAX && work.queued_bytes >= GATHER_BYTES_MAX) {
                work.idle = false;
                self.shared.submitted.notify_one();
            }
        }
    }

    /// Whether no more should be submitted for now: the disk has no room for the view, and so much is in
    /// memory that it has to end. It passes by itself when there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let work = self.shared.work.lock();
        let options = &self.shared.options;
        let flushes_bytes = options.flush_bytes.saturating_mul(FLUSHES_BEHIND_MAX);
        let bytes_max = flushes_bytes.saturating_add(options.queue_bytes as u64 / 2);
        work.no_room && work.applied_bytes + work.queued_bytes as u64 >= bytes_max
    }

    /// For those who wait for the view.
    #[must_use]
    pub fn hurry(&self) -> Hurry {
        Hurry(Arc::clone(&self.shared))
    }

    /// The last group that reads show.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.shared.view.applied()
    }

    /// Applies what was submitted, flushes the view and ends the threads.
    pub fn stop(self) {
        self.shared.work.lock().stop = true;
        self.shared.submitted.notify_one();
        self.shared.flush_due.notify_one();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that applies groups to the view panicked");
            }
        }
    }
}

/// Lets an applier begin at once, for somebody who waits for the view.
#[derive(Clone)]
pub struct Hurry(Arc<Shared>);

impl fmt::Debug for Hurry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hurry").finish_non_exhaustive()
    }
}

impl Hurry {
    /// What is submitted up to this group is applied without waiting for more, also where it is only
    /// submitted later. Then `then` is called, on one of the applier's threads or on this one.
    pub fn until(&self, position: Position, then: Then) {
        let mut work = self.0.work.lock();
        // The applier looks who waits when it has applied a group, which is behind this look.
        if self.0.view.applied() >= position {
            drop(work);
            return then();
        }
        if work.failed {
            return;
        }
        work.waiting.push((position, then));
        if !work.queue.is_empty() {
            self.0.submitted.notify_one();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .expect("the operating system starts a thread")
}

/// About what the records take in memory and in the log, in bytes.
fn group_bytes(records: &[Record]) -> usize {
    const FIXED_BYTES: usize = 64;
    let register_bytes =
        |register: &Register| register.key.len() + register.value.as_ref().map_or(0, Bytes::len);
    let record_bytes = |record: &Record| {
        let registers = record.registers.iter().map(register_bytes).sum::<usize>();
        let texts = record.conversation.as_str().len() + record.sender.as_str().len();
        FIXED_BYTES + texts + record.content.len() + registers
    };
    records.iter().map(record_bytes).sum()
}

impl Shared {
    /// Runs one of the threads. That it panics is a failure like any other: nobody may go on waiting for it.
    fn guarded(&self, run: impl FnOnce(&Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) {
            self.fail(StoreError::Panic { what: panic_text(&*panic) });
        }
    }

    fn apply_all(&self) {
        while let Some((position, records)) = self.take() {
            let bytes = group_bytes(&records);
            if let Err(error) = self.view.apply(position, &records) {
                self.fail(error.into());
                break;
            }
            let mut work = self.work.lock();
            let waited: Vec<_> = work.waiting.extract_if(.., |(until, _)| *until <= position).collect();
            if !waited.is_empty() {
                MutexGuard::unlocked(&mut work, || waited.into_iter().for_each(|(_, then)| then()));
            }
            work.applied_bytes += bytes as u64;
            if work.applied_bytes >= self.options.flush_bytes {
                self.flush_due.notify_one();
            }
            while work.applied_bytes >= self.options.flush_bytes.saturating_mul(FLUSHES_BEHIND_MAX)
                && !work.failed
                // Then whoever submits is to stop, and what is stored is to be read meanwhile.
                && !work.no_room
            {
                self.room.wait(&mut work);
            }
        }
        self.work.lock().drained = true;
        self.flush_due.notify_one();
    }

    fn take(&self) -> Option<(Position, Arc<[Record]>)> {
        let mut work = self.work.lock();
        if work.queue.is_empty() {
            self.gather(&mut work);
        }
        if work.failed {
            return None;
        }
        let (position, records) = work.queue.pop_front()?;
        work.queued_bytes -= group_bytes(&records);
        self.room.notify_one();
        Some((position, records))
    }

    /// Waits for a group, and a while for those that follow.
    fn gather(&self, work: &mut MutexGuard<'_, Work>) {
        while work.queue.is_empty() && !work.stop && !work.failed {
            work.idle = true;
            self.submitted.wait(work);
        }
        work.idle = false;
        let until = Instant::now() + self.options.gather_max;
        while work.waiting.is_empty() && !work.stop && !work.failed && work.queued_bytes < GATHER_BYTES_MAX {
            if self.submitted.wait_until(work, until).timed_out() {
                return;
            }
        }
    }

    fn flush_and_trim(&self) {
        loop {
            let ending = {
                let mut work = self.work.lock();
                while work.applied_bytes < self.options.flush_bytes && !work.drained {
                    self.flush_due.wait(&mut work);
                }
                work.applied_bytes = 0;
                self.room.notify_all();
                if work.failed {
                    return;
                }
                work.drained
            };
            let flushed = self.flush().map_err(StoreError::from);
            if let Err(error) = flushed.and_then(|flushed| Ok(self.log.trim(flushed.next())?)) {
                self.fail(error);
                return;
            }
            if ending {
                return;
            }
        }
    }

    /// Flushes the view, and tries again and again while the disk has no room for it, until the applier is
    /// stopped. What is applied meanwhile is in memory and in the log, and bounded as it always is.
    fn flush(&self) -> Result<Position, ViewError> {
        loop {
            let flushed = self.view.flush();
            let mut work = self.work.lock();
            match flushed {
                Err(error) if error.is_full() && !work.stop => {
                    if !std::mem::replace(&mut work.no_room, true) {
                        tracing::error!(%error, "the view waits for room");
                        self.room.notify_all();
                    }
                    let retry_at = Instant::now() + RETRY_PAUSE;
                    while !work.stop
                        && !work.failed
                        && !self.flush_due.wait_until(&mut work, retry_at).timed_out()
                    {}
                }
                flushed => {
                    if std::mem::take(&mut work.no_room) && flushed.is_ok() {
                        tracing::info!("the view is written again: there is room");
                    }
                    return flushed;
                }
            }
        }
    }

    fn fail(&self, error: StoreError) {
        tracing::error!(%error, "the view fails; reads are incomplete until a restart");
        {
            let mut work = self.work.lock();
            work.failed = true;
            work.drained = true;
            work.queue.clear();
            work.queued_bytes = 0;
            work.waiting.clear();
        }
        self.submitted.notify_all();
        self.room.notify_all();
        self.flush_due.notify_all();
        if let Some(on_failure) = self.on_failure.lock().take() {
            on_failure(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::{Applier, ApplierOptions, Then};
    use crate::log::memory::MemoryLog;
    use crate::log::{Log, Position};
    use crate::record::Record;
    use crate::testing::{Overridden, ViewOverride, commit, record};
    use crate::view::memory::MemoryView;
    use crate::view::{View, ViewError};

    /// Where a view panics.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Panics {
        InApply,
        InFlush,
    }

    struct PanickingView(MemoryView, Panics);

    impl ViewOverride for PanickingView {
        fn inner(&self) -> &dyn View {
            &self.0
        }

        fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
            assert_ne!(self.1, Panics::InApply, "a mistake in apply");
            self.0.apply(position, records)
        }

        fn flush(&self) -> Result<Position, ViewError> {
            assert_ne!(self.1, Panics::InFlush, "a mistake in flush");
            self.0.flush()
        }
    }

    #[test]
    fn a_panic_is_reported_and_holds_nobody_up() {
        const PATIENCE: Duration = Duration::from_secs(30);
        for (panics, what) in
            [(Panics::InApply, "a mistake in apply"), (Panics::InFlush, "a mistake in flush")]
        {
            let log = Arc::new(MemoryLog::new());
            let view = Arc::new(Overridden(PanickingView(MemoryView::new(), panics)));
            let (report, failures) = mpsc::channel();
            let on_failure =
                Box::new(move |error: crate::StoreError| report.send(error.to_string()).unwrap());
            let options = ApplierOptions { queue_bytes: 500, flush_bytes: 500, ..ApplierOptions::default() };
            let applier = Applier::start_with(options, Arc::clone(&log) as Arc<dyn Log>, view, on_failure);
            let (end, ended) = mpsc::channel();
            std::thread::spawn(move || {
                for seq in 1..=20 {
                    let records = [record("a", seq, seq)];
                    applier.submit(commit(&*log, &records).unwrap(), records.into());
                }
                applier.stop();
                end.send(()).unwrap();
            });
            let failure = failures.recv_timeout(PATIENCE).unwrap();
            assert!(failure.contains(what), "{failure}");
            ended.recv_timeout(PATIENCE).unwrap();
            assert!(failures.recv().is_err(), "reported once");
        }
    }

    #[test]
    fn what_somebody_waits_for_is_applied_without_waiting_for_more() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let (log, view) = (Arc::new(MemoryLog::new()), Arc::new(MemoryView::new()));
        let options = ApplierOptions { gather_max: 100 * PATIENCE, ..ApplierOptions::default() };
        let (of_log, of_view) = (Arc::clone(&log) as Arc<dyn Log>, Arc::clone(&view) as Arc<dyn View>);
        let applier = Applier::start_with(options, of_log, of_view, Box::new(|_| {}));
        let (hurry, (told, tells)) = (applier.hurry(), mpsc::channel());
        for (seq, is_submitted_before) in [(1, true), (2, false)] {
            let submit = || {
                let records = [record("a", seq, seq)];
                applier.submit(commit(&*log, &records).unwrap(), records.into());
            };
            let told = told.clone();
            let wait = || hurry.until(Position(seq), Box::new(move || told.send(seq).unwrap()));
            let is_idle = |is_idle: bool| {
                while applier.shared.work.lock().idle != is_idle {
                    std::thread::yield_now();
                }
            };
            is_idle(true);
            if is_submitted_before {
                submit();
                is_idle(false);
                assert_eq!(view.applied(), Position(seq - 1), "it waits for more");
                wait();
            } else {
                wait();
                submit();
            }
            assert_eq!(tells.recv_timeout(PATIENCE), Ok(seq));
        }
        applier.stop();
    }

    #[test]
    fn who_waits_for_the_view_is_told_when_it_has_the_group_or_never_will() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let log = Arc::new(MemoryLog::new());
        let view = Arc::new(Overridden(PanickingView(MemoryView::new(), Panics::InFlush)));
        let (log_of_applier, view_of_applier) = (Arc::clone(&log) as Arc<dyn Log>, Arc::clone(&view) as _);
        let applier = Applier::start(log_of_applier, view_of_applier, Box::new(|_| {}));
        let (hurry, (told, tells)) = (applier.hurry(), mpsc::channel());
        let tell = |position: u64| -> Then {
            let (told, view) = (told.clone(), Arc::clone(&view));
            Box::new(move || told.send((position, view.applied() >= Position(position))).unwrap())
        };
        // Before anything is submitted, and in another order than it is applied.
        for position in [3, 1, 2, 1] {
            hurry.until(Position(position), tell(position));
        }
        for seq in 1..=3 {
            let records = [record("a", seq, seq)];
            applier.submit(commit(&*log, &records).unwrap(), records.into());
        }
        let mut heard: Vec<_> = (0..4).map(|_| tells.recv_timeout(PATIENCE).unwrap()).collect();
        heard.sort_unstable();
        assert_eq!(heard, [(1, true), (1, true), (2, true), (3, true)]);
        hurry.until(Position(2), tell(2));
        assert_eq!(tells.try_recv(), Ok((2, true)), "at once");
        let (waits, ends) = mpsc::channel::<()>();
        hurry.until(Position(4), Box::new(move || drop(waits)));
        // Its flush panics.
        applier.stop();
        assert_eq!(ends.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        hurry.until(Position(4), tell(4));
        drop((hurry, told, view));
        assert!(tells.recv().is_err(), "nobody is told of what is not there");
    }
}
