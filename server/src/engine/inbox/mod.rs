//! What users have read, and their lists of conversations: what has to be done for them beside the committer.
//!
//! The committer says once for each group which conversations were written to ([`Inbox::written`]), and marks
//! those in the log that are to move in their members' lists, once a minute for each. One task ([`keeper`])
//! does the rest: it stores cursors, moves lists, and tells whoever is there of the users concerned. So a
//! publish costs what it costs without anybody's list.

mod changed;
mod counts;
mod entries;
mod keeper;
mod moves;
mod pages;
mod plan;
mod receipts;
mod rows;
mod settings;
mod tell;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use quoth_core::receipts::{Cursor, Pending};
use quoth_core::retention::Classes;
use quoth_protocol::{ConversationName, UserId};
use tokio::sync::{Notify, oneshot};

use self::counts::Counts;
use self::watch::Watchers;
use super::Engine;
use super::states::KnownConversation;

pub use pages::Page as InboxPage;
pub use receipts::{Greeting, Receipts};
pub use watch::{Batch, InboxWatch, Since};

pub(super) use keeper::keep;
pub(crate) use receipts::is_small;

/// How often a user's cursor of a conversation is stored at most, in milliseconds.
pub(super) const CURSOR_INTERVAL_MS: u64 = 1_000;

/// Everything of one engine that is about what users have read and their lists.
#[derive(Debug)]
pub(super) struct Inbox {
    cursors: Mutex<Pending>,
    waiting: Mutex<Waiting>,
    /// Rings when there is something to do.
    rung: Notify,
    watchers: Watchers,
    counts: Counts,
    /// How conversations are kept that have no policy of their own.
    classes: Arc<Classes>,
}

/// What it is now.
#[derive(Debug, Clone, Copy)]
struct Now {
    /// By what lists and events are dated, in milliseconds since 1970.
    judged_ms: u64,
    /// By what intervals are measured, in milliseconds since some time: a clock that is set back, and one that
    /// jumps, holds up nobody.
    elapsed_ms: u64,
}

impl Now {
    fn of(engine: &Engine) -> Self {
        Self { judged_ms: engine.judged_ms(), elapsed_ms: engine.elapsed_ms() }
    }
}

/// What the keeper has not done yet.
#[derive(Debug, Default)]
struct Waiting {
    written: BTreeMap<ConversationName, Written>,
    /// Conversations that users have come into, have left, or want something else of.
    own: BTreeSet<Own>,
    /// Those who wait until a cursor is stored.
    marks: Vec<Mark>,
    /// Those who wait until no cursor has to be stored.
    settled: Vec<oneshot::Sender<()>>,
    /// Whether the store has failed: nothing is done any more.
    has_failed: bool,
}

/// A conversation that was written to.
#[derive(Debug)]
pub(super) struct Written {
    /// What is known of it.
    pub(super) known: Arc<KnownConversation>,
    /// When it is to be moved to in its members' lists, in milliseconds since 1970, if it is.
    pub(super) moves_to_ms: Option<u64>,
    /// When it is to be said there to have changed, in milliseconds since 1970, if it is.
    pub(super) changed_ms: Option<u64>,
}

impl Written {
    /// It was written to once more.
    pub(super) fn merge(&mut self, other: &Self) {
        self.moves_to_ms = self.moves_to_ms.max(other.moves_to_ms);
        self.changed_ms = self.changed_ms.max(other.changed_ms);
    }
}

/// Something in a user's own log that is about a conversation in the user's list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Own {
    pub(super) user: UserId,
    pub(super) conversation: ConversationName,
    /// Whether the user has left it.
    pub(super) has_left: bool,
}

#[derive(Debug)]
struct Mark {
    conversation: ConversationName,
    user: UserId,
    cursor: Cursor,
    stored: oneshot::Sender<()>,
}

impl Inbox {
    pub(super) fn new(classes: Arc<Classes>) -> Self {
        Self {
            cursors: Mutex::new(Pending::new(CURSOR_INTERVAL_MS)),
            waiting: Mutex::default(),
            rung: Notify::new(),
            watchers: Watchers::default(),
            counts: Counts::default(),
            classes,
        }
    }

    /// A group is durable and out: managed conversations that got events, each once, and what users' own logs
    /// got.
    pub(super) fn written(&self, written: Vec<(ConversationName, Written)>, own: Vec<Own>) {
        if written.is_empty() && own.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for (name, new) in written {
            waiting.add(name, new);
        }
        waiting.own.extend(own);
        drop(waiting);
        self.rung.notify_one();
    }
}

impl Waiting {
    fn add(&mut self, name: ConversationName, mut new: Written) {
        if let Some(before) = self.written.get(&name) {
            new.merge(before);
        }
        self.written.insert(name, new);
    }
}
