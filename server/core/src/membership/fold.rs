//! What events come to.

use std::collections::BTreeMap;

use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::FORMER_MEMBERS_MAX;
use quoth_protocol::membership::{InvitationHash, Role};
use quoth_protocol::{Seq, UserId};

use super::state::{ConversationState, Invitation, Member, Present};

/// An event, as far as a state is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    /// Its place.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who did it.
    pub sender: &'a UserId,
    /// What happened.
    pub kind: &'a EventKind,
}

/// Users who are forgotten at once when there are too many who are none any more: it takes a look at all of
/// them.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Which parts of a state an event has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    pub(super) attributes: bool,
    pub(super) users: Vec<UserId>,
    pub(super) invitations: Vec<InvitationHash>,
}

impl ConversationState {
    /// Takes the next event of the conversation, whose state is `None` before it is created. Messages change
    /// nothing.
    pub fn apply(state: &mut Option<Self>, fact: Fact<'_>) -> Touched {
        if let EventKind::Created { kind, title, open } = fact.kind {
            *state = Some(Self {
                kind: *kind,
                title: title.clone(),
                open: *open,
                creator: fact.sender.clone(),
                muted_until_ms: 0,
                slow_mode_interval_ms: 0,
                members: BTreeMap::new(),
                invitations: BTreeMap::new(),
                count: 0,
                owners: 0,
                version: fact.seq,
                attributes_seq: fact.seq,
            });
            return Touched { attributes: true, ..Touched::default() };
        }
        let Some(state) = state else { return Touched::default() };
        let mut touched = state.change(fact);
        if state.gone_count() > FORMER_MEMBERS_MAX {
            touched.users.extend(state.forget_gone(fact));
        }
        if touched != Touched::default() {
            state.version = fact.seq;
            let rows_left = touched.users.iter().any(|user| state.members.contains_key(user))
                || touched.invitations.iter().any(|hash| state.invitations.contains_key(hash));
            // So that the version is in a row that stays.
            touched.attributes |= !rows_left;
            if touched.attributes {
                state.attributes_seq = fact.seq;
            }
        }
        touched
    }

    fn change(&mut self, Fact { seq, time_ms, sender, kind }: Fact<'_>) -> Touched {
        let attributes = Touched { attributes: true, ..Touched::default() };
        match kind {
            EventKind::Renamed { title } => {
                self.title.clone_from(title);
                attributes
            }
            EventKind::SlowMode { interval_ms } => {
                self.slow_mode_interval_ms = *interval_ms;
                attributes
            }
            EventKind::Muted { user: None, until_ms } => {
                self.muted_until_ms = *until_ms;
                attributes
            }
            EventKind::Muted { user: Some(user), until_ms } => {
                self.user_changes(user, seq, |member| member.muted_until_ms = *until_ms)
            }
            EventKind::Banned { user, until_ms } => {
                self.user_changes(user, seq, |member| member.banned_until_ms = *until_ms)
            }
            EventKind::MemberSet { user, role, permissions, invitation, .. } => {
                let present = Some(Present { role: *role, permissions: *permissions });
                let touched = self.user_changes(user, seq, |member| {
                    (member.present, member.left_seq, member.left_as) = (present, Seq::ZERO, None);
                    member.banned_until_ms = 0;
                });
                let mut invitations = self.end_invitations_of(user);
                invitations.extend(invitation.iter().filter(|hash| self.use_up(hash, seq)));
                Touched { invitations, ..touched }
            }
            EventKind::MemberGone { user, .. } => {
                let kind = self.kind;
                let is_less = |present: &Present| !present.gives(Role::of_joiner(kind), kind);
                let touched = self.user_changes(user, seq, |member| {
                    (member.left_as, member.left_seq) = (member.present.take().filter(is_less), seq);
                });
                Touched { invitations: self.end_invitations_of(user), ..touched }
            }
            EventKind::InvitationMade { hash, role, expires_ms, uses_max } => {
                // What has ended makes room.
                let mut invitations = self.remove_invitations(|invitation| !invitation.holds(time_ms));
                let uses_left = (*uses_max > 0).then_some(*uses_max);
                // Of those who may not do this, only the operator does.
                let makes = self.present(sender).is_some_and(|maker| maker.invites(*role, self.kind));
                let maker = makes.then(|| sender.clone());
                let made = Invitation { role: *role, maker, expires_ms: *expires_ms, uses_left, seq };
                if made.holds(time_ms) {
                    self.invitations.insert(*hash, made);
                } else {
                    // It ends the one that was made before.
                    self.invitations.remove(hash);
                }
                invitations.push(*hash);
                Touched { invitations, ..Touched::default() }
            }
            EventKind::InvitationsRevoked => {
                let invitations = self.remove_invitations(|_| true);
                Touched { invitations, ..attributes }
            }
            EventKind::Created { .. }
            | EventKind::Message { .. }
            | EventKind::Belongs { .. }
            | EventKind::BelongsNoMore { .. }
            | EventKind::Blocked { .. }
            | EventKind::Edited { .. }
            | EventKind::Revoked { .. }
            | EventKind::Reacted { .. }
            | EventKind::RetentionSet { .. }
            | EventKind::Hidden { .. }
            | EventKind::InboxSet { .. } => Touched::default(),
        }
    }

    fn user_changes(&mut self, user: &UserId, seq: Seq, change: impl FnOnce(&mut Member)) -> Touched {
        let member = self.members.entry(user.clone()).or_default();
        let before = *member;
        change(member);
        member.seq = seq;
        let after = *member;
        let count = |counter: &mut u32, before: bool, after: bool| match (before, after) {
            (false, true) => *counter += 1,
            (true, false) => *counter -= 1,
            (true, true) | (false, false) => {}
        };
        count(&mut self.count, before.present.is_some(), after.present.is_some());
        count(&mut self.owners, before.is_owner(), after.is_owner());
        if after.is_nothing() {
            self.members.remove(user);
        }
        Touched { users: vec![user.clone()], ..Touched::default() }
    }

    /// Makes room among those who are no members, and gives who is not known any more: whose ban has ended
    /// and who may read nothing, and else who left first. Whoever the event is about stays, and so do those
    /// who are banned.
    fn forget_gone(&mut self, Fact { seq, time_ms, .. }: Fact<'_>) -> Vec<UserId> {
        let is_gone =
            |member: &Member| member.present.is_none() && !member.is_banned(time_ms) && member.seq != seq;
        let mut gone: Vec<(Seq, &UserId)> = self
            .members
            .iter()
            .filter(|(_, member)| is_gone(member))
            .map(|(user, member)| (member.left_seq, user))
            .collect();
        if gone.len() > FORGOTTEN_AT_ONCE {
            gone.select_nth_unstable(FORGOTTEN_AT_ONCE - 1);
            gone.truncate(FORGOTTEN_AT_ONCE);
        }
        let gone: Vec<UserId> = gone.into_iter().map(|(_, user)| user.clone()).collect();
        for user in &gone {
            self.members.remove(user);
        }
        gone
    }

    /// Somebody comes with an invitation. Says whether it changes by that.
    fn use_up(&mut self, hash: &InvitationHash, seq: Seq) -> bool {
        let Some(Invitation { uses_left: Some(uses_left), seq: used, .. }) = self.invitations.get_mut(hash)
        else {
            return false;
        };
        *uses_left = uses_left.saturating_sub(1);
        *used = seq;
        if *uses_left == 0 {
            self.invitations.remove(hash);
        }
        true
    }

    /// Ends what a user has made and may not make any more.
    fn end_invitations_of(&mut self, user: &UserId) -> Vec<InvitationHash> {
        let (present, kind) = (self.present(user), self.kind);
        let may = |role| present.is_some_and(|maker| maker.invites(role, kind));
        self.remove_invitations(|invitation| invitation.maker.as_ref() == Some(user) && !may(invitation.role))
    }

    fn remove_invitations(&mut self, which: impl Fn(&Invitation) -> bool) -> Vec<InvitationHash> {
        let removed: Vec<_> = self
            .invitations
            .iter()
            .filter(|(_, invitation)| which(invitation))
            .map(|(hash, _)| *hash)
            .collect();
        self.invitations.retain(|hash, _| !removed.contains(hash));
        removed
    }
}
