//! From what somebody asks for to the events that make it so.

use std::collections::HashSet;

use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::{BANS_MAX, CREATE_MEMBERS_MAX, INVITATIONS_MAX};
use quoth_protocol::membership::{ConversationKind, GoneCause, Permissions, Role, check_title};
use quoth_protocol::{Code, ConversationName, UserId};

use super::state::{ConversationState, Present};
use super::{Actor, Change, Refusal, Rules};
use crate::authorize::{Action, Place, authorize};

/// The end of an invitation that is over, whenever that is asked: the first moment that is one.
const ENDED_MS: u64 = 1;

/// What a decision needs besides state and change.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The operator's numbers.
    pub rules: &'a Rules,
    /// The conversation.
    pub name: &'a ConversationName,
    /// Whether the conversation has no event yet.
    pub is_empty: bool,
    /// Who of those that would be added has blocked the actor.
    pub blockers: &'a HashSet<UserId>,
}

/// The events that make a change so; none when nothing has to change, as when the same is asked for again.
///
/// # Errors
/// Why it is refused: by [`authorize`], or since it cannot be.
pub fn decide(
    state: Option<&ConversationState>,
    actor: Actor<'_>,
    change: &Change,
    context: Context<'_>,
) -> Result<Vec<EventKind>, Refusal> {
    let now_ms = context.now_ms;
    let is_blocked =
        is_direct(change) && change.added().any(|user| context.blockers.contains(user)) && state.is_none();
    let place = Place { name: context.name, state, is_blocked };
    authorize(actor, Action::Change(change), place, now_ms)?;
    if let Change::Create { kind, title, members, open } = change {
        return create(state, actor, (*kind, title, members, *open), context);
    }
    let state = state.ok_or(Refusal::FORBIDDEN)?;
    let me = actor.user();
    match change {
        Change::Create { .. } => Err(Refusal::FORBIDDEN),
        Change::Join { invitation } => {
            if state.present(me).is_some() {
                return Ok(Vec::new());
            }
            has_room(state, context.rules)?;
            let invited = invitation.as_ref().and_then(|hash| state.invitation(hash, now_ms));
            let role = invited.map_or_else(|| Role::of_joiner(state.kind()), |invited| invited.role);
            let Present { role, permissions } = comes(state, me, role);
            // An open conversation needs no invitation, so one that is named all the same is used up all the
            // same.
            Ok(vec![EventKind::MemberSet {
                user: me.clone(),
                role,
                permissions,
                previous: None,
                invitation: *invitation,
            }])
        }
        Change::Leave => {
            keeps_an_owner(state, me)?;
            Ok(gone(state, me, GoneCause::Left))
        }
        Change::SetMember { user, role, permissions } => {
            set_member(state, actor, user, (*role, *permissions), context)
        }
        Change::Remove { user } => {
            not_oneself(actor, user)?;
            keeps_an_owner(state, user)?;
            Ok(gone(state, user, GoneCause::Removed))
        }
        Change::Rename { title } => {
            valid_title(title)?;
            let is_new = title != state.title();
            Ok(Vec::from_iter(is_new.then(|| EventKind::Renamed { title: title.clone() })))
        }
        Change::Mute { user, until_ms } => mute(state, actor, user.as_ref(), *until_ms, now_ms),
        Change::Ban { user, until_ms } => ban(state, actor, user, *until_ms, now_ms),
        Change::SlowMode { interval_ms } => {
            let is_new = *interval_ms != state.slow_mode_interval_ms();
            Ok(Vec::from_iter(is_new.then_some(EventKind::SlowMode { interval_ms: *interval_ms })))
        }
        Change::Invite { hash, role, expires_ms, uses_max } => {
            if *role == Role::Owner {
                return Err(Refusal::invalid("nobody becomes an owner by an invitation"));
            }
            if (1..=now_ms).contains(expires_ms) {
                return Err(Refusal::invalid("the invitation's end has passed"));
            }
            if state.invitations.contains_key(hash) {
                return Ok(Vec::new());
            }
            if state.invitations.values().filter(|invitation| invitation.holds(now_ms)).count()
                >= INVITATIONS_MAX
            {
                return Err(Refusal::new(Code::TOO_MANY, "too many invitations: revoke them first"));
            }
            let (hash, role, expires_ms, uses_max) = (*hash, *role, *expires_ms, *uses_max);
            Ok(vec![EventKind::InvitationMade { hash, role, expires_ms, uses_max }])
        }
        Change::RevokeInvitation { hash } => {
            let (hash, expires_ms) = (*hash, ENDED_MS);
            let ended = |role| EventKind::InvitationMade { hash, role, expires_ms, uses_max: 0 };
            let holds = state.invitation(&hash, now_ms);
            Ok(Vec::from_iter(holds.map(|invitation| ended(invitation.role))))
        }
        Change::RevokeInvitations => {
            let any = !state.invitations.is_empty();
            Ok(Vec::from_iter(any.then_some(EventKind::InvitationsRevoked)))
        }
    }
}

/// Whether it is a conversation that has been made or messages does not show.
const IN_USE: Refusal = Refusal::new(
    Code::ALREADY_EXISTS,
    "this name is in use, by a conversation that somebody has made or in which somebody has spoken: take another one",
);

const fn is_direct(change: &Change) -> bool {
    matches!(change, Change::Create { kind: ConversationKind::Direct, .. })
}

fn create(
    state: Option<&ConversationState>,
    actor: Actor<'_>,
    (kind, title, members, open): (ConversationKind, &str, &[UserId], bool),
    context: Context<'_>,
) -> Result<Vec<EventKind>, Refusal> {
    let me = actor.user();
    let is_fixed = matches!(kind, ConversationKind::Direct | ConversationKind::Notes);
    if is_fixed && (open || !title.is_empty()) {
        return Err(Refusal::invalid("a direct conversation and notes have no title and are not open"));
    }
    if kind == ConversationKind::Direct && members.contains(me) {
        return Err(Refusal::invalid("a direct conversation needs another user: see notes"));
    }
    if kind == ConversationKind::Notes && !members.is_empty() {
        return Err(Refusal::invalid("notes have no other members"));
    }
    valid_title(title)?;
    if members.len() > CREATE_MEMBERS_MAX {
        return Err(Refusal::new(Code::TOO_MANY, "too many members to begin with: add the others later"));
    }
    if let Some(state) = state {
        // The same that is asked for again is done; anything else in its place is not.
        let is_same = state.kind() == kind && (is_fixed || state.creator() == me);
        return if is_same { Ok(Vec::new()) } else { Err(IN_USE) };
    }
    if !context.is_empty {
        return Err(IN_USE);
    }
    let mut others: Vec<&UserId> = Vec::with_capacity(members.len());
    for user in members.iter().filter(|user| *user != me) {
        if context.blockers.contains(user) {
            return Err(Refusal::FORBIDDEN);
        }
        if !others.contains(&user) {
            others.push(user);
        }
    }
    if others.len() >= context.rules.members_max as usize {
        return Err(Refusal::new(Code::TOO_MANY, "too many members"));
    }
    let mine = if kind == ConversationKind::Direct { Role::Member } else { Role::Owner };
    let set = |user: &UserId, role: Role| {
        let (user, permissions) = (user.clone(), role.permissions(kind));
        EventKind::MemberSet { user, role, permissions, previous: None, invitation: None }
    };
    let mut events = vec![EventKind::Created { kind, title: title.to_owned(), open }, set(me, mine)];
    events.extend(others.into_iter().map(|user| set(user, Role::of_joiner(kind))));
    Ok(events)
}

/// What a user becomes who comes as this by what who joins may do: no more than the user was before.
fn comes(state: &ConversationState, user: &UserId, role: Role) -> Present {
    state.user(user).copied().unwrap_or_default().comes_back(role, state.kind())
}

fn set_member(
    state: &ConversationState,
    actor: Actor<'_>,
    user: &UserId,
    (role, permissions): (Role, Option<Permissions>),
    context: Context<'_>,
) -> Result<Vec<EventKind>, Refusal> {
    let member = state.user(user).copied().unwrap_or_default();
    let manages = match actor {
        Actor::User(me) => {
            state.present(&me.user).is_some_and(|me| me.permissions.contains(Permissions::MANAGE))
        }
        Actor::Operator { .. } => true,
    };
    let new = match permissions {
        Some(permissions) => Present { role, permissions },
        None if manages => Present::of(role, state.kind()),
        None => comes(state, user, role),
    };
    let Present { role, permissions } = new;
    if !Permissions::ALL.contains(permissions) {
        return Err(Refusal::invalid("there are permissions that this server does not know"));
    }
    if member.present == Some(new) {
        return Ok(Vec::new());
    }
    if member.present.is_none() {
        if context.blockers.contains(user) {
            return Err(Refusal::FORBIDDEN);
        }
        if member.is_banned(context.now_ms) {
            return Err(Refusal::invalid("the user is banned: lift the ban first"));
        }
        has_room(state, context.rules)?;
    }
    if role != Role::Owner {
        // Demoted, or the first one in a conversation that all have left.
        let owners_left = state.owners - u32::from(member.is_owner());
        if owners_left == 0 {
            return Err(LAST_OWNER);
        }
    }
    let (user, previous) = (user.clone(), member.present.map(|present| present.role));
    Ok(vec![EventKind::MemberSet { user, role, permissions, previous, invitation: None }])
}

fn mute(
    state: &ConversationState,
    actor: Actor<'_>,
    user: Option<&UserId>,
    until_ms: u64,
    now_ms: u64,
) -> Result<Vec<EventKind>, Refusal> {
    let new = in_future(until_ms, now_ms);
    let old = match user {
        None => state.muted_until_ms(),
        Some(user) => {
            not_oneself(actor, user)?;
            let member = state.user(user).copied().unwrap_or_default();
            if member.present.is_none() && new > 0 {
                return Err(Refusal::invalid("only a member can be muted"));
            }
            member.muted_until_ms
        }
    };
    let is_new = in_future(old, now_ms) != new;
    Ok(Vec::from_iter(is_new.then(|| EventKind::Muted { user: user.cloned(), until_ms: new })))
}

fn ban(
    state: &ConversationState,
    actor: Actor<'_>,
    user: &UserId,
    until_ms: u64,
    now_ms: u64,
) -> Result<Vec<EventKind>, Refusal> {
    not_oneself(actor, user)?;
    let new = in_future(until_ms, now_ms);
    let member = state.user(user).copied().unwrap_or_default();
    let mut events = Vec::new();
    if new > 0 && !member.is_banned(now_ms) && state.has_bans(BANS_MAX, now_ms) {
        return Err(Refusal::new(Code::TOO_MANY, "too many are banned: lift some of the bans first"));
    }
    if in_future(member.banned_until_ms, now_ms) != new {
        events.push(EventKind::Banned { user: user.clone(), until_ms: new });
    }
    if new > 0 {
        keeps_an_owner(state, user)?;
        events.extend(gone(state, user, GoneCause::Banned));
    }
    Ok(events)
}

/// A time that has come already is no time.
const fn in_future(until_ms: u64, now_ms: u64) -> u64 {
    if until_ms > now_ms { until_ms } else { 0 }
}

const LAST_OWNER: Refusal =
    Refusal::new(Code::LAST_OWNER, "the conversation would have no owner: make somebody else one first");

/// Refuses the end of a membership that leaves others without an owner.
fn keeps_an_owner(state: &ConversationState, user: &UserId) -> Result<(), Refusal> {
    let is_last = state.owners == 1 && state.user(user).is_some_and(super::Member::is_owner);
    if is_last && state.count > 1 { Err(LAST_OWNER) } else { Ok(()) }
}

fn not_oneself(actor: Actor<'_>, user: &UserId) -> Result<(), Refusal> {
    match actor {
        Actor::User(grant) if grant.user == *user => {
            Err(Refusal::invalid("this is for others: to go oneself, leave"))
        }
        Actor::User(_) | Actor::Operator { .. } => Ok(()),
    }
}

fn has_room(state: &ConversationState, rules: &Rules) -> Result<(), Refusal> {
    let is_full = state.members_count() >= rules.members_max;
    if is_full { Err(Refusal::new(Code::TOO_MANY, "the conversation is full")) } else { Ok(()) }
}

fn valid_title(title: &str) -> Result<(), Refusal> {
    check_title(title)
        .map_err(|_| Refusal::invalid("a title has at most 256 bytes and no control characters"))
}

fn gone(state: &ConversationState, user: &UserId, cause: GoneCause) -> Vec<EventKind> {
    let is_member = state.present(user).is_some();
    Vec::from_iter(is_member.then(|| EventKind::MemberGone { user: user.clone(), cause }))
}
