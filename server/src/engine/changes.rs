//! Changes on their way to the log, and what readers of the states ask for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use quoth_core::authorize::Grant;
use quoth_core::membership::user::{CONVERSATION, blocked_by, blocked_key, conversation_of};
use quoth_core::membership::{Actor, Change, ConversationState, Refusal};
use quoth_core::messages::{Alteration, Target};
use quoth_core::retention::{Kept, Retain};
use quoth_protocol::frame::EventKind;
use quoth_protocol::name::Reserved;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::{PageLimit, Position, View, ViewError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::access::Access;
use super::publisher::Last;
use super::retain::Settled;
use super::retention::Keeps;
use super::states::{KnownAbsent, KnownConversation, KnownMessage, KnownUser};
use super::{Engine, Request};

/// What a waiting change takes, in bytes; rounded up, but for those of whom it makes members.
const CHANGE_BYTES: usize = 4 * 1024;

/// What each user takes whom a waiting change is about, in bytes; rounded up.
const USER_BYTES: usize = 512;

/// Who asks for a change.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A signed-in user.
    User(Arc<Grant>),
    /// The operator, in a user's name: see [`Actor::Operator`].
    Operator(UserId),
}

impl Caller {
    /// The caller, for the rules.
    #[must_use]
    pub fn actor(&self) -> Actor<'_> {
        match self {
            Self::User(grant) => Actor::User(grant),
            Self::Operator(sender) => Actor::Operator { sender },
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The log in which it is.
    pub conversation: ConversationName,
    /// Its last event there; 0 when nothing had to change.
    pub seq: Seq,
    /// When that was stored, in milliseconds since 1970; 0 when nothing had to change.
    pub time_ms: u64,
}

/// Tells what became of a change, once that is durable.
pub(super) type Answer = (oneshot::Sender<Result<Done, Refusal>>, Result<Done, Refusal>);

/// A change on its way to the log.
#[derive(Debug)]
pub(super) struct ChangeRequest {
    pub(super) caller: Caller,
    pub(super) what: What,
    pub(super) heads: Heads,
    pub(super) answer: oneshot::Sender<Result<Done, Refusal>>,
    /// Its share of what waits.
    pub(super) queued: OwnedSemaphorePermit,
}

impl ChangeRequest {
    /// What it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        self.queued.num_permits()
    }

    /// Whether it is stored on a full disk too, with the reserve: of what operators ask for, that by which
    /// something goes, or less is written.
    pub(super) const fn is_urgent(&self) -> bool {
        let is_operators = matches!(self.caller, Caller::Operator(_));
        is_operators
            && match &self.what {
                What::Retain { .. } | What::Block { blocked: false, .. } => true,
                What::Message { alteration, .. } => {
                    matches!(alteration, Alteration::Revoke | Alteration::React { on: false, .. })
                }
                What::Conversation { change, .. } => !matches!(
                    change,
                    Change::Create { .. }
                        | Change::SetMember { .. }
                        | Change::Rename { .. }
                        | Change::Invite { .. }
                ),
                What::Own { kind, .. } => matches!(kind, EventKind::Revoked { .. }),
                What::Block { .. } | What::Hide { .. } => false,
            }
    }
}

/// What is to change. The states are loaded.
#[derive(Debug)]
pub(super) enum What {
    Conversation {
        name: ConversationName,
        known: Arc<KnownConversation>,
        change: Change,
        keeps: Keeps,
        /// Those who would be added, who may have blocked the caller.
        added: Vec<(UserId, Arc<KnownUser>)>,
    },
    /// How it is kept.
    Retain {
        name: ConversationName,
        known: Arc<KnownConversation>,
        keeps: Keeps,
        retain: Retain,
        /// Told with the answer.
        settled: Arc<OnceLock<Settled>>,
    },
    /// Something that the user's own log is told, and nobody else.
    Own {
        me: UserId,
        kind: EventKind,
    },
    Block {
        me: UserId,
        known: Arc<KnownUser>,
        user: UserId,
        blocked: bool,
    },
    Message {
        access: Arc<Access>,
        absent: Arc<KnownAbsent>,
        known: Arc<KnownMessage>,
        target: Target,
        alteration: Alteration,
    },
    /// In the caller's own log.
    Hide {
        conversation: ConversationName,
        seq: Seq,
    },
}

/// Where the logs end to which a change may append, as the view has it. It saves the committer its own reads,
/// as [`Prior`](super::publisher::Prior) does.
#[derive(Debug)]
pub(super) struct Heads {
    /// The view had at least the groups up to here.
    pub(super) applied: Position,
    pub(super) lasts: HashMap<ConversationName, Last>,
}

impl Heads {
    fn read(view: &dyn View, names: Vec<ConversationName>) -> Self {
        let applied = view.applied();
        // The committer comes upon the same damage, and says so.
        let read = |name: &ConversationName| Last::read(view, name);
        let lasts = names.into_iter().filter_map(|name| read(&name).ok().map(|last| (name, last)));
        Self { applied, lasts: lasts.collect() }
    }
}

impl Engine {
    /// A user's access to a conversation, by the name that clients give it.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn access(&self, name: &ConversationName, user: &UserId) -> Result<Arc<Access>, ViewError> {
        if name.is_me() {
            return Ok(Access::of_own_log(user));
        }
        if name.reserved() == Some(Reserved::Server) {
            return Ok(Access::nowhere(name.clone()));
        }
        let conversation = self.state(name).await?;
        let absent = self.absent(name).await?;
        let keeps = self.keeps(name).await?;
        // Last, since it is asked of a state that may come to be meanwhile.
        let other = conversation.read().as_ref().and_then(|state| state.other(user)).cloned();
        let other = match other {
            Some(other) => Some(self.user(&other).await?),
            None => None,
        };
        Ok(Access::new(name.clone(), conversation, absent, other, keeps))
    }

    /// What is known of a conversation: whether it is managed, and its state.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn state(&self, name: &ConversationName) -> Result<Arc<KnownConversation>, ViewError> {
        let (reads, applied) = (&self.inner.reads, self.inner.reads.applied_position().0);
        self.inner.conversations.get(name, reads, applied).await
    }

    /// What is known of a conversation's absent events.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn absent(&self, name: &ConversationName) -> Result<Arc<KnownAbsent>, ViewError> {
        let (reads, applied) = (&self.inner.reads, self.inner.reads.applied_position().0);
        self.inner.absent.get(name, reads, applied).await
    }

    /// What is known of a user.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn user(&self, user: &UserId) -> Result<Arc<KnownUser>, ViewError> {
        let (reads, applied) = (&self.inner.reads, self.inner.reads.applied_position().0);
        self.inner.users.get(user, reads, applied).await
    }

    /// A conversation's state as it is now, if it is managed.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn with_state<T>(
        &self,
        name: &ConversationName,
        look: impl FnOnce(Option<&ConversationState>) -> T,
    ) -> Result<T, ViewError> {
        if name.reserved() == Some(Reserved::Server) {
            return Ok(look(None));
        }
        let known = self.state(name).await?;
        let state = known.read();
        Ok(look(state.as_ref()))
    }

    /// Changes a conversation, or makes one. The answer comes when the change is durable and everybody is
    /// judged by it. The same change again changes nothing, so one whose answer is lost may be repeated.
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`] when it is not known what becomes of it.
    pub async fn change(
        &self,
        caller: Caller,
        name: &ConversationName,
        change: Change,
    ) -> Result<Done, Refusal> {
        if name.reserved() == Some(Reserved::Server) {
            return Err(Refusal::FORBIDDEN);
        }
        let known = self.state(name).await.map_err(|error| unreadable(&error))?;
        let mut added = Vec::new();
        for user in change.added() {
            added.push((user.clone(), self.user(user).await.map_err(|error| unreadable(&error))?));
        }
        let users = change.concerned().chain([caller.actor().user()]);
        let names = users.map(ConversationName::of_user).chain([name.clone()]).collect();
        let keeps = self.keeps(name).await.map_err(|error| unreadable(&error))?;
        let what = What::Conversation { name: name.clone(), known, change, keeps, added };
        self.ask(caller, what, names, 0).await
    }

    /// Makes a user block somebody, or do so no more. As with [`Engine::change`].
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`] when it is not known what becomes of it.
    pub async fn block(&self, caller: Caller, user: UserId, blocked: bool) -> Result<Done, Refusal> {
        let me = caller.actor().user().clone();
        let known = self.user(&me).await.map_err(|error| unreadable(&error))?;
        let names = vec![ConversationName::of_user(&me)];
        self.ask(caller, What::Block { me, known, user, blocked }, names, 0).await
    }

    /// Appends an event to a user's own log.
    ///
    /// # Errors
    /// [`Code::STORE_FAILED`] when it is not known what becomes of it.
    pub(super) async fn tell_own_log(&self, grant: &Arc<Grant>, kind: EventKind) -> Result<Done, Refusal> {
        let me = grant.user.clone();
        let names = vec![ConversationName::of_user(&me)];
        self.ask(Caller::User(Arc::clone(grant)), What::Own { me, kind }, names, 0).await
    }

    /// Hands a change to the committer. `names` are those of the logs that it may append to, `bytes` what it
    /// has to say.
    pub(super) async fn ask(
        &self,
        caller: Caller,
        what: What,
        names: Vec<ConversationName>,
        bytes: usize,
    ) -> Result<Done, Refusal> {
        const FAILED: Refusal = Refusal::new(Code::STORE_FAILED, "the store failed");
        let weight = CHANGE_BYTES + names.len() * USER_BYTES + bytes;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let queued = Arc::clone(&self.inner.queue_bytes).acquire_many_owned(weight).await;
        let queued = queued.map_err(|_never_closed| FAILED)?;
        let heads = self.inner.reads.run(move |view| Heads::read(view, names)).await;
        let (answer, answered) = oneshot::channel();
        let request = ChangeRequest { caller, what, heads, answer, queued };
        self.inner.queue.send(Request::Change(Box::new(request))).await.map_err(|_stopped| FAILED)?;
        answered.await.unwrap_or(Err(FAILED))
    }

    /// Whom a user has blocked, in the order of their ids' bytes.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn blocked_by(&self, user: &UserId) -> Result<Vec<UserId>, ViewError> {
        Ok(self.user(user).await?.read().blocked().cloned().collect())
    }

    /// Since when a user has blocked somebody, in milliseconds since 1970; `None` when the user has not.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn blocked_since(&self, user: &UserId, whom: &UserId) -> Result<Option<u64>, ViewError> {
        if !self.user(user).await?.read().blocks(whom) {
            return Ok(None);
        }
        let (log, key) = (ConversationName::of_user(user), blocked_key(whom));
        self.inner.reads.applied(self.released()).await;
        let since = move |view: &dyn View| {
            let Some(row) = view.register(&log, &key)? else { return Ok(None) };
            let what = "who is blocked does not decode";
            let damaged = |_| ViewError::DamagedConversation { conversation: log.clone(), what };
            let before = Seq(blocked_by(&row).map_err(damaged)?.0.saturating_sub(1));
            let event = view.after(&log, before, PageLimit { records: 1, bytes: usize::MAX })?;
            Ok(event.first().map(|event| event.time_ms))
        };
        // Of a user's log that was erased meanwhile nothing is left.
        Ok(Some(self.inner.reads.run(since).await?.unwrap_or_default()))
    }

    /// A page of the conversations that a user is in, in the order of their names' bytes, and whether there
    /// are further ones. It has everything that was answered by now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn conversations_of(
        &self,
        user: &UserId,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<(Vec<ConversationName>, bool), ViewError> {
        let log = ConversationName::of_user(user);
        let key = |name: &ConversationName| [&[CONVERSATION], name.as_str().as_bytes()].concat();
        let after = after.map(key);
        self.inner.reads.applied(self.released()).await;
        let rows = self
            .inner
            .reads
            .run(move |view| view.registers(&log, &[CONVERSATION], after.as_deref(), limit.saturating_add(1)))
            .await?;
        let more = rows.len() > limit;
        let names = rows.iter().take(limit).filter_map(|(key, _)| conversation_of(key));
        Ok((names.collect(), more))
    }
}

/// A conversation that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: ConversationName,
    /// Its last event; 0 when it has none and something was set for the name, and `None` when its rows are damaged.
    pub head: Option<Seq>,
}

impl Engine {
    /// A page of all conversations but for the server's own, in the view's order, with names for which a
    /// retention or a hold is set beforehand, and whether there are further ones. It has everything that was answered by now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn list(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<(Vec<Listed>, bool), ViewError> {
        let mut after = after.cloned();
        self.inner.reads.applied(self.released()).await;
        let read = move |view: &dyn View| {
            let mut listed = Vec::new();
            loop {
                let names = view.conversations(after.as_ref(), limit.saturating_add(1))?;
                let Some(last) = names.last() else { return Ok((listed, false)) };
                after = Some(last.clone());
                for name in names.into_iter().filter(|name| name.reserved() != Some(Reserved::Server)) {
                    if listed.len() == limit {
                        return Ok((listed, true));
                    }
                    let head = match view.bounds(&name) {
                        // Of a name that was never used, what was set for it is all there may be.
                        Ok(bounds)
                            if bounds.head == Seq::ZERO
                                && view.register(&name, Kept::REGISTER)?.is_none() =>
                        {
                            continue;
                        }
                        Ok(bounds) => Some(bounds.head),
                        Err(error) if error.is_damage() => None,
                        Err(error) => return Err(error),
                    };
                    listed.push(Listed { name, head });
                }
            }
        };
        self.inner.reads.run(read).await
    }
}

pub(super) fn unreadable(error: &ViewError) -> Refusal {
    tracing::error!(%error, "what is known of a conversation or of a user cannot be read");
    Refusal::new(Code::STORE_FAILED, "the store failed")
}
