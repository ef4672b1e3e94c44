//! A state as registers: a row for what the conversation is, one for each user and one for each invitation.
//!
//! Rows are encoded in postcard. Each holds the seq of its last change, so the state's version is the
//! greatest of them.

use std::collections::BTreeMap;

use quoth_protocol::membership::{ConversationKind, InvitationHash};
use quoth_protocol::{Seq, UserId};
use serde::{Deserialize, Serialize};

use super::fold::Touched;
use super::state::{ConversationState, Invitation, Member};
pub use crate::register::{Damaged, RegisterChange};
use crate::register::{decode, encode, key};

/// The key of the attributes, and what the keys of users and invitations begin with.
const ATTRIBUTES: u8 = b'a';
const USER: u8 = b'm';
const INVITATION: u8 = b'i';

/// What the keys of all registers begin with that a state is loaded from. The conversation has others beside
/// them.
pub const PREFIXES: [u8; 3] = [ATTRIBUTES, INVITATION, USER];

#[derive(Serialize, Deserialize)]
struct Attributes {
    kind: ConversationKind,
    title: String,
    open: bool,
    creator: UserId,
    muted_until_ms: u64,
    slow_mode_interval_ms: u32,
    seq: Seq,
}

impl ConversationState {
    /// The registers that an event has changed, as they are now.
    #[must_use]
    pub fn registers(&self, touched: &Touched) -> Vec<RegisterChange> {
        let mut changes = Vec::with_capacity(2);
        if touched.attributes {
            changes.push((vec![ATTRIBUTES], Some(encode(&self.attributes()))));
        }
        let users = touched.users.iter();
        changes.extend(
            users.map(|user| (key(USER, user.as_str().as_bytes()), self.members.get(user).map(encode))),
        );
        let invitations = touched.invitations.iter();
        changes.extend(
            invitations.map(|hash| (key(INVITATION, &hash.0), self.invitations.get(hash).map(encode))),
        );
        changes
    }

    /// The state that the registers hold whose keys begin with one of [`PREFIXES`]; `None` when there are
    /// none: the conversation is not managed.
    ///
    /// # Errors
    /// When they are none that [`ConversationState::registers`] has made.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        registers: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Option<Self>, Damaged> {
        let (mut attributes, mut members, mut invitations) = (None, BTreeMap::new(), BTreeMap::new());
        let mut is_empty = true;
        for (key, value) in registers {
            is_empty = false;
            let (kind, name) = key.as_ref().split_first().ok_or(Damaged("a key is empty"))?;
            let value = value.as_ref();
            match *kind {
                ATTRIBUTES => attributes = Some(decode::<Attributes>(value)?),
                USER => {
                    let name = std::str::from_utf8(name).ok().and_then(|name| UserId::new(name).ok());
                    members.insert(name.ok_or(Damaged("a key is no user"))?, decode::<Member>(value)?);
                }
                INVITATION => {
                    let hash = name.try_into().map_err(|_| Damaged("a key is no invitation"))?;
                    invitations.insert(InvitationHash(hash), decode::<Invitation>(value)?);
                }
                _ => return Err(Damaged("a key is of an unknown kind")),
            }
        }
        if is_empty {
            return Ok(None);
        }
        let attributes = attributes.ok_or(Damaged("the attributes are missing"))?;
        let seqs = members.values().map(|member| member.seq);
        let seqs = seqs.chain(invitations.values().map(|invitation| invitation.seq));
        let version = seqs.max().unwrap_or_default().max(attributes.seq);
        let count = members.values().filter(|member| member.present.is_some()).count();
        let owners = members.values().filter(|member| member.is_owner()).count();
        let number = |count| u32::try_from(count).map_err(|_| Damaged("there are too many members"));
        Ok(Some(Self {
            kind: attributes.kind,
            title: attributes.title,
            open: attributes.open,
            creator: attributes.creator,
            muted_until_ms: attributes.muted_until_ms,
            slow_mode_interval_ms: attributes.slow_mode_interval_ms,
            count: number(count)?,
            owners: number(owners)?,
            members,
            invitations,
            version,
            attributes_seq: attributes.seq,
        }))
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            kind: self.kind,
            title: self.title.clone(),
            open: self.open,
            creator: self.creator.clone(),
            muted_until_ms: self.muted_until_ms,
            slow_mode_interval_ms: self.slow_mode_interval_ms,
            seq: self.attributes_seq,
        }
    }
}
