//! How a user stands in a conversation.

use quoth_protocol::membership::Permissions;
use quoth_protocol::{Code, Seq};

use super::{Action, Place, Reach, Written};
use crate::membership::{Actor, Present, Refusal};

/// How a user stands in a conversation: all that decides what the user may do there, mutes that begin and end
/// with time among it. It holds until the conversation's version, the version of the other user's blocks, or
/// the token changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What the token lets the user do, as far as the user may otherwise.
    reads: bool,
    writes: bool,
    membership: Membership,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// There is none: the token alone counts.
    Unmanaged,
    /// No such conversation, or one that nobody publishes to.
    Nowhere,
    /// The user's own log: the server writes it.
    Own,
    /// The operator's, who needs none.
    Operator,
    Managed {
        present: Option<Present>,
        left_seq: Seq,
        banned_until_ms: u64,
        /// The later one of the user's mute and everybody's.
        muted_until_ms: u64,
        slow_mode_interval_ms: u32,
        is_open: bool,
        is_blocked: bool,
    },
}

impl Standing {
    /// How the actor stands in a place.
    #[must_use]
    pub fn new(actor: Actor<'_>, place: Place<'_>) -> Self {
        let membership = Membership::new(actor, place);
        let is_managed = place.state.is_some();
        match actor {
            Actor::Operator { .. } => Self { reads: true, writes: true, membership },
            Actor::User(grant) => Self {
                reads: grant.reads(place.name, is_managed),
                writes: grant.writes(place.name, is_managed),
                membership,
            },
        }
    }

    /// How every user stands in the own log, which the token does not narrow.
    pub const OF_OWN_LOG: Self = Self { reads: true, writes: true, membership: Membership::Own };

    /// See [`authorize`](super::authorize). `actor` is the one whose standing this is.
    ///
    /// # Errors
    /// Why not. A [`Action::Change`] is [`Refusal::FORBIDDEN`] here: it needs the state.
    pub fn allows(&self, actor: Actor<'_>, action: Action<'_>, now_ms: u64) -> Result<Reach, Refusal> {
        let (reads, writes) = (self.membership.reads(now_ms), self.membership.writes(now_ms));
        let by_token = |allowed: bool| if allowed { Ok(()) } else { Err(Refusal::FORBIDDEN) };
        match action {
            Action::ReadHistory | Action::Hide => {
                by_token(self.reads)?;
                reads
            }
            Action::ReadLive | Action::Roster => {
                by_token(self.reads)?;
                whole(reads)
            }
            Action::Publish | Action::Typing | Action::React => {
                by_token(self.writes)?;
                writes
            }
            Action::PublishAs(user) => {
                let may = match actor {
                    Actor::User(grant) => grant.publishes_as(user),
                    Actor::Operator { .. } => true,
                };
                by_token(self.writes && may)?;
                writes
            }
            Action::Members | Action::Inbox => {
                by_token(self.reads)?;
                self.membership.sees_members(now_ms)
            }
            Action::Mark => {
                by_token(self.reads)?;
                self.membership.marks(now_ms)
            }
            Action::Receipts => {
                by_token(self.reads)?;
                self.membership.sees_receipts(now_ms)
            }
            Action::Describe => {
                by_token(self.reads)?;
                self.membership.sees_what_it_is(now_ms)
            }
            Action::Edit(message) => {
                by_token(self.writes && message.is_of(actor))?;
                writes?;
                match actor {
                    Actor::User(_) => message.in_time(),
                    // The operator's time is for users.
                    Actor::Operator { .. } => Ok(Reach::Whole),
                }
            }
            Action::Revoke(message) => {
                by_token(self.writes)?;
                self.membership.revokes(actor, message)
            }
            Action::Retain => {
                by_token(self.writes)?;
                self.membership.manages()
            }
            Action::Change(_) => Err(Refusal::FORBIDDEN),
        }
    }

    /// Whether what it allows is another thing at another time.
    #[must_use]
    pub const fn depends_on_time(&self) -> bool {
        match self.membership {
            Membership::Managed { banned_until_ms, muted_until_ms, .. } => {
                banned_until_ms > 0 || muted_until_ms > 0
            }
            Membership::Unmanaged | Membership::Nowhere | Membership::Own | Membership::Operator => false,
        }
    }

    /// The user writes at most once in so many milliseconds; 0: as often as the user likes.
    #[must_use]
    pub const fn slow_mode_interval_ms(&self) -> u32 {
        match self.membership {
            Membership::Managed { slow_mode_interval_ms, .. } => slow_mode_interval_ms,
            Membership::Unmanaged | Membership::Nowhere | Membership::Own | Membership::Operator => 0,
        }
    }
}

fn whole(reach: Result<Reach, Refusal>) -> Result<Reach, Refusal> {
    match reach {
        Ok(Reach::Whole) => Ok(Reach::Whole),
        Ok(Reach::UpTo(_)) | Err(_) => Err(Refusal::FORBIDDEN),
    }
}

impl Membership {
    fn new(actor: Actor<'_>, place: Place<'_>) -> Self {
        let Some(state) = place.state else {
            return if place.name.reserved().is_some() { Self::Nowhere } else { Self::Unmanaged };
        };
        let user = match actor {
            Actor::User(grant) => &grant.user,
            Actor::Operator { .. } => return Self::Operator,
        };
        let member = state.user(user).copied().unwrap_or_default();
        let moderates =
            member.present.is_some_and(|present| present.permissions.contains(Permissions::MODERATE));
        let of_all = |value: u64| if moderates { 0 } else { value };
        Self::Managed {
            present: member.present,
            left_seq: member.left_seq,
            banned_until_ms: member.banned_until_ms,
            muted_until_ms: member.muted_until_ms.max(of_all(state.muted_until_ms())),
            slow_mode_interval_ms: if moderates { 0 } else { state.slow_mode_interval_ms() },
            is_open: state.is_open(),
            is_blocked: place.is_blocked,
        }
    }

    fn reads(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match *self {
            Self::Unmanaged | Self::Own | Self::Operator => Ok(Reach::Whole),
            Self::Nowhere => Err(Refusal::FORBIDDEN),
            Self::Managed { banned_until_ms, .. } if banned_until_ms > now_ms => Err(Refusal::FORBIDDEN),
            Self::Managed { present: Some(present), .. } => has(present, Permissions::READ),
            Self::Managed { present: None, left_seq: Seq::ZERO, .. } => Err(Refusal::FORBIDDEN),
            Self::Managed { present: None, left_seq, .. } => Ok(Reach::UpTo(left_seq)),
        }
    }

    fn writes(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match *self {
            Self::Unmanaged | Self::Operator => Ok(Reach::Whole),
            Self::Nowhere
            | Self::Own
            | Self::Managed { present: None, .. }
            | Self::Managed { is_blocked: true, .. } => Err(Refusal::FORBIDDEN),
            Self::Managed { present: Some(present), muted_until_ms, .. } => {
                has(present, Permissions::WRITE)?;
                if muted_until_ms > now_ms {
                    let reason = "you are muted in this conversation";
                    return Err(Refusal::until(Code::MUTED, reason, muted_until_ms, now_ms));
                }
                Ok(Reach::Whole)
            }
        }
    }

    /// Who is muted, or has been blocked, takes back own words all the same.
    fn revokes(&self, actor: Actor<'_>, message: Written<'_>) -> Result<Reach, Refusal> {
        let (is_own, is_operator) = (message.is_of(actor), matches!(actor, Actor::Operator { .. }));
        match *self {
            Self::Unmanaged | Self::Operator if is_operator => Ok(Reach::Whole),
            Self::Managed { present: Some(me), .. }
                if me.permissions.contains(Permissions::DELETE_ANY)
                    && (is_own || message.role.is_none_or(|role| role <= me.role)) =>
            {
                Ok(Reach::Whole)
            }
            Self::Unmanaged | Self::Managed { present: Some(_), .. } if is_own => message.in_time(),
            Self::Unmanaged | Self::Nowhere | Self::Own | Self::Operator | Self::Managed { .. } => {
                Err(Refusal::FORBIDDEN)
            }
        }
    }

    /// Who is muted, or has been blocked, manages all the same.
    fn manages(&self) -> Result<Reach, Refusal> {
        match *self {
            Self::Operator => Ok(Reach::Whole),
            Self::Managed { present: Some(present), .. } => has(present, Permissions::MANAGE),
            Self::Unmanaged => Err(Refusal::UNMANAGED),
            Self::Own | Self::Nowhere | Self::Managed { present: None, .. } => Err(Refusal::FORBIDDEN),
        }
    }

    fn sees_members(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match self {
            Self::Unmanaged => Err(Refusal::UNMANAGED),
            Self::Own => Err(Refusal::FORBIDDEN),
            Self::Nowhere | Self::Operator | Self::Managed { .. } => whole(self.reads(now_ms)),
        }
    }

    /// Who reads all of it has a cursor there, but in the own log, of which nobody else is told.
    fn marks(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match self {
            Self::Own => Err(Refusal::FORBIDDEN),
            Self::Unmanaged | Self::Nowhere | Self::Operator | Self::Managed { .. } => {
                whole(self.reads(now_ms))
            }
        }
    }

    /// Who wants nothing of somebody does not tell them what was read either. Where there are no members, it is
    /// told how many have read, and not who.
    fn sees_receipts(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match self {
            Self::Managed { is_blocked: true, .. } => Err(Refusal::FORBIDDEN),
            Self::Unmanaged => whole(self.reads(now_ms)),
            Self::Own | Self::Nowhere | Self::Operator | Self::Managed { .. } => self.sees_members(now_ms),
        }
    }

    fn sees_what_it_is(&self, now_ms: u64) -> Result<Reach, Refusal> {
        match *self {
            Self::Managed { present: None, is_open: true, banned_until_ms, .. }
                if banned_until_ms <= now_ms =>
            {
                Ok(Reach::Whole)
            }
            // How long what is said there is kept concerns who reads it.
            Self::Unmanaged => whole(self.reads(now_ms)),
            Self::Nowhere | Self::Own | Self::Operator | Self::Managed { .. } => self.sees_members(now_ms),
        }
    }
}

fn has(present: Present, permission: Permissions) -> Result<Reach, Refusal> {
    if present.permissions.contains(permission) { Ok(Reach::Whole) } else { Err(Refusal::FORBIDDEN) }
}
