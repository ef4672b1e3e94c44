//! Who reads which conversation, told to those who want to know.
//!
//! A roster is made from the mailboxes of all workers when something of it has changed, once for everybody
//! who watches and at most every [`ROSTER_INTERVAL_MS`]. Conversations that nobody watches cost one look-up
//! when a reader comes or goes. Who has blocked somebody else who reads there is told to all but that one,
//! for whom there is a roster of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{Present, ServerFrame};
use quoth_protocol::limits::{ROSTER_INTERVAL_MS, ROSTER_USERS_MAX};
use quoth_protocol::presence::Status;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::ViewError;
use tokio::sync::Notify;

use super::Inner;

/// Says who is there, and hears of what is of importance to those who want to know that.
pub trait Statuses: std::fmt::Debug + Send + Sync {
    /// A user's status.
    fn of(&self, user: &UserId) -> Status;

    /// A managed conversation has other members than before.
    fn members_changed(&self, conversation: &ConversationName);

    /// Somebody has blocked a user, or does so no more.
    fn block_changed(&self, user: &UserId);
}

/// The rosters of the conversations that somebody watches.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    /// Without it everybody who reads is taken for there.
    statuses: RwLock<Option<Arc<dyn Statuses>>>,
    watched: Mutex<HashMap<ConversationName, Watched>>,
    /// Rings when a roster has changed.
    changed: Notify,
}

#[derive(Debug)]
struct Watched {
    watchers: usize,
    has_changed: bool,
    roster: Arc<Roster>,
}

/// The roster of one conversation as it was told last.
#[derive(Debug, Default)]
struct Roster {
    /// Grows with every frame; 0 before the first one.
    version: AtomicU64,
    frames: Mutex<Frames>,
}

/// What is told, and to whom.
#[derive(Debug, Default, PartialEq)]
struct Frames {
    /// To everybody but those below.
    all: Bytes,
    /// To those whom somebody has blocked who reads there too.
    own: HashMap<UserId, Bytes>,
}

/// Whom others have blocked, and by whom.
type Blocks = HashMap<UserId, BTreeSet<UserId>>;

/// Watches the roster of one conversation until it is dropped.
#[derive(Debug)]
pub struct RosterWatch {
    rosters: Arc<Rosters>,
    conversation: ConversationName,
    user: UserId,
    roster: Arc<Roster>,
    /// The version that was taken last.
    taken: u64,
}

impl Rosters {
    pub(super) fn set_statuses(&self, statuses: Arc<dyn Statuses>) {
        *self.statuses.write() = Some(statuses);
    }

    /// Who hears of changes, if anybody does.
    pub(super) fn statuses(&self) -> Option<Arc<dyn Statuses>> {
        self.statuses.read().clone()
    }

    fn frames(&self, readers: &BTreeMap<UserId, Seq>, blocks: &Blocks) -> Frames {
        let own = blocks.iter().map(|(user, by)| (user.clone(), self.frame(readers, Some(by))));
        Frames { own: own.collect(), all: self.frame(readers, None) }
    }

    /// The roster without some of the readers.
    fn frame(&self, readers: &BTreeMap<UserId, Seq>, hidden: Option<&BTreeSet<UserId>>) -> Bytes {
        let statuses = self.statuses();
        // One who reads is there, whatever has not come to the others yet.
        let status = |user: &UserId| match &statuses {
            Some(statuses) => statuses.of(user).min(Status::Away),
            None => Status::Online,
        };
        let seen = readers.iter().filter(|(user, _)| hidden.is_none_or(|hidden| !hidden.contains(*user)));
        let users = u32::try_from(seen.clone().count()).unwrap_or(u32::MAX);
        let present = seen.take(ROSTER_USERS_MAX);
        let present =
            present.map(|(user, seen)| Present { user: user.clone(), seen: *seen, status: status(user) });
        encode(&ServerFrame::Roster { users, present: present.collect() })
    }

    /// Watches as a user.
    pub(super) fn watch(this: &Arc<Self>, conversation: &ConversationName, user: &UserId) -> RosterWatch {
        let mut watched = this.watched.lock();
        let entry = watched.entry(conversation.clone()).or_insert_with(|| Watched {
            watchers: 0,
            has_changed: true,
            roster: Arc::default(),
        });
        entry.watchers += 1;
        let roster = Arc::clone(&entry.roster);
        this.changed.notify_one();
        let (conversation, user) = (conversation.clone(), user.clone());
        RosterWatch { rosters: Arc::clone(this), conversation, user, roster, taken: 0 }
    }

    /// A reader has come, has gone, or has read on.
    pub(super) fn change(&self, conversation: &ConversationName) {
        if let Some(watched) = self.watched.lock().get_mut(conversation) {
            watched.has_changed = true;
            self.changed.notify_one();
        }
    }

    fn take_changed(&self) -> Vec<(ConversationName, Arc<Roster>)> {
        let mut watched = self.watched.lock();
        let changed = watched.iter_mut().filter_map(|(name, watched)| {
            std::mem::take(&mut watched.has_changed).then(|| (name.clone(), Arc::clone(&watched.roster)))
        });
        changed.collect()
    }
}

impl RosterWatch {
    /// The present roster's frame, if it is another one than was taken last.
    pub fn take(&mut self) -> Option<Bytes> {
        let version = self.roster.version.load(Ordering::Acquire);
        (version != std::mem::replace(&mut self.taken, version)).then(|| {
            let frames = self.roster.frames.lock();
            frames.own.get(&self.user).unwrap_or(&frames.all).clone()
        })
    }
}

impl Drop for RosterWatch {
    fn drop(&mut self) {
        let mut watched = self.rosters.watched.lock();
        if let Some(entry) = watched.get_mut(&self.conversation) {
            entry.watchers -= 1;
            if entry.watchers == 0 {
                watched.remove(&self.conversation);
            }
        }
    }
}

/// Makes the rosters that have changed and wakes their watchers, for as long as the engine lives.
pub(super) async fn tell(rosters: Arc<Rosters>, engine: Weak<Inner>) {
    loop {
        rosters.changed.notified().await;
        let Some(engine) = engine.upgrade() else { return };
        for (conversation, roster) in rosters.take_changed() {
            let mailboxes = engine.workers.readers(&conversation);
            let mut readers = BTreeMap::<UserId, Seq>::new();
            for mailbox in &mailboxes {
                let seen = readers.entry(mailbox.user().clone()).or_default();
                *seen = mailbox.seen().max(*seen);
            }
            let blocks = match blocks_among(&engine, &readers).await {
                Ok(blocks) => blocks,
                Err(error) => {
                    tracing::error!(%error, %conversation, "who reads is not told, since it cannot be read who may know it");
                    continue;
                }
            };
            let frames = rosters.frames(&readers, &blocks);
            let mut told = roster.frames.lock();
            if *told == frames {
                continue;
            }
            *told = frames;
            drop(told);
            roster.version.fetch_add(1, Ordering::Release);
            mailboxes.iter().filter(|reader| reader.wants_roster()).for_each(|reader| reader.wake());
        }
        drop(engine);
        tokio::time::sleep(Duration::from_millis(ROSTER_INTERVAL_MS)).await;
    }
}

/// Which of the readers have blocked others of them.
async fn blocks_among(engine: &Inner, readers: &BTreeMap<UserId, Seq>) -> Result<Blocks, ViewError> {
    let mut blocks = Blocks::new();
    for user in readers.keys() {
        let known = engine.users.get(user, &engine.reads, engine.reads.applied_position().0).await?;
        for blocked in known.read().blocked().filter(|blocked| readers.contains_key(*blocked)) {
            blocks.entry(blocked.clone()).or_default().insert(user.clone());
        }
    }
    Ok(blocks)
}
