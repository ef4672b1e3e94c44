//! The move of a conversation in its members' lists.

use quoth_core::inbox::{Entry, MOVED_MEMBERS_MAX};
use quoth_core::membership::ConversationState;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::ViewError;

use super::entries::Entries;
use super::plan::Plan;

/// A conversation that is to move in its members' lists.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) conversation: ConversationName,
    to: To,
}

/// Where it moves to.
#[derive(Debug)]
enum To {
    /// It stays where it is: among the large ones in all lists, or in no list.
    Nowhere,
    /// To a time, in milliseconds since 1970, in these lists.
    Time { time_ms: u64, members: Vec<UserId> },
    /// To those with too many members, which are looked at each time, in the lists of its members of this
    /// version.
    Large { version: Seq, members: Vec<UserId> },
}

impl Move {
    /// That of a conversation in this state that was written to at `time_ms`. `stands_large` says whether it
    /// is known to stand among the large ones in all of its members' lists.
    pub(super) fn new(
        conversation: ConversationName,
        state: Option<&ConversationState>,
        stands_large: bool,
        time_ms: u64,
    ) -> Self {
        let to = match state {
            None => To::Nowhere,
            Some(state) => {
                let is_large = state.members_count() > MOVED_MEMBERS_MAX;
                let members = || state.members_after(None).map(|(user, ..)| user.clone()).collect();
                match is_large {
                    true if stands_large => To::Nowhere,
                    true => To::Large { version: state.version(), members: members() },
                    false => To::Time { time_ms, members: members() },
                }
            }
        };
        Self { conversation, to }
    }

    /// Plans it, list by list: one that is damaged keeps no other from its move.
    pub(super) fn plan(&self, entries: &mut Entries<'_>, plan: &mut Plan) -> Result<(), ViewError> {
        let (members, time_ms) = match &self.to {
            To::Nowhere => return Ok(()),
            To::Time { time_ms, members } => (members, Some(*time_ms)),
            To::Large { members, .. } => (members, None),
        };
        for user in members {
            let moved = entries.change(user, &self.conversation, |entry| {
                // One that is missing was ended by who came back a moment ago.
                let entry = entry.unwrap_or_default();
                let moved_ms = time_ms.map_or(0, |time_ms| entry.moved_ms.max(time_ms));
                Some(Entry { moved_ms, ..entry })
            });
            plan.unless_damaged(moved)?;
        }
        if let To::Large { version, .. } = self.to {
            plan.large.push((self.conversation.clone(), version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quoth_core::inbox::{Entry, entry_key, joined};
    use quoth_protocol::{ConversationName, Seq, UserId};
    use quoth_store::testing::notice;
    use quoth_store::{MemoryView, Position, Register, View as _};

    use super::{Move, To};
    use crate::engine::inbox::plan::{Plan, Work, plan};

    fn name(name: &str) -> ConversationName {
        ConversationName::new(name).unwrap()
    }

    fn users() -> Vec<UserId> {
        ["alice", "bob", "carol"].map(|name| UserId::new(name).unwrap()).to_vec()
    }

    fn view() -> MemoryView {
        let (view, room) = (MemoryView::new(), name("room"));
        for (position, user) in (1..).map(Position).zip(users()) {
            let registers = joined(&room, 1_000, 3).into_iter();
            let registers: Vec<_> = registers
                .map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) })
                .collect();
            let log = ConversationName::of_user(&user);
            view.apply(position, &[notice(log.as_str(), registers)]).unwrap();
        }
        view
    }

    fn planned(view: &MemoryView, to: To) -> Plan {
        let moves = vec![Move { conversation: name("room"), to }];
        plan(view, &Work { now_ms: 90_000, moves, ..Work::default() }).unwrap()
    }

    /// What the entries of these users are to be.
    fn entries(plan: &Plan) -> Vec<(UserId, Entry)> {
        let mut entries = Vec::new();
        for user in users() {
            let log = ConversationName::of_user(&user);
            let notes = plan.notes.iter().filter(|(name, _)| *name == log).flat_map(|(_, notes)| notes);
            let own = notes.filter(|register| register.key == entry_key(&name("room")));
            entries.extend(
                own.map(|register| (user.clone(), Entry::decode(register.value.as_ref().unwrap()).unwrap())),
            );
        }
        entries
    }

    #[test]
    fn a_move_is_planned_list_by_list_and_the_same_again_until_it_is_stored() {
        let view = view();
        for (to, moved_ms) in [(Some(80_000), 80_000), (Some(500), 1_000), (None, 0)] {
            let to = || match to {
                Some(time_ms) => To::Time { time_ms, members: users() },
                None => To::Large { version: Seq(7), members: users() },
            };
            let (first, second) = (planned(&view, to()), planned(&view, to()));
            assert_eq!(first.notes, second.notes, "a plan changes nothing");
            let moved = users().into_iter().map(|user| (user, Entry { moved_ms, read_ms: 0 }));
            let expected: Vec<_> = moved.filter(|(_, entry)| entry.moved_ms != 1_000).collect();
            assert_eq!(entries(&first), expected);
            let is_large = moved_ms == 0;
            assert_eq!(first.large, if is_large { vec![(name("room"), Seq(7))] } else { Vec::new() });
            assert_eq!(first.done.len(), 1, "it is due no more");
        }
        assert!(entries(&planned(&view, To::Nowhere)).is_empty());
    }

    #[test]
    fn a_damaged_entry_is_told_and_keeps_no_other_list_from_its_move() {
        let view = view();
        let log = ConversationName::of_user(&users()[1]);
        let damaged = Register { key: entry_key(&name("room")).into(), value: Some("x".into()) };
        view.apply(Position(4), &[notice(log.as_str(), [damaged])]).unwrap();
        let plan = planned(&view, To::Time { time_ms: 80_000, members: users() });
        let moved: Vec<_> = entries(&plan).into_iter().map(|(user, _)| user).collect();
        assert_eq!((moved, plan.damage.len()), (vec![users()[0].clone(), users()[2].clone()], 1));
    }
}
