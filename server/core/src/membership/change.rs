//! What somebody asks for.

use quoth_protocol::UserId;
use quoth_protocol::membership::{ConversationKind, InvitationHash, Permissions, Role};

use crate::authorize::Grant;

/// Who asks for something.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A signed-in user.
    User(&'a Grant),
    /// The operator, in a user's name. Needs to be no member, and may do all that a conversation's rules do
    /// not exclude for everybody.
    Operator {
        /// As whose event it is stored.
        sender: &'a UserId,
    },
}

/// A change of a managed conversation, or its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes it.
    Create {
        /// What it is to be.
        kind: ConversationKind,
        /// What people call it; may be empty.
        title: String,
        /// Who else is in it from the beginning.
        members: Vec<UserId>,
        /// Whether anybody may join without an invitation.
        open: bool,
    },
    /// Makes the actor a member.
    Join {
        /// The invitation; `None` where the conversation is open.
        invitation: Option<InvitationHash>,
    },
    /// Ends the actor's membership.
    Leave,
    /// Adds a member, or changes one.
    SetMember {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
        /// What the member may do; `None`: what the role may.
        permissions: Option<Permissions>,
    },
    /// Ends somebody else's membership.
    Remove {
        /// Who.
        user: UserId,
    },
    /// Sets the title.
    Rename {
        /// What people call it; may be empty.
        title: String,
    },
    /// Keeps somebody from writing.
    Mute {
        /// Who; `None`: everybody who may not moderate.
        user: Option<UserId>,
        /// Until when, in milliseconds since 1970; 0 lifts the mute.
        until_ms: u64,
    },
    /// Ends a user's membership and keeps the user out.
    Ban {
        /// Who.
        user: UserId,
        /// Until when, in milliseconds since 1970; 0 lifts the ban.
        until_ms: u64,
    },
    /// Sets how often each member may write.
    SlowMode {
        /// At most one message in so many milliseconds; 0: as often as they like.
        interval_ms: u32,
    },
    /// Makes an invitation.
    Invite {
        /// Which.
        hash: InvitationHash,
        /// As what who comes with it comes in.
        role: Role,
        /// Until when it holds, in milliseconds since 1970; 0: until it is revoked.
        expires_ms: u64,
        /// How many may come with it; 0: any number.
        uses_max: u32,
    },
    /// Ends an invitation.
    RevokeInvitation {
        /// Which.
        hash: InvitationHash,
    },
    /// Ends all invitations.
    RevokeInvitations,
}

impl<'a> Actor<'a> {
    /// As whose event what the actor does is stored.
    #[must_use]
    pub fn user(&self) -> &'a UserId {
        match self {
            Self::User(grant) => &grant.user,
            Self::Operator { sender } => sender,
        }
    }
}

impl Change {
    /// Whom it would make a member besides the actor: whoever wants nothing of the actor is not added.
    pub fn added(&self) -> impl Iterator<Item = &UserId> {
        let (many, one): (&[UserId], _) = match self {
            Self::Create { members, .. } => (members, None),
            Self::SetMember { user, .. } => (&[], Some(user)),
            Self::Join { .. }
            | Self::Leave
            | Self::Remove { .. }
            | Self::Rename { .. }
            | Self::Mute { .. }
            | Self::Ban { .. }
            | Self::SlowMode { .. }
            | Self::Invite { .. }
            | Self::RevokeInvitation { .. }
            | Self::RevokeInvitations => (&[], None),
        };
        many.iter().chain(one)
    }

    /// Whose membership it may change, the actor's apart.
    pub fn concerned(&self) -> impl Iterator<Item = &UserId> {
        let gone = match self {
            Self::Remove { user } | Self::Ban { user, .. } => Some(user),
            Self::Create { .. }
            | Self::SetMember { .. }
            | Self::Join { .. }
            | Self::Leave
            | Self::Rename { .. }
            | Self::Mute { .. }
            | Self::SlowMode { .. }
            | Self::Invite { .. }
            | Self::RevokeInvitation { .. }
            | Self::RevokeInvitations => None,
        };
        self.added().chain(gone)
    }
}
