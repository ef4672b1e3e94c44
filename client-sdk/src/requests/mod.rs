//! Requests: what a client asks its server to do or to tell beside messages. `docs/PROTOCOL.md`, section 12,
//! says what each needs, and what follows from it.
//!
//! Over a lost connection a request is asked again, within the client's
//! [`send_timeout`](crate::Builder::send_timeout): what has been done already changes nothing. Only what
//! would be done twice then is left with an unknown outcome.

/// Takes the wanted variant out of a reply.
macro_rules! expect {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            other => Err(RequestError::of(other)),
        }
    };
}

mod ask;
mod create;
mod error;
mod inbox;
mod messages;
mod presence;
mod receipts;
mod under_way;

use std::sync::Arc;

use quoth_protocol::membership::{Permissions, Role};
use quoth_protocol::reply::{ConversationInfo, MemberInfo, Reply, SessionInfo};
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, DeviceId, Seq, UserId};
use tokio::time::Instant;

pub use self::create::NewConversation;
pub use self::error::RequestError;
pub(crate) use self::inbox::Inboxes;
pub use self::inbox::{InboxChanges, InboxList, InboxPage, InboxSettings, InboxWatch};
pub use self::messages::{MessageStates, Retained};
pub(crate) use self::presence::Presences;
pub use self::presence::{MemberPresence, PresenceWatch};
pub(crate) use self::receipts::Receiving;
pub use self::receipts::{MessageReceipts, Receipt, ReceiptWatch};
pub(crate) use self::under_way::UnderWay;
use crate::client::{Client, Shared};

/// A request is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Where.
    pub conversation: ConversationName,
    /// The last event that came of it; `None` when nothing had to change.
    pub seq: Option<Seq>,
    /// When that was stored, in milliseconds since 1970 on the server's clock; 0 when nothing had to change.
    pub time_ms: u64,
}

/// A part of something that may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<T> {
    /// In ascending order.
    pub items: Vec<T>,
    /// Whether there are further ones: ask for those behind the last item.
    pub more: bool,
}

/// Conversations and their members.
impl Client {
    /// Makes a conversation, whose owner the user is; of a direct conversation and notes that are there
    /// already, the same.
    ///
    /// # Errors
    /// Every [`RequestError`]. Of a group or channel without a name of one's own, an unknown outcome is not
    /// tried again.
    pub async fn create(&self, new: NewConversation) -> Result<Done, RequestError> {
        self.change(new.request()?).await
    }

    /// Joins an open conversation, or any one with an invitation's text.
    ///
    /// # Errors
    /// Every [`RequestError`]; `FORBIDDEN` also for an invitation that does not hold.
    pub async fn join(
        &self,
        conversation: impl AsRef<str>,
        invitation: Option<&str>,
    ) -> Result<Done, RequestError> {
        let (conversation, invitation) =
            (ConversationName::new(conversation)?, invitation.map(str::to_owned));
        self.change(Request::Join { conversation, invitation }).await
    }

    /// Leaves a conversation. What was said there until then stays readable.
    ///
    /// # Errors
    /// Every [`RequestError`]; `LAST_OWNER` for the last owner among others.
    pub async fn leave(&self, conversation: impl AsRef<str>) -> Result<Done, RequestError> {
        self.change(Request::Leave { conversation: ConversationName::new(conversation)? }).await
    }

    /// Adds a member, or gives one another role. Without `permissions` the member may do what the role may.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn set_member(
        &self,
        conversation: impl AsRef<str>,
        user: impl AsRef<str>,
        role: Role,
        permissions: Option<Permissions>,
    ) -> Result<Done, RequestError> {
        let (conversation, user) = (ConversationName::new(conversation)?, UserId::new(user)?);
        self.change(Request::SetMember { conversation, user, role, permissions }).await
    }

    /// Ends somebody else's membership.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn remove(
        &self,
        conversation: impl AsRef<str>,
        user: impl AsRef<str>,
    ) -> Result<Done, RequestError> {
        let (conversation, user) = (ConversationName::new(conversation)?, UserId::new(user)?);
        self.change(Request::Remove { conversation, user }).await
    }

    /// Sets a conversation's title: at most 256 bytes, and none at all when it is empty.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn rename(
        &self,
        conversation: impl AsRef<str>,
        title: impl Into<String>,
    ) -> Result<Done, RequestError> {
        let (conversation, title) = (ConversationName::new(conversation)?, title.into());
        self.change(Request::Rename { conversation, title }).await
    }

    /// Keeps a member from writing, or with `None` everybody who may not moderate, until a time in
    /// milliseconds since 1970. 0 lifts it; `u64::MAX` never comes.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn mute(
        &self,
        conversation: impl AsRef<str>,
        user: Option<&str>,
        until_ms: u64,
    ) -> Result<Done, RequestError> {
        let (conversation, user) = (ConversationName::new(conversation)?, user.map(UserId::new).transpose()?);
        self.change(Request::Mute { conversation, user, until_ms }).await
    }

    /// Keeps a user out until a time in milliseconds since 1970. 0 lifts it; `u64::MAX` never comes.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn ban(
        &self,
        conversation: impl AsRef<str>,
        user: impl AsRef<str>,
        until_ms: u64,
    ) -> Result<Done, RequestError> {
        let (conversation, user) = (ConversationName::new(conversation)?, UserId::new(user)?);
        self.change(Request::Ban { conversation, user, until_ms }).await
    }

    /// Has each member write at most once in so many milliseconds; 0 ends that.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn slow_mode(
        &self,
        conversation: impl AsRef<str>,
        interval_ms: u32,
    ) -> Result<Done, RequestError> {
        let conversation = ConversationName::new(conversation)?;
        self.change(Request::SlowMode { conversation, interval_ms }).await
    }

    /// Makes an invitation for up to `uses_max` users (0: any number) until `expires_ms`, in milliseconds
    /// since 1970 (0: until it is revoked), and gives its text, which the server tells this once.
    ///
    /// # Errors
    /// Every [`RequestError`]. An unknown outcome is not tried again.
    pub async fn invite(
        &self,
        conversation: impl AsRef<str>,
        role: Role,
        expires_ms: u64,
        uses_max: u32,
    ) -> Result<String, RequestError> {
        let conversation = ConversationName::new(conversation)?;
        let reply = self.ask(Request::Invite { conversation, role, expires_ms, uses_max }).await?;
        expect!(reply, Reply::Invitation { invitation } => invitation)
    }

    /// Ends all invitations of a conversation.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn revoke_invitations(&self, conversation: impl AsRef<str>) -> Result<Done, RequestError> {
        self.change(Request::RevokeInvitations { conversation: ConversationName::new(conversation)? }).await
    }

    /// What a conversation is.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn describe(&self, conversation: impl AsRef<str>) -> Result<ConversationInfo, RequestError> {
        let reply =
            self.ask(Request::Describe { conversation: ConversationName::new(conversation)? }).await?;
        expect!(reply, Reply::Conversation(info) => info)
    }

    /// Members behind this one, or from the first one on, in the order of their ids; the server gives at most 500.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn members(
        &self,
        conversation: impl AsRef<str>,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<ListPage<MemberInfo>, RequestError> {
        let (conversation, after) = (ConversationName::new(conversation)?, after.cloned());
        let reply = self.ask(Request::Members { conversation, after, limit }).await?;
        expect!(reply, Reply::Members { members: items, more } => ListPage { items, more })
    }

    /// Conversations that the user is in, behind this one, or from the first one on, in the order of their
    /// names; the server gives at most 100.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: u32,
    ) -> Result<ListPage<ConversationInfo>, RequestError> {
        let reply = self.ask(Request::Conversations { after: after.cloned(), limit }).await?;
        expect!(reply, Reply::Conversations { conversations: items, more } => ListPage { items, more })
    }

    /// Tells when members of a conversation come and go, over reconnects too. Watching a conversation twice
    /// costs nothing.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn watch_presence(&self, conversation: impl AsRef<str>) -> Result<PresenceWatch, RequestError> {
        let conversation = ConversationName::new(conversation)?;
        PresenceWatch::new(Arc::clone(&self.shared), conversation, self.request_deadline()).await
    }
}

/// The user.
impl Client {
    /// Says whether the user wants nothing of somebody else.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn block(&self, user: impl AsRef<str>, blocked: bool) -> Result<Done, RequestError> {
        self.change(Request::Block { user: UserId::new(user)?, blocked }).await
    }

    /// Whom the user has blocked.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn blocked(&self) -> Result<Vec<UserId>, RequestError> {
        expect!(self.ask(Request::Blocked).await?, Reply::Users { users } => users)
    }

    /// The user's devices, also those that are not connected; the latest first.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, RequestError> {
        expect!(self.ask(Request::Sessions).await?, Reply::Sessions { sessions } => sessions)
    }

    /// Ends the connection of another device of the user, which does not come back by itself.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn end_session(&self, device: impl AsRef<str>) -> Result<Done, RequestError> {
        self.change(Request::EndSession { device: DeviceId::new(device)? }).await
    }

    /// Says that nobody sits here, or that somebody does again. It holds over reconnects.
    pub fn set_away(&self, away: bool) {
        self.shared.core.away.send_if_modified(|present| std::mem::replace(present, away) != away);
    }

    async fn change(&self, request: Request) -> Result<Done, RequestError> {
        self.shared.change(request).await
    }

    async fn ask(&self, request: Request) -> Result<Reply, RequestError> {
        self.shared.ask(request).await
    }

    fn request_deadline(&self) -> Instant {
        self.shared.request_deadline()
    }
}

impl Shared {
    /// Asks for something to be done.
    async fn change(&self, request: Request) -> Result<Done, RequestError> {
        expect!(self.ask(request).await?, Reply::Done { conversation, seq, time_ms } => Done {
            conversation,
            seq: (seq > Seq::ZERO).then_some(seq),
            time_ms,
        })
    }

    async fn ask(&self, request: Request) -> Result<Reply, RequestError> {
        Ok(self.answer(request).await?.reply)
    }

    async fn answer(&self, request: Request) -> Result<ask::Answer, RequestError> {
        let mut link = self.core.link.subscribe();
        ask::ask(&mut link, &request, self.request_deadline()).await
    }

    fn request_deadline(&self) -> Instant {
        Instant::now() + self.settings.send_timeout
    }
}
