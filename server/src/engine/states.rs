//! What is known of conversations and users, in memory, within a budget.
//!
//! A state is loaded from the view's registers by whoever asks first; the others wait for that one. The
//! committer alone changes it, when the change is durable. One that the view does not have as it is stays in
//! memory, so a load never finds less than what was known before. Streams hold what they use, so it has one
//! version for all of them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use quoth_core::membership::user::{BLOCKED, UserState};
use quoth_core::membership::{ConversationState, PREFIXES};
use quoth_core::messages::{
    ABSENT, Absent, MessageState, OF_EVENT, absent_key, edit_key, reactions_prefix, summary_key,
};
use quoth_core::retention::Kept;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{View, ViewError};
use tokio::sync::OnceCell;

/// What the states of one kind cost together at most, in users that they know of: about 100 bytes each. What
/// is in use, or what the view does not have yet, is kept beyond it.
const USERS_MAX: u64 = 1_000_000;

/// What a state costs besides its users, in users.
const STATE_USERS: u64 = 4;

/// States that a look-up looks at when there are too many.
const EVICTION_STEPS_MAX: usize = 4;

/// Registers that are read at once.
const REGISTERS_PAGE: usize = 1_000;

/// Ranges of absent events of a conversation that are kept whether there is a way to say them shorter or not.
const ABSENT_RANGES_MAX: usize = 256;

// The store takes the registers of messages away with the messages.
const _: () = assert!(OF_EVENT == quoth_store::OF_EVENT);

/// Something that registers hold.
pub(crate) trait State: Debug + Sized + Send + Sync + 'static {
    /// By what it is known.
    type Key: Clone + Eq + Hash + Debug + Send + Sync;

    /// Reads it from the view.
    fn load(view: &dyn View, key: &Self::Key) -> Result<Self, ViewError>;

    /// Grows with each change; 0 before the first one.
    fn version(&self) -> u64;

    /// How many users it knows of.
    fn users(&self) -> usize;
}

/// A state that is in memory, once it is loaded.
#[derive(Debug)]
pub(crate) struct Known<S> {
    state: OnceCell<RwLock<S>>,
    /// The version that is out.
    released: AtomicU64,
    /// The version that the committer has come to. It is out when its group is durable.
    sequenced: AtomicU64,
    /// The log position of the last change.
    position: AtomicU64,
    /// What it is charged for, in users.
    charge: AtomicU64,
    /// How it stands in lists.
    listed: Listed,
}

/// What is known of how a conversation stands in its members' lists. It begins anew with each load, which
/// costs a move too many at most.
#[derive(Debug, Default)]
struct Listed {
    /// The group that it was written to last.
    written: AtomicU64,
    /// When it moves again, in milliseconds since 1970.
    moves_ms: AtomicU64,
    /// When it is said again to have changed without a move, in milliseconds since 1970.
    changes_ms: AtomicU64,
    /// The last version in which it had few enough members to be moved; who came with it stands elsewhere
    /// than who came before.
    small: AtomicU64,
    /// The version in which it was put among those with too many members in all of their lists; 0: it never
    /// was.
    large: AtomicU64,
}

/// A conversation, managed or not.
pub(crate) type KnownConversation = Known<Option<ConversationState>>;

/// How a conversation is kept.
pub(crate) type KnownKept = Known<Kept>;

/// The absent events of a conversation.
pub(crate) type KnownAbsent = Known<Absent>;

/// A message, as far as it may be altered.
pub(crate) type KnownMessage = Known<MessageState>;

/// Which message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MessageKey {
    pub(crate) conversation: ConversationName,
    pub(crate) seq: Seq,
}

/// A user.
pub(crate) type KnownUser = Known<UserState>;

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self {
            state: OnceCell::new(),
            released: AtomicU64::new(0),
            sequenced: AtomicU64::new(0),
            position: AtomicU64::new(0),
            charge: AtomicU64::new(0),
            listed: Listed::default(),
        }
    }
}

impl<S: State> Known<S> {
    /// One that is loaded, for tests of what holds it.
    #[cfg(test)]
    pub(super) fn loaded(state: S) -> Self {
        Self { state: OnceCell::new_with(Some(RwLock::new(state))), ..Self::default() }
    }

    /// The state that is out. To be held for a moment only.
    ///
    /// # Panics
    /// When it is not loaded: nobody gets one before it is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, S> {
        self.state.get().expect("it is loaded before it is given away").read()
    }

    /// The version that is out.
    pub(super) fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// The version that the committer has come to.
    pub(super) fn sequenced(&self) -> u64 {
        self.sequenced.load(Ordering::Relaxed)
    }

    /// The committer has come to this version.
    pub(super) fn set_sequenced(&self, version: u64) {
        self.sequenced.store(version, Ordering::Relaxed);
    }

    /// Lets a durable change out, which the group at `position` of the log holds.
    pub(super) fn release(&self, position: u64, change: impl FnOnce(&mut S)) {
        // Before the change: whoever asks what may be forgotten must not find the old one.
        self.position.store(position, Ordering::Release);
        let mut state = self.state.get().expect("it is loaded before it is changed").write();
        change(&mut state);
        self.released.store(state.version(), Ordering::Release);
    }

    /// Changes how a state says what it says.
    fn rephrase(&self, change: impl FnOnce(&mut S)) {
        if let Some(state) = self.state.get() {
            change(&mut state.write());
        }
    }

    /// The committer writes to it in a group. Says whether that is the first time in this group.
    pub(super) fn writes(&self, group: u64) -> bool {
        self.listed.written.swap(group, Ordering::Relaxed) != group
    }

    /// Whether it is to move in its members' lists at `now_ms`, which it does not again for `interval_ms`
    /// then.
    pub(super) fn moves(&self, now_ms: u64, interval_ms: u64) -> bool {
        let is_due = self.listed.moves_ms.load(Ordering::Relaxed) <= now_ms;
        if is_due {
            self.listed.moves_ms.store(now_ms.saturating_add(interval_ms), Ordering::Relaxed);
        }
        is_due
    }

    /// Whether its members' lists are to say at `now_ms` that it has changed, which they do not again for
    /// `interval_ms` then. One that has moved is known to have changed for as long.
    pub(super) fn changes(&self, now_ms: u64, interval_ms: u64) -> bool {
        let is_due = [&self.listed.moves_ms, &self.listed.changes_ms]
            .iter()
            .all(|due_ms| due_ms.load(Ordering::Relaxed) <= now_ms);
        if is_due {
            self.listed.changes_ms.store(now_ms.saturating_add(interval_ms), Ordering::Relaxed);
        }
        is_due
    }

    /// What was written to it in a group is taken back, with its move if it moved, and that it has changed if
    /// that was to be said.
    pub(super) fn take_back(&self, moved: bool, changed: bool) {
        self.listed.written.store(0, Ordering::Relaxed);
        if moved {
            self.listed.moves_ms.store(0, Ordering::Relaxed);
        }
        if changed {
            self.listed.changes_ms.store(0, Ordering::Relaxed);
        }
    }

    /// It has few enough members in this version to be moved in their lists.
    pub(super) fn set_small(&self, version: Seq) {
        self.listed.small.fetch_max(version.0, Ordering::Relaxed);
    }

    /// Its members of this version have it among those with too many members.
    pub(super) fn set_large(&self, version: Seq) {
        self.listed.large.fetch_max(version.0, Ordering::Relaxed);
    }

    /// Whether all of its members have it there, if it has too many of them: who has come since then came to
    /// a large one.
    pub(super) fn stands_large(&self) -> bool {
        self.listed.large.load(Ordering::Relaxed) > self.listed.small.load(Ordering::Relaxed)
    }

    async fn load(&self, key: &S::Key, reads: &super::Reads) -> Result<(), ViewError> {
        let load = || {
            let key = key.clone();
            async move {
                let state = reads.run(move |view| S::load(view, &key)).await?;
                self.released.store(state.version(), Ordering::Release);
                self.sequenced.store(state.version(), Ordering::Relaxed);
                Ok(RwLock::new(state))
            }
        };
        self.state.get_or_try_init(load).await.map(|_| ())
    }
}

/// The states of one kind.
#[derive(Debug)]
pub(crate) struct States<S: State> {
    cache: Mutex<Cache<S>>,
    users_max: u64,
}

#[derive(Debug)]
struct Cache<S: State> {
    known: HashMap<S::Key, Entry<S>>,
    /// Every key of `known`, in the order in which they are looked at for eviction.
    queue: VecDeque<S::Key>,
    /// What all of them are charged for.
    users: u64,
}

#[derive(Debug)]
struct Entry<S> {
    known: Arc<Known<S>>,
    used: bool,
}

impl<S: State> Default for States<S> {
    fn default() -> Self {
        Self::with_users_max(USERS_MAX)
    }
}

impl<S: State> States<S> {
    fn with_users_max(users_max: u64) -> Self {
        let cache = Cache { known: HashMap::new(), queue: VecDeque::new(), users: 0 };
        Self { cache: Mutex::new(cache), users_max }
    }

    /// What is known of a key, loaded. The view has everything that was changed up to log position `applied`.
    pub(super) async fn get(
        &self,
        key: &S::Key,
        reads: &super::Reads,
        applied: u64,
    ) -> Result<Arc<Known<S>>, ViewError> {
        let known = self.entry(key, applied);
        if !known.state.initialized() {
            known.load(key, reads).await?;
        }
        self.charge(&known);
        Ok(known)
    }

    /// Charges what a state costs now.
    fn charge(&self, known: &Known<S>) {
        let users = STATE_USERS + known.read().users() as u64;
        if known.charge.load(Ordering::Relaxed) == users {
            return;
        }
        let mut cache = self.cache.lock();
        let before = known.charge.swap(users, Ordering::Relaxed);
        cache.users = cache.users + users - before;
    }

    fn entry(&self, key: &S::Key, applied: u64) -> Arc<Known<S>> {
        let mut cache = self.cache.lock();
        if let Some(entry) = cache.known.get_mut(key) {
            entry.used = true;
            return Arc::clone(&entry.known);
        }
        let known = Arc::<Known<S>>::default();
        cache.known.insert(key.clone(), Entry { known: Arc::clone(&known), used: false });
        cache.queue.push_back(key.clone());
        cache.evict(self.users_max, applied);
        known
    }
}

impl States<Absent> {
    /// Those that tell of so much one by one that it is worth a look how much of that has gone.
    pub(super) fn long(&self) -> Vec<(ConversationName, Arc<KnownAbsent>)> {
        let is_long = |known: &KnownAbsent| {
            known.state.get().is_some_and(|state| state.read().ranges_count() > ABSENT_RANGES_MAX)
        };
        let cache = self.cache.lock();
        let long = cache.known.iter().filter(|(_, entry)| is_long(&entry.known));
        long.map(|(name, entry)| (name.clone(), Arc::clone(&entry.known))).collect()
    }
}

impl KnownAbsent {
    /// Everything before the floor has gone: that is said once.
    pub(super) fn forget_before(&self, floor: Seq) {
        if let Some(last) = floor.0.checked_sub(1).filter(|last| *last > 0) {
            self.rephrase(|absent| absent.insert_range(Seq(1), Seq(last)));
        }
    }
}

impl<S: State> Cache<S> {
    /// Second chance: what was used since it was last looked at stays.
    fn evict(&mut self, users_max: u64, applied: u64) {
        for _ in 0..EVICTION_STEPS_MAX {
            if self.users <= users_max {
                return;
            }
            let Some(key) = self.queue.pop_front() else { return };
            match self.known.get_mut(&key) {
                Some(entry) if entry.is_needed(applied) => {
                    entry.used = false;
                    self.queue.push_back(key);
                }
                Some(entry) => {
                    self.users -= entry.known.charge.load(Ordering::Relaxed);
                    self.known.remove(&key);
                }
                None => {}
            }
        }
    }
}

impl<S> Entry<S> {
    fn is_needed(&self, applied: u64) -> bool {
        // Whoever has one got it under the cache's lock, which is held here.
        self.used
            || Arc::strong_count(&self.known) > 1
            || self.known.position.load(Ordering::Acquire) > applied
    }
}

impl State for Option<ConversationState> {
    type Key = ConversationName;

    fn load(view: &dyn View, name: &ConversationName) -> Result<Self, ViewError> {
        let mut of_state = Vec::new();
        for prefix in PREFIXES {
            of_state.extend(registers(view, name, &[prefix])?);
        }
        ConversationState::load(of_state).map_err(|error| damaged(name, error.0))
    }

    fn version(&self) -> u64 {
        self.as_ref().map_or(0, |state| state.version().0)
    }

    fn users(&self) -> usize {
        self.as_ref().map_or(0, ConversationState::users_count)
    }
}

impl State for Kept {
    type Key = ConversationName;

    fn load(view: &dyn View, name: &ConversationName) -> Result<Self, ViewError> {
        match view.register(name, Self::REGISTER)? {
            Some(row) => Self::decode(&row).map_err(|_| damaged(name, "its retention does not decode")),
            None => Ok(Self::default()),
        }
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn users(&self) -> usize {
        0
    }
}

impl State for UserState {
    type Key = UserId;

    fn load(view: &dyn View, user: &UserId) -> Result<Self, ViewError> {
        let name = ConversationName::of_user(user);
        Self::load(registers(view, &name, &[BLOCKED])?).map_err(|error| damaged(&name, error.0))
    }

    fn version(&self) -> u64 {
        self.version().0
    }

    fn users(&self) -> usize {
        self.blocked_count()
    }
}

impl State for Absent {
    type Key = ConversationName;

    fn load(view: &dyn View, name: &ConversationName) -> Result<Self, ViewError> {
        Self::load(registers(view, name, &ABSENT)?).map_err(|error| damaged(name, error.0))
    }

    fn version(&self) -> u64 {
        self.version().0
    }

    fn users(&self) -> usize {
        self.ranges_count()
    }
}

/// Bytes that cost as much as a user does.
const USER_BYTES: usize = 100;

impl State for MessageState {
    type Key = MessageKey;

    fn load(view: &dyn View, MessageKey { conversation, seq }: &MessageKey) -> Result<Self, ViewError> {
        let mut all = registers(view, conversation, &reactions_prefix(*seq))?;
        for key in [edit_key(*seq), summary_key(*seq), absent_key(*seq)] {
            all.extend(view.register(conversation, &key)?.map(|value| (key.into(), value)));
        }
        Self::load(*seq, all).map_err(|error| damaged(conversation, error.0))
    }

    fn version(&self) -> u64 {
        self.version().0
    }

    fn users(&self) -> usize {
        self.users_count() + self.edited().map_or(0, |edit| edit.body.len() / USER_BYTES)
    }
}

fn registers(
    view: &dyn View,
    name: &ConversationName,
    prefix: &[u8],
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, ViewError> {
    let mut all = view.registers(name, prefix, None, REGISTERS_PAGE)?;
    let mut last = all.len();
    while last == REGISTERS_PAGE {
        let after = all.last().map(|(key, _)| key.clone());
        let page = view.registers(name, prefix, after.as_deref(), REGISTERS_PAGE)?;
        last = page.len();
        all.extend(page);
    }
    Ok(all)
}

fn damaged(name: &ConversationName, what: &'static str) -> ViewError {
    ViewError::DamagedConversation { conversation: name.clone(), what }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use quoth_protocol::UserId;
    use quoth_store::{MemoryView, View, ViewError};

    use super::{STATE_USERS, State, States};
    use crate::engine::{Execution, Reads};

    static LOADS: AtomicUsize = AtomicUsize::new(0);

    /// A number that grows.
    #[derive(Debug)]
    struct Counted(u64);

    impl State for Counted {
        type Key = UserId;

        fn load(_: &dyn View, _: &UserId) -> Result<Self, ViewError> {
            LOADS.fetch_add(1, Ordering::Relaxed);
            Ok(Self(0))
        }

        fn version(&self) -> u64 {
            self.0
        }

        fn users(&self) -> usize {
            0
        }
    }

    fn reads() -> Reads {
        let read = Duration::from_micros(1);
        Reads::new(Arc::new(MemoryView::new()), None, Execution::Tasks { flush: Duration::ZERO, read })
    }

    fn user(name: usize) -> UserId {
        UserId::new(format!("u{name}")).unwrap()
    }

    #[tokio::test]
    async fn states_are_loaded_once_and_forgotten_when_they_may_be() {
        let (states, reads) = (States::<Counted>::with_users_max(10 * STATE_USERS), reads());
        let first = user(0);
        let (a, b) = tokio::join!(states.get(&first, &reads, 0), states.get(&first, &reads, 0));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(LOADS.load(Ordering::Relaxed), 1, "by whoever asks first");
        // One is in use, one has a change at position 7 that the view lacks, and the others go.
        drop(b);
        let changed = states.get(&user(1), &reads, 0).await.unwrap();
        changed.release(7, |state| state.0 = 3);
        drop(changed);
        let forget = async |applied| {
            for other in 2..200 {
                drop(states.get(&user(other), &reads, applied).await.unwrap());
            }
        };
        forget(6).await;
        let cache = || states.cache.lock().known.len();
        assert!((2..=13).contains(&cache()), "{}", cache());
        assert!(Arc::ptr_eq(&a, &states.get(&user(0), &reads, 6).await.unwrap()));
        assert_eq!(states.get(&user(1), &reads, 6).await.unwrap().read().0, 3, "the view has an older one");
        assert_eq!(a.released(), 0);
        drop(a);
        forget(7).await;
        assert_eq!(states.get(&user(1), &reads, 7).await.unwrap().read().0, 0, "it was loaded again");
        let kept = cache() as u64;
        assert_eq!(states.cache.lock().users, STATE_USERS * kept);
    }
}
