//! Who may change what.

use quoth_protocol::membership::{ConversationKind, Permissions, Role};
use quoth_protocol::name::Reserved;
use quoth_protocol::{Code, Seq, UserId};

use super::Place;
use crate::membership::{Actor, Change, ConversationState, Present, Refusal};

/// The operator does what owners do.
const OPERATOR: Present = Present { role: Role::Owner, permissions: Permissions::ALL };

/// What a token without this name is told that is to make a conversation of it.
const NAME_NOT_FOR_TOKEN: Refusal = Refusal::new(
    Code::FORBIDDEN,
    "the token does not let its user make a conversation of this name: that needs one whose `write` has the name (quoth-server token --write PATTERN), or auth.names_freely = true of the server and no `write`; without a name the server makes one",
);

/// The same of a token that has others.
const NAME_NOT_IN_TOKEN: Refusal = Refusal::new(
    Code::FORBIDDEN,
    "the token has a `write`, which narrows what its user may make and change to what it names, and this name is not there",
);

/// The same of a name that follows from users, or that the server makes.
const MADE_NAME_NOT_FOR_TOKEN: Refusal = Refusal::new(
    Code::FORBIDDEN,
    "the token has a `write`, which narrows what its user may make and change to what it names: one that has direct/*, notes/*, group/* \
     or channel/* there makes such conversations, and so does one without any `write`",
);

/// See [`authorize`](super::authorize).
pub(super) fn authorize(
    actor: Actor<'_>,
    change: &Change,
    place: Place<'_>,
    now_ms: u64,
) -> Result<(), Refusal> {
    if let Actor::User(grant) = actor {
        let if_missing = match change {
            // Names that follow from users, or that the server makes, are nobody else's. Any other one may be
            // meant for those whose tokens have it.
            Change::Create { .. } => place.name.reserved().is_some() || grant.names_freely,
            _ => place.state.is_some(),
        };
        if !grant.writes(place.name, if_missing) {
            // The token alone decides, so it tells nothing of what there is.
            return Err(match change {
                Change::Create { .. } if place.name.reserved().is_some() => MADE_NAME_NOT_FOR_TOKEN,
                Change::Create { .. } if grant.write.is_some() => NAME_NOT_IN_TOKEN,
                Change::Create { .. } => NAME_NOT_FOR_TOKEN,
                _ => Refusal::FORBIDDEN,
            });
        }
    }
    if let Change::Create { kind, members, .. } = change {
        return create(actor.user(), *kind, members, place);
    }
    let state = place.state.ok_or_else(|| match place.name.reserved() {
        Some(_) => Refusal::FORBIDDEN,
        None => Refusal::UNMANAGED,
    })?;
    if matches!(change, Change::Rename { .. }) {
        return allowed(member(actor, state)?.permissions.contains(Permissions::MANAGE));
    }
    allowed(!state.is_fixed())?;
    let me = actor.user();
    let may = |permission| member(actor, state).map(|member| member.permissions.contains(permission));
    let reaches = |user: &UserId| {
        let target = state.present(user).map(|present| present.role);
        member(actor, state).map(|member| user == me || target.is_none_or(|target| target <= member.role))
    };
    let ok = match change {
        Change::Create { .. } | Change::Rename { .. } => false,
        Change::Join { invitation } => return join(actor, state, invitation.as_ref(), now_ms),
        // Who has left has done so: the answer may have been lost.
        Change::Leave => state.user(me).is_some_and(|member| {
            member.present.is_some() || (member.left_seq > Seq::ZERO && !member.is_banned(now_ms))
        }),
        Change::SetMember { user, role, permissions } => {
            reaches(user)? && sets(member(actor, state)?, state, user, *role, *permissions)
        }
        Change::Remove { user } | Change::Ban { user, .. } | Change::Mute { user: Some(user), .. } => {
            may(Permissions::MODERATE)? && reaches(user)?
        }
        Change::Mute { user: None, .. } | Change::SlowMode { .. } => may(Permissions::MODERATE)?,
        Change::Invite { role, .. } => member(actor, state)?.invites(*role, state.kind()),
        Change::RevokeInvitation { .. } | Change::RevokeInvitations => may(Permissions::MANAGE)?,
    };
    allowed(ok)
}

const fn allowed(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::FORBIDDEN) }
}

/// As what the actor is in the conversation.
fn member(actor: Actor<'_>, state: &ConversationState) -> Result<Present, Refusal> {
    match actor {
        Actor::User(grant) => state.present(&grant.user).ok_or(Refusal::FORBIDDEN),
        Actor::Operator { .. } => Ok(OPERATOR),
    }
}

/// Each kind has its names. Those of two users and of one follow from who they are.
fn create(me: &UserId, kind: ConversationKind, members: &[UserId], place: Place<'_>) -> Result<(), Refusal> {
    use quoth_protocol::ConversationName as Name;
    let fits = match (kind, place.name.reserved()) {
        (ConversationKind::Group, None | Some(Reserved::Group))
        | (ConversationKind::Channel, None | Some(Reserved::Channel)) => true,
        (ConversationKind::Direct, Some(Reserved::Direct)) => match members {
            [other] => *place.name == Name::direct(me, other) && !place.is_blocked,
            [] | [_, _, ..] => false,
        },
        (ConversationKind::Notes, Some(Reserved::Notes)) => *place.name == Name::notes(me),
        (
            ConversationKind::Group
            | ConversationKind::Channel
            | ConversationKind::Direct
            | ConversationKind::Notes,
            _,
        ) => false,
    };
    allowed(fits)
}

fn join(
    actor: Actor<'_>,
    state: &ConversationState,
    invitation: Option<&quoth_protocol::membership::InvitationHash>,
    now_ms: u64,
) -> Result<(), Refusal> {
    let member = state.user(actor.user()).copied().unwrap_or_default();
    let is_let_in = match invitation {
        _ if member.present.is_some() => true,
        Some(hash) => state.invitation(hash, now_ms).is_some(),
        None => state.is_open(),
    };
    // A conversation that all have left is over: who came back would find nobody to manage it.
    allowed(is_let_in && !member.is_banned(now_ms) && state.members_count() > 0)
}

/// Whether a member may make somebody this. Nobody gives what they do not have.
fn sets(
    me: Present,
    state: &ConversationState,
    user: &UserId,
    role: Role,
    permissions: Option<Permissions>,
) -> bool {
    let before = state.present(user);
    if me.permissions.contains(Permissions::MANAGE) {
        let new = permissions.unwrap_or_else(|| role.permissions(state.kind()));
        let old = before.map_or(Permissions::NONE, |present| present.permissions);
        // Bits that nobody knows are told as such later.
        let new = new.difference(new.difference(Permissions::ALL));
        return role <= me.role && me.permissions.contains(new.difference(old));
    }
    let joins = role == Role::of_joiner(state.kind()) && permissions.is_none();
    before.is_none() && joins && me.invites(role, state.kind())
}
