//! Frees the space of what is absent, from time to time, and keeps what is absent by classes that are replaced.

use std::time::Duration;

use bytes::Bytes;
use quoth_core::retention::{Classes, End, Kept, RetentionClass};
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Class, Content, Record, Register, Store, View, ViewError, group};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::RetentionConfig;
use crate::engine::retention::kept_in;
use crate::engine::{Clock as _, Engine, SystemClock};

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
    adopt(store, &classes, SystemClock.unix_ms())?;
    Ok(classes)
}

/// Takes classes over that may be others than those of the last start: what is absent by these stays so. Nothing else uses the store
/// meanwhile.
///
/// # Errors
/// Why the store does not do it.
pub(crate) fn adopt(store: &Store, classes: &Classes, now_ms: u64) -> Result<(), String> {
    let (server, text) = (ConversationName::server(), text_of(classes));
    let stored = store.view.register(&server, CLASSES_REGISTER).map_err(|error| error.to_string())?;
    if stored.as_deref().unwrap_or_default() == text.as_bytes() {
        return Ok(());
    }
    let former = stored.map(|stored| classes_in(&stored)).transpose()?.unwrap_or_default();
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

/// What the server itself says of a conversation.
pub(crate) fn notice(conversation: ConversationName, time_ms: u64, registers: Vec<Register>) -> Record {
    Record {
        conversation,
        seq: Seq::ZERO,
        time_ms,
        origin_time_ms: None,
        sender: UserId::new("$server").expect("an id"),
        id: None,
        content: Content::Notice(Bytes::new()),
        expires_ms: 0,
        offset: 0,
        class: Class::default(),
        erases: Vec::new(),
        ends_window: false,
        registers,
    }
}

/// How often space is freed. A look costs a read of each span, and the youngest class has windows of eight seconds.
const INTERVAL: Duration = Duration::from_secs(60);

/// For so many times as long as it took, nothing is freed again: it takes a twentieth of a processor at most.
const REST: u32 = 19;

/// A task that frees what is absent.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Retention {
    pub(crate) fn start(engine: Engine) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(engine, stopped)) }
    }

    /// Waits until what it does is done, and does no more.
    pub(crate) async fn stop(self) {
        let _ended_by_itself = self.stop.send(());
        let _told = self.task.await;
    }
}

async fn run(engine: Engine, mut stopped: oneshot::Receiver<()>) {
    let mut wait = INTERVAL;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = &mut stopped => return,
        }
        let begun = tokio::time::Instant::now();
        match engine.reclaim().await {
            Ok(reclaimed) if reclaimed.windows > 0 => {
                tracing::info!(
                    windows = reclaimed.windows,
                    bytes = reclaimed.bytes,
                    "freed the space of what is absent"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(error, "the space of what is absent is not freed"),
        }
        wait = INTERVAL.max(begun.elapsed() * REST);
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
