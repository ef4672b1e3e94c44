//! The referee of a managed conversation: who may be told what, and whose messages may be stored, by the log
//! alone.

use std::collections::BTreeMap;

use anyhow::Context as _;
use quoth_protocol::codec::decode;
use quoth_protocol::frame::EventKind;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Content, Position, Record};

use super::history::Broken;
use super::server::Machine;

/// What of a conversation is a user's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// All of it.
    Member,
    /// What is up to and with this event, by which the user left.
    Gone(Seq),
}

/// A managed conversation as far as it is stored.
#[derive(Debug)]
pub(super) struct Club {
    machine: Machine,
    /// Its name, of the server's making: nobody can have written there before.
    pub(super) name: Option<ConversationName>,
    /// The last group that is counted.
    counted: Position,
    users: BTreeMap<UserId, Standing>,
    /// Messages that are stored.
    pub(super) messages: usize,
    /// Times that somebody left.
    pub(super) leaves: usize,
    /// Streams that ended because of that.
    pub(super) ends: usize,
    /// The last message of all, once it is acked.
    pub(super) last: Option<Seq>,
}

impl Club {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            name: None,
            counted: Position(0),
            users: BTreeMap::new(),
            messages: 0,
            leaves: 0,
            ends: 0,
            last: None,
        }
    }

    /// Takes in what is stored. What was flushed once stays.
    ///
    /// # Errors
    /// When something is stored of who was no member.
    pub(super) fn follow(&mut self) -> anyhow::Result<()> {
        let Some(name) = self.name.clone() else { return Ok(()) };
        let (last, records) = self.machine.records_behind(self.counted)?;
        self.counted = last;
        for record in records.iter().filter(|record| record.conversation == name) {
            self.take(record)?;
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> anyhow::Result<()> {
        match &record.content {
            Content::Message(_) => {
                self.messages += 1;
                let Record { sender, seq, .. } = record;
                let is_member = self.users.get(sender) == Some(&Standing::Member);
                anyhow::ensure!(is_member, Broken::new(format!("{seq} is of {sender}, who is no member")));
            }
            Content::Change(kind) => match decode(kind).context("a change does not decode")? {
                EventKind::MemberSet { user, .. } => {
                    self.users.insert(user, Standing::Member);
                }
                EventKind::MemberGone { user, .. } => {
                    self.leaves += 1;
                    let before = self.users.insert(user, Standing::Gone(record.seq));
                    let was_member = before == Some(Standing::Member);
                    anyhow::ensure!(was_member, Broken::new(format!("{} of who is no member", record.seq)));
                }
                _ => {}
            },
            Content::Notice(_) => {}
        }
        Ok(())
    }

    /// A user was told of an event. What is on its way when the user leaves is from before that, and is up to
    /// it.
    ///
    /// # Errors
    /// When it is behind the user's leave.
    pub(super) fn told(&mut self, user: &UserId, seq: Seq) -> anyhow::Result<()> {
        self.follow()?;
        match self.users.get(user) {
            Some(Standing::Member) => Ok(()),
            Some(Standing::Gone(last)) if seq <= *last => Ok(()),
            other => Err(Broken::new(format!("{user} is told of {seq} and is {other:?}")).into()),
        }
    }
}
