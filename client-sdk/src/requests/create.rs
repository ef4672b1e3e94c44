//! What a conversation is to be that somebody creates.

use quoth_protocol::id::IdError;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};

/// A conversation to be, for [`Client::create`](crate::Client::create).
///
/// ```
/// # use quoth_client::NewConversation;
/// let team = NewConversation::group("The team").members(["bob", "carol"]).open();
/// ```
#[derive(Debug, Clone)]
pub struct NewConversation {
    name: Option<String>,
    kind: ConversationKind,
    title: String,
    members: Vec<String>,
    open: bool,
}

impl NewConversation {
    /// A group: who is in it writes.
    #[must_use]
    pub fn group(title: impl Into<String>) -> Self {
        Self::new(ConversationKind::Group, title.into())
    }

    /// A channel: who joins reads.
    #[must_use]
    pub fn channel(title: impl Into<String>) -> Self {
        Self::new(ConversationKind::Channel, title.into())
    }

    /// The conversation with one other user. Creating it again gives the same one.
    #[must_use]
    pub fn direct(user: impl Into<String>) -> Self {
        Self::new(ConversationKind::Direct, String::new()).members([user])
    }

    /// The user's notes. Creating them again gives the same ones.
    #[must_use]
    pub fn notes() -> Self {
        Self::new(ConversationKind::Notes, String::new())
    }

    /// Gives a group or channel this name. Default: one that the server makes.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds others, at most 100 of them.
    #[must_use]
    pub fn members(mut self, users: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.members.extend(users.into_iter().map(Into::into));
        self
    }

    /// Lets anybody join without an invitation.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    fn new(kind: ConversationKind, title: String) -> Self {
        Self { name: None, kind, title, members: Vec::new(), open: false }
    }

    pub(super) fn request(self) -> Result<Request, IdError> {
        let Self { name, kind, title, members, open } = self;
        Ok(Request::Create {
            conversation: name.map(ConversationName::new).transpose()?,
            kind,
            title,
            members: members.into_iter().map(UserId::new).collect::<Result<_, _>>()?,
            open,
        })
    }
}
