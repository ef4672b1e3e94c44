//! Frees the space of what is absent, from time to time, and keeps what is absent by classes that are
//! replaced.

mod sweeper;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::retention::{Classes, End, Kept, RetentionClass, judged_ms};
use quoth_protocol::ConversationName;
use quoth_store::{Extent, Record, Register, Rewritten, Store, View, ViewError, group};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::sweeper::{Sweeper, Sweeping};
use crate::config::{ERASURE_LOOKS_MIN, RetentionConfig};
use crate::engine::retention::kept_in;
use crate::engine::{Clock as _, Engine, LOOK_REST, Loss, Pace, Step, SystemClock, loss, notice};

/// Under which register of the server's own log the classes of the last start stand.
const CLASSES_REGISTER: &[u8] = b"retention classes";

/// Records of a group that fixes what is absent.
const FIXES_AT_ONCE: usize = 1_000;

/// The configured classes, taken over.
///
/// # Errors
/// As of [`adopt`].
pub(crate) fn adopted(store: &Store, config: &RetentionConfig) -> Result<Classes, String> {
    let classes = Classes::new(config.classes.clone());
    adopt(store, &classes, now_ms(store))?;
    Ok(classes)
}

/// By which time a store is judged that no server has: as a start does.
pub(crate) fn now_ms(store: &Store) -> u64 {
    judged_ms(store.view.stored_ms(), SystemClock.unix_ms())
}

/// The classes of the last start; none before the first one.
///
/// # Errors
/// Why the store does not tell.
pub(crate) fn former_classes(view: &dyn View) -> Result<Classes, String> {
    Ok(stored_classes(view)?.map(|text| classes_in(&text)).transpose()?.unwrap_or_default())
}

fn stored_classes(view: &dyn View) -> Result<Option<Bytes>, String> {
    view.register(&ConversationName::server(), CLASSES_REGISTER).map_err(|error| error.to_string())
}

/// What of what is stored these classes make absent that the classes of the last start do not; `None` when they
/// are the same. Of the conversations that lose most so many are told.
///
/// # Errors
/// Why the store does not tell.
pub(crate) fn loss_at_start(
    store: &Store,
    classes: &Classes,
    now_ms: u64,
    told_max: usize,
) -> Result<Option<Loss>, String> {
    if stored_classes(&*store.view)?.unwrap_or_default() == text_of(classes).as_bytes() {
        return Ok(None);
    }
    let former = former_classes(&*store.view)?;
    let loss = loss(&*store.view, &former, classes, now_ms, told_max);
    loss.map(Some).map_err(|error| error.to_string())
}

/// Takes classes over that may be others than those of the last start: what is absent by these stays so.
/// Nothing else uses the store meanwhile.
///
/// # Errors
/// Why the store does not do it.
pub(crate) fn adopt(store: &Store, classes: &Classes, now_ms: u64) -> Result<(), String> {
    let (server, text) = (ConversationName::server(), text_of(classes));
    let Some(Loss { affected, events, bytes, .. }) = loss_at_start(store, classes, now_ms, 0)? else {
        return Ok(());
    };
    if events > 0 {
        tracing::warn!(
            conversations = affected,
            events,
            bytes,
            "the retention classes have changed, and make so much of what is stored absent, for good (`retention plan` tells before)"
        );
    }
    let former = former_classes(&*store.view)?;
    let fixes = fixes(&*store.view, &former, classes, now_ms).map_err(|error| error.to_string())?;
    for fixes in fixes.chunks(FIXES_AT_ONCE) {
        commit(store, fixes)?;
    }
    let register = Register { key: Bytes::from_static(CLASSES_REGISTER), value: Some(text.into()) };
    commit(store, &[notice(server, now_ms, vec![register])])
}

fn text_of(classes: &Classes) -> String {
    let texts: Vec<_> = classes.all().iter().map(ToString::to_string).collect();
    texts.join("\n")
}

fn classes_in(text: &[u8]) -> Result<Classes, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let classes = text.lines().map(|line| line.parse::<RetentionClass>().map_err(|error| error.to_string()));
    Ok(Classes::new(classes.collect::<Result<_, _>>()?))
}

/// Notices that fix what is absent of each conversation that has another class than before.
fn fixes(
    view: &dyn View,
    former: &Classes,
    classes: &Classes,
    now_ms: u64,
) -> Result<Vec<Record>, ViewError> {
    let mut fixes = Vec::new();
    view.survey(&mut |name, _| {
        let (before, mut kept) = (former.policy(name), kept_in(view, name)?);
        if before == classes.policy(name) || kept.policy.is_some() {
            return Ok(());
        }
        if let Some(last) = view.last(name)? {
            kept.fix(before, now_ms, End { seq: last.seq, bytes: last.end });
            let (key, value) = (Bytes::from_static(Kept::REGISTER), Some(kept.encode().into()));
            fixes.push(notice(name.clone(), now_ms, vec![Register { key, value }]));
        }
        Ok(())
    })?;
    Ok(fixes)
}

/// Stores a group where nobody else does.
///
/// # Errors
/// Why the store does not do it.
pub(crate) fn commit(store: &Store, records: &[Record]) -> Result<(), String> {
    let mut bytes = Vec::new();
    group::encode(records, &mut bytes);
    let position = store.log.append(&bytes).map_err(|error| error.to_string())?;
    store.log.flush().map_err(|error| error.to_string())?;
    store.view.apply(position, records).map_err(|error| error.to_string())
}

/// By this part of the time in which it is to be gone, what was erased is rewritten; the rest of the time is
/// for doing it.
const DUE_PARTS: u64 = 2;

/// On a full disk is looked at least so often: messages are refused until something is freed.
const LOOK_WHEN_FULL: Duration = Duration::from_secs(5);

/// A segment of the log is ended after this part of it, and all that is kept beside events is looked at,
/// whether these have gone.
const SEGMENT_PARTS: u32 = 4;

const WINDOWS_STAY: &str = "the space of what is absent is not freed";
const OTHERS_STAY: &str = "the space of what is absent beside others is not freed";

/// A task that frees what is absent.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: oneshot::Sender<()>,
    pace: Arc<Pace>,
    task: JoinHandle<()>,
}

impl Retention {
    pub(crate) fn start(engine: Engine, config: &RetentionConfig) -> Self {
        engine.set_erasure_max(config.erasure_max_s.saturating_mul(1_000));
        engine.set_erasure_pace(config.rewrite_bytes_per_s);
        let ((stop, stopped), pace) = (oneshot::channel(), engine.pace(config.rewrite_bytes_per_s));
        let erasure_max = Duration::from_secs(config.erasure_max_s);
        let (sweeper, sweeping) =
            Sweeper::new(engine.clone(), Arc::clone(&pace), erasure_max / SEGMENT_PARTS);
        let mut failure = engine.failure();
        let freeing = Freeing {
            engine,
            sweeping,
            interval: Duration::from_secs(config.interval_s).min(erasure_max / ERASURE_LOOKS_MIN),
            erasure_max,
            pace: Arc::clone(&pace),
        };
        let failed = Arc::clone(&pace);
        let task = tokio::spawn(async move {
            tokio::select! {
                // The sweeper ends when nobody is there who asks it.
                ((), ()) = async { tokio::join!(freeing.run(stopped), sweeper.run()) } => {}
                // What it waits for never comes then, and whoever stops the server waits for it.
                _ = failure.wait_for(Option::is_some) => failed.stop(),
            }
        });
        Self { stop, pace, task }
    }

    /// Waits until the step that it is at is done, and does no more.
    pub(crate) async fn stop(self) {
        self.pace.stop();
        let _ended_by_itself = self.stop.send(());
        let _told = self.task.await;
    }
}

/// How space is freed.
struct Freeing {
    engine: Engine,
    sweeping: Sweeping,
    interval: Duration,
    erasure_max: Duration,
    pace: Arc<Pace>,
}

impl Freeing {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut wait = self.interval;
        // What an earlier process has left is as old as can be.
        let mut log_due = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.engine.reclaim_wanted() => {}
                _ = &mut stopped => return,
            };
            let is_wanted = self.engine.begin_pass();
            let tell = |step| self.engine.change_pass(|pass| pass.step = step);
            wait = self.free(is_wanted, &mut log_due, &tell).await;
            if is_wanted {
                self.sweep_everything(&mut wait, &mut log_due).await;
                // Who has asked for it looks what has become of it.
                tell(Step::Look);
                self.look().await;
            } else {
                self.sweeping.look();
            }
            self.engine.end_pass();
        }
    }

    /// Frees windows, and the log when that is due or wanted; gives how long it is waited until the next
    /// time.
    async fn free(&self, is_wanted: bool, log_due: &mut Instant, tell: &impl Fn(Step)) -> Duration {
        let begun = Instant::now();
        self.done(self.free_windows(is_wanted).await, WINDOWS_STAY);
        tell(Step::Look);
        self.look().await;
        // However long a look takes, what was erased is to be gone in time.
        let rest = self.interval.max(begun.elapsed() * LOOK_REST).min(self.erasure_max / ERASURE_LOOKS_MIN);
        tell(Step::Rewrite);
        self.done(self.rewrite(is_wanted).await, OTHERS_STAY);
        if is_wanted || *log_due <= Instant::now() {
            tell(Step::Log);
            *log_due = Instant::now() + self.erasure_max / SEGMENT_PARTS;
            self.done(self.engine.free_log().await, "the log is not freed of what is in the view");
        }
        if self.engine.is_short() { rest.min(LOOK_WHEN_FULL).max(begun.elapsed()) } else { rest }
    }

    /// Waits until everything is swept, for whoever has asked for that. It may take hours, in which space is
    /// freed as ever, after `wait` and so on: what frees the most waits for nothing.
    async fn sweep_everything(&self, wait: &mut Duration, log_due: &mut Instant) {
        let mut swept = std::pin::pin!(self.sweeping.everything());
        let mut is_asked_again = false;
        loop {
            let is_wanted = tokio::select! {
                swept = &mut swept => {
                    self.done(swept, "what is kept beside events that have gone stays");
                    break;
                }
                () = tokio::time::sleep(*wait) => false,
                () = self.engine.reclaim_wanted() => true,
            };
            is_asked_again |= is_wanted;
            *wait = self.free(is_wanted, log_due, &|_| {}).await;
        }
        if is_asked_again {
            // What could be freed was, and the pass that was promised for it is the next one.
            let _number = self.engine.reclaim_soon();
        }
    }

    /// Tells what could not be done.
    fn done(&self, done: Result<(), String>, what: &'static str) {
        if let Err(error) = done {
            tracing::error!(error, "{what}");
            self.engine.change_pass(|pass| pass.fail(what, &error));
        }
    }

    async fn look(&self) {
        let looked = self.engine.look().await.map_err(|error| error.to_string());
        self.done(looked, "it is not known how much is absent");
    }

    async fn free_windows(&self, is_wanted: bool) -> Result<(), String> {
        let reclaimed = self.engine.reclaim().await?;
        if reclaimed.windows > 0 || is_wanted {
            let (windows, bytes) = (reclaimed.windows, reclaimed.bytes);
            tracing::info!(windows, bytes, "freed the space of what is absent");
        }
        Ok(())
    }

    async fn rewrite(&self, is_wanted: bool) -> Result<(), String> {
        let erasure_max_ms = u64::try_from(self.erasure_max.as_millis()).unwrap_or(u64::MAX);
        let until = Instant::now() + self.erasure_max / SEGMENT_PARTS;
        let (mut passes, mut worth) = (0, Worth::default());
        let mut extent = if is_wanted { Extent::EVERYTHING } else { Extent::Worthwhile };
        loop {
            let now_ms = self.engine.judged_ms();
            let erased_by_ms =
                if is_wanted { now_ms } else { now_ms.saturating_sub(erasure_max_ms / DUE_PARTS) };
            let rewritten = self.engine.rewrite(erased_by_ms, extent, &self.pace).await?;
            extent = extent.behind(&rewritten);
            let Rewritten { windows, bytes, written_bytes, .. } = rewritten;
            if windows > 0 {
                tracing::info!(windows, bytes, written_bytes, "rewrote what stays where others are absent");
            }
            passes += 1;
            // A window that was ended is looked at again at once, a few times: others may share its tables.
            let is_ended = !rewritten.held_up.is_empty() && passes <= PASSES_MAX;
            let goes_on = worth.is_more(&rewritten) || is_ended;
            // However much there is to free, the log and what is beside events have their turn.
            let is_late = Instant::now() >= until;
            if !rewritten.is_done || !goes_on || is_late {
                return all_was(&rewritten, is_wanted && goes_on && is_late);
            }
            if is_wanted {
                // What goes as a whole meanwhile does not wait for copies, which may take hours.
                self.done(self.free_windows(false).await, WINDOWS_STAY);
            }
        }
    }
}

/// Fails with what was left by the last rewrite for whoever wants everything.
fn all_was(rewritten: &Rewritten, is_late: bool) -> Result<(), String> {
    match &rewritten.no_room {
        Some(no_room) => Err(no_room.to_string()),
        None if is_late => Err("it took too long, and there is more: run it again".to_owned()),
        None => Ok(()),
    }
}

/// How often at once windows are ended for what was erased beside them, and how often they are rewritten
/// without more space by that.
const PASSES_MAX: u32 = 4;

/// Tells windows that are worth another rewrite at once from those of which what seems to be dead is not: these
/// would be copied for ever.
#[derive(Debug, Default)]
pub(crate) struct Worth {
    /// Rewrites that have freed no more than they have written, and may be made again and again.
    in_vain: u32,
}

impl Worth {
    /// Whether behind this rewrite another one is worth it at once.
    pub(crate) fn is_more(&mut self, rewritten: &Rewritten) -> bool {
        let is_in_vain = rewritten.settled == 0 && rewritten.bytes <= rewritten.written_bytes;
        self.in_vain += u32::from(is_in_vain);
        rewritten.more && self.in_vain <= PASSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use quoth_core::retention::Classes;
    use quoth_protocol::Seq;
    use quoth_store::{Store, testing};

    use super::{adopt, commit};
    use crate::engine::retention::marks_in;

    #[test]
    fn what_is_absent_by_a_class_stays_so_when_it_is_replaced() {
        let store = Store::memory();
        let classes = |text: &str| Classes::new(vec![text.parse().unwrap()]);
        let (name, mut seq) = (testing::record("room", 1, 1).conversation, 0);
        let mut publish = |count: u64| {
            for _ in 0..count {
                seq += 1;
                commit(&store, &[testing::record("room", seq, seq)]).unwrap();
            }
        };
        let floor = |classes: &Classes| marks_in(&*store.view, &name, classes, 7).unwrap().seq;
        let (three, eight, ever) = (classes("a:room:count=3"), classes("b:room:count=8"), Classes::default());
        adopt(&store, &three, 5).unwrap();
        publish(10);
        assert_eq!(floor(&three), Seq(8));
        adopt(&store, &three, 6).unwrap();
        publish(1);
        adopt(&store, &eight, 6).unwrap();
        assert_eq!(floor(&eight), Seq(9), "and not 4");
        publish(20);
        assert_eq!(floor(&eight), Seq(24));
        adopt(&store, &ever, 7).unwrap();
        assert_eq!(floor(&ever), Seq(24));
    }
}
