//! What a managed conversation is at a moment.

use std::collections::BTreeMap;
use std::ops::Bound;

use quoth_protocol::membership::{ConversationKind, InvitationHash, Permissions, Role};
use quoth_protocol::{Seq, UserId};
use serde::{Deserialize, Serialize};

/// The state of a managed conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationState {
    pub(super) kind: ConversationKind,
    pub(super) title: String,
    pub(super) open: bool,
    /// Who made it.
    pub(super) creator: UserId,
    /// Until when nobody who may not moderate may write; 0: they may.
    pub(super) muted_until_ms: u64,
    pub(super) slow_mode_interval_ms: u32,
    /// Members, those who were, and those who must not become any.
    pub(super) members: BTreeMap<UserId, Member>,
    pub(super) invitations: BTreeMap<InvitationHash, Invitation>,
    /// How many of `members` are some at present, and how many of these are owners.
    pub(super) count: u32,
    pub(super) owners: u32,
    pub(super) version: Seq,
    /// The event that changed what is not about a member or an invitation last.
    pub(super) attributes_seq: Seq,
}

/// What a conversation knows of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What the user is in it; `None` for who is no member at present.
    pub present: Option<Present>,
    /// Who is none any more reads up to and including this event; 0: nothing.
    pub left_seq: Seq,
    /// What who is none any more was, if that was less than what who joins gets: it comes back with the user.
    pub(super) left_as: Option<Present>,
    /// Until when the user may not write, in milliseconds since 1970; 0: no mute.
    pub muted_until_ms: u64,
    /// Until when the user may be no member, in milliseconds since 1970; 0: no ban.
    pub banned_until_ms: u64,
    /// The event that changed this last.
    pub(super) seq: Seq,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The role.
    pub role: Role,
    /// What the member may do, mutes apart.
    pub permissions: Permissions,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// As what who comes with it comes in.
    pub role: Role,
    /// Who has made it, as long as the user may give that role; `None`: the operator.
    pub(super) maker: Option<UserId>,
    /// Until when it holds, in milliseconds since 1970; 0: until it is revoked.
    pub expires_ms: u64,
    /// How many may still come with it; `None`: any number.
    pub uses_left: Option<u32>,
    /// The event that changed this last.
    pub(super) seq: Seq,
}

impl Present {
    /// What somebody with a role is, unless it is said otherwise.
    #[must_use]
    pub const fn of(role: Role, kind: ConversationKind) -> Self {
        Self { role, permissions: role.permissions(kind) }
    }

    /// Whether the member has all that somebody with this role gets.
    pub(crate) fn gives(self, role: Role, kind: ConversationKind) -> bool {
        role <= self.role && self.permissions.contains(role.permissions(kind))
    }

    /// Whether the member may invite somebody as this.
    pub(crate) fn invites(self, role: Role, kind: ConversationKind) -> bool {
        self.permissions.contains(Permissions::INVITE) && self.gives(role, kind)
    }

    /// This without what the user had no more when the user left.
    fn no_more_than(self, left_as: Self, kind: ConversationKind) -> Self {
        let role = if left_as.role < Role::of_joiner(kind) { self.role.min(left_as.role) } else { self.role };
        let withheld = left_as.role.permissions(kind).difference(left_as.permissions);
        Self { role, permissions: role.permissions(kind).difference(withheld) }
    }
}

impl Member {
    /// What the user becomes who comes back as this by what who joins may do.
    pub(super) fn comes_back(&self, role: Role, kind: ConversationKind) -> Present {
        let new = Present::of(role, kind);
        self.left_as.map_or(new, |left_as| new.no_more_than(left_as, kind))
    }

    /// Whether nothing is known of the user that anybody could ask for.
    pub(super) fn is_nothing(&self) -> bool {
        Self { seq: Seq::ZERO, ..*self } == Self::default()
    }

    /// Whether the user may be no member at `now_ms`.
    #[must_use]
    pub const fn is_banned(&self, now_ms: u64) -> bool {
        self.banned_until_ms > now_ms
    }

    /// Whether the user is an owner.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.present.is_some_and(|present| present.role == Role::Owner)
    }
}

impl Invitation {
    /// Whether somebody may come with it at `now_ms`.
    #[must_use]
    pub fn holds(&self, now_ms: u64) -> bool {
        (self.expires_ms == 0 || self.expires_ms > now_ms) && self.uses_left != Some(0)
    }
}

impl ConversationState {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> ConversationKind {
        self.kind
    }

    /// What people call it; may be empty.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether anybody may join without an invitation.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Who made it.
    #[must_use]
    pub const fn creator(&self) -> &UserId {
        &self.creator
    }

    /// Until when nobody who may not moderate may write, in milliseconds since 1970; 0: they may.
    #[must_use]
    pub const fn muted_until_ms(&self) -> u64 {
        self.muted_until_ms
    }

    /// Who may not moderate writes at most once in so many milliseconds; 0: as often as they like.
    #[must_use]
    pub const fn slow_mode_interval_ms(&self) -> u32 {
        self.slow_mode_interval_ms
    }

    /// The last event that changed anything of it.
    #[must_use]
    pub const fn version(&self) -> Seq {
        self.version
    }

    /// How many members it has.
    #[must_use]
    pub const fn members_count(&self) -> u32 {
        self.count
    }

    /// How many users it knows of, members or not: what it costs.
    #[must_use]
    pub fn users_count(&self) -> usize {
        self.members.len()
    }

    /// How many of these are no members.
    pub(super) fn gone_count(&self) -> usize {
        self.members.len() - self.count as usize
    }

    /// Whether at least so many users are banned at `now_ms`. Looks at all users only if that may be.
    pub(super) fn has_bans(&self, count: usize, now_ms: u64) -> bool {
        self.gone_count() >= count
            && self.members.values().filter(|member| member.is_banned(now_ms)).count() >= count
    }

    /// What it knows of a user.
    #[must_use]
    pub fn user(&self, user: &UserId) -> Option<&Member> {
        self.members.get(user)
    }

    /// What a member is; `None` for who is none at present.
    #[must_use]
    pub fn present(&self, user: &UserId) -> Option<Present> {
        self.members.get(user).and_then(|member| member.present)
    }

    /// Members behind a user, or from the first one on, in the order of their ids' bytes.
    pub fn members_after<'a>(
        &'a self,
        after: Option<&UserId>,
    ) -> impl Iterator<Item = (&'a UserId, &'a Member, Present)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.members.range::<UserId, _>((from, Bound::Unbounded));
        members.filter_map(|(user, member)| member.present.map(|present| (user, member, present)))
    }

    /// Who is banned at `now_ms`, and until when, behind a user or from the first one on, in the order of
    /// their ids' bytes.
    pub fn bans_after<'a>(
        &'a self,
        after: Option<&UserId>,
        now_ms: u64,
    ) -> impl Iterator<Item = (&'a UserId, u64)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.members.range::<UserId, _>((from, Bound::Unbounded));
        users
            .filter(move |(_, member)| member.is_banned(now_ms))
            .map(|(user, member)| (user, member.banned_until_ms))
    }

    /// The invitations that somebody may come with at `now_ms`, in the order of their hashes.
    pub fn invitations(&self, now_ms: u64) -> impl Iterator<Item = (&InvitationHash, &Invitation)> {
        self.invitations.iter().filter(move |(_, invitation)| invitation.holds(now_ms))
    }

    /// The other one of a direct conversation, for one of the two. For anybody else there is none: whoever
    /// looks at what the other one has said of the user would so read more where the conversation exists.
    #[must_use]
    pub fn other(&self, user: &UserId) -> Option<&UserId> {
        if self.kind != ConversationKind::Direct || !self.members.contains_key(user) {
            return None;
        }
        self.members.keys().find(|other| *other != user)
    }

    /// An invitation that somebody may come with at `now_ms`.
    pub(crate) fn invitation(&self, hash: &InvitationHash, now_ms: u64) -> Option<&Invitation> {
        self.invitations.get(hash).filter(|invitation| invitation.holds(now_ms))
    }

    /// Whether its members are fixed.
    pub(crate) const fn is_fixed(&self) -> bool {
        matches!(self.kind, ConversationKind::Direct | ConversationKind::Notes)
    }
}
