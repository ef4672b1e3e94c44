//! How a conversation is kept: what was absent until then stays so, since the marks are fixed with the
//! group's own time and end.

use std::sync::Arc;

use quoth_core::authorize::{Action, Place, authorize};
use quoth_core::membership::{Actor, Refusal};
use quoth_core::retention::{End, Kept, Marks};
use quoth_protocol::frame::EventKind;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Record, Register};

use super::change::{Changed, Failure, Happened};
use super::{Committer, Group};
use crate::engine::changes::{Done, Heads};
use crate::engine::retention::{Keeps, Retain};
use crate::engine::states::KnownConversation;

impl Committer {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn retain(
        &mut self,
        actor: Actor<'_>,
        (name, known): (&ConversationName, &Arc<KnownConversation>),
        keeps: &Keeps,
        retain: Retain,
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let nothing = Done { conversation: name.clone(), seq: Seq::ZERO, time_ms: 0 };
        if let Actor::User(_) = actor {
            // Holds and classes are the operator's.
            if matches!(retain, Retain::Hold(_) | Retain::Class) {
                return Err(Refusal::FORBIDDEN.into());
            }
            self.drafts.conversations.look(name, known, |state| {
                let place = Place { name, state: state.as_ref(), is_blocked: false };
                authorize(actor, Action::Retain, place, now_ms)
            })?;
        }
        let is_unused = self.head(name, heads)? == Seq::ZERO;
        if is_unused && !name.may_come() {
            return Err(IMPOSSIBLE.into());
        }
        if is_unused && name.as_str().contains('*') {
            return Err(PATTERN.into());
        }
        let (seq, bytes) = self.sequencer.end(name).unwrap_or_default();
        let end = End { seq, bytes };
        let class = keeps.of_class;
        let kept = self.drafts.kept.get_mut(name, &keeps.known);
        let changes = match retain {
            Retain::Policy(policy) => kept.set_policy(Some(policy), class, now_ms, end),
            Retain::Class => kept.set_policy(None, class, now_ms, end),
            Retain::Hold(on) => kept.set_hold(on, class, now_ms, end),
        };
        if !changes {
            // Whoever takes back what was never set has slipped in the name.
            let was_never_set = is_unused && !kept.is_set();
            return if was_never_set { Err(Refusal::FORBIDDEN.into()) } else { Ok(nothing) };
        }
        if is_unused {
            // There is nothing that could have been absent.
            kept.marks = Marks::default();
        }
        let kept = *kept;
        keeps.known.set_sequenced(kept.version);
        group.changes.push(Changed::Kept { known: Arc::clone(&keeps.known), kept });
        // What is there of it is something else now, also where no event says so.
        if self.drafts.conversations.look(name, known, Option::is_some) {
            self.changed(name, known, now_ms, group);
        }
        // What is taken back before the first event leaves nothing: the name may have had a slip in it.
        let register = (kept_key(), (!is_unused || kept.is_set()).then(|| kept.encode()));
        let retention = match retain {
            Retain::Policy(retention) if !is_unused => retention,
            // What members see of it: by what they are kept from now on.
            Retain::Class if !is_unused => class,
            // A first event would stand in the way of whoever creates the conversation, and nobody is there
            // to be told by one.
            Retain::Policy(_) | Retain::Class | Retain::Hold(_) => {
                let (key, value) = register;
                let registers = vec![Register { key: key.into(), value: value.map(Into::into) }];
                group.records.push(Record::notice(name.clone(), now_ms, actor.user().clone(), registers));
                return Ok(Done { time_ms: now_ms, ..nothing });
            }
        };
        let (seq, time_ms) = self.next(name, now_ms)?;
        let sender = actor.user().clone();
        let event = Happened { seq, time_ms, sender, kind: EventKind::RetentionSet { retention } };
        self.push(name, &event, vec![register], keeps.class(), group);
        Ok(Done { seq, time_ms, ..nothing })
    }
}

/// Why nothing is set beforehand for some names.
const IMPOSSIBLE: Refusal = Refusal::invalid(
    "no conversation of this name is there, and none will be: direct/ has 32 hexadecimal digits behind it, notes/ a user's id, and a \
     name that begins with group/ or channel/ is made by the server when the conversation is created",
);

/// A name may have any character, but who sets something for `team-*` before there is such a conversation means others.
const PATTERN: Refusal = Refusal::invalid(
    "no conversation has this name, and it is not taken for a pattern: what is set beforehand is for one name; patterns are in the \
     classes of the configuration, `retention.classes`",
);

fn kept_key() -> Vec<u8> {
    Kept::REGISTER.to_vec()
}
