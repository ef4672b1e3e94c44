//! The move of a conversation in its members' lists.

use quoth_core::inbox::{Entry, MOVED_MEMBERS_MAX};
use quoth_core::membership::ConversationState;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::ViewError;

use super::entries::Entries;
use super::plan::Plan;

/// A conversation that is to move in its members' lists, or to be said there to have changed.
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
    /// To a time, in milliseconds since 1970, if it moves at all, in these lists; and when it has changed.
    Time { time_ms: Option<u64>, changed_ms: Option<u64>, members: Vec<UserId> },
    /// To those with too many members, which are looked at each time, in the lists of its members of this
    /// version.
    Large { version: Seq, members: Vec<UserId> },
}

impl Move {
    /// That of a conversation in this state that is to move to the first time and has changed at the second
    /// one. `stands_large` says whether it is known to stand among the large ones in all of its members'
    /// lists.
    pub(super) fn new(
        conversation: ConversationName,
        state: Option<&ConversationState>,
        stands_large: bool,
        (time_ms, changed_ms): (Option<u64>, Option<u64>),
    ) -> Self {
        let to = match state {
            None => To::Nowhere,
            Some(state) => {
                let is_large = state.members_count() > MOVED_MEMBERS_MAX;
                let members = || state.members_after(None).map(|(user, ..)| user.clone()).collect();
                match is_large {
                    true if stands_large => To::Nowhere,
                    true => To::Large { version: state.version(), members: members() },
                    false => To::Time { time_ms, changed_ms, members: members() },
                }
            }
        };
        Self { conversation, to }
    }

    /// Plans it, list by list: one that is damaged keeps no other from its move.
    pub(super) fn plan(&self, entries: &mut Entries<'_>, plan: &mut Plan) -> Result<(), ViewError> {
        let members = match &self.to {
            To::Nowhere => return Ok(()),
            To::Time { members, .. } | To::Large { members, .. } => members,
        };
        for user in members {
            let moved = entries.change(user, &self.conversation, |entry| self.to.entry(entry));
            plan.unless_damaged(moved)?;
        }
        if let To::Large { version, .. } = self.to {
            plan.large.push((self.conversation.clone(), version));
        }
        Ok(())
    }
}

impl To {
    /// What becomes of an entry.
    fn entry(&self, entry: Option<Entry>) -> Option<Entry> {
        match self {
            Self::Nowhere => entry,
            Self::Large { .. } => Some(Entry { moved_ms: 0, ..entry.unwrap_or_default() }),
            // One that is missing was ended by who came back a moment ago.
            Self::Time { time_ms: Some(time_ms), changed_ms, .. } => {
                let entry = entry.unwrap_or_default();
                let changed_ms = entry.changed_ms.max(changed_ms.unwrap_or_default());
                Some(Entry { moved_ms: entry.moved_ms.max(*time_ms), changed_ms, ..entry })
            }
            // Where it stands among the large ones it is looked at each time.
            Self::Time { time_ms: None, changed_ms, .. } => {
                let entry = entry?;
                let changed_ms = entry.changed_ms.max(changed_ms.unwrap_or_default());
                Some(if entry.moved_ms == 0 { entry } else { Entry { changed_ms, ..entry } })
            }
        }
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
        let time = |time_ms, changed_ms| Some((Some(time_ms), changed_ms));
        let changed = Some((None, Some(70_000)));
        for (to, moved_ms, changed_ms) in [
            (time(80_000, None), 80_000, 0),
            (time(500, None), 1_000, 0),
            (time(80_000, Some(70_000)), 80_000, 70_000),
            (changed, 1_000, 70_000),
            (None, 0, 0),
        ] {
            let to = || match to {
                Some((time_ms, changed_ms)) => To::Time { time_ms, changed_ms, members: users() },
                None => To::Large { version: Seq(7), members: users() },
            };
            let (first, second) = (planned(&view, to()), planned(&view, to()));
            assert_eq!(first.notes, second.notes, "a plan changes nothing");
            let by = Entry { moved_ms, read_ms: 0, changed_ms };
            let is_another = by != Entry { moved_ms: 1_000, ..Entry::default() };
            let expected: Vec<_> =
                users().into_iter().filter(|_| is_another).map(|user| (user, by)).collect();
            assert_eq!(entries(&first), expected);
            let is_large = moved_ms == 0;
            assert_eq!(first.large, if is_large { vec![(name("room"), Seq(7))] } else { Vec::new() });
            assert_eq!(first.done.len(), 2, "neither is due any more");
        }
        assert!(entries(&planned(&view, To::Nowhere)).is_empty());
    }

    #[test]
    fn a_damaged_entry_is_told_and_keeps_no_other_list_from_its_move() {
        let view = view();
        let log = ConversationName::of_user(&users()[1]);
        let damaged = Register { key: entry_key(&name("room")).into(), value: Some("x".into()) };
        view.apply(Position(4), &[notice(log.as_str(), [damaged])]).unwrap();
        let to = To::Time { time_ms: Some(80_000), changed_ms: None, members: users() };
        let plan = planned(&view, to);
        let moved: Vec<_> = entries(&plan).into_iter().map(|(user, _)| user).collect();
        assert_eq!((moved, plan.damage.len()), (vec![users()[0].clone(), users()[2].clone()], 1));
    }
}
