//! How a conversation is kept: what was absent until then stays so, since the marks are fixed with the
//! group's own time and end.

use std::sync::{Arc, OnceLock};

use quoth_core::membership::{Actor, Refusal};
use quoth_core::retention::{End, Kept, Marks, Retain};
use quoth_protocol::frame::EventKind;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Record, Register};

use super::change::{Changed, Failure, Happened};
use super::{Committer, Group};
use crate::engine::changes::{Done, Heads};
use crate::engine::retain::{Settled, may_be_named, may_retain};
use crate::engine::retention::Keeps;
use crate::engine::states::KnownConversation;

impl Committer {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn retain(
        &mut self,
        actor: Actor<'_>,
        (name, known): (&ConversationName, &Arc<KnownConversation>),
        keeps: &Keeps,
        (retain, settled): (Retain, &OnceLock<Settled>),
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let nothing = Done { conversation: name.clone(), seq: Seq::ZERO, time_ms: 0 };
        self.drafts
            .conversations
            .look(name, known, |state| may_retain(actor, name, state.as_ref(), retain, now_ms))?;
        let is_unused = self.head(name, heads)? == Seq::ZERO;
        may_be_named(name, is_unused)?;
        let end = self.end(name);
        let class = keeps.of_class;
        let kept = self.drafts.kept.get_mut(name, &keeps.known);
        if !kept.set(retain, class, now_ms, end) {
            // Whoever takes back what was never set has slipped in the name.
            let was_never_set = is_unused && !kept.is_set();
            settled.get_or_init(|| Settled { kept: *kept, end, now_ms });
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
        let Some(retention) = retain.told(class).filter(|_| !is_unused) else {
            // A first event would stand in the way of whoever creates the conversation, and nobody is there
            // to be told by one.
            let (key, value) = register;
            let registers = vec![Register { key: key.into(), value: value.map(Into::into) }];
            group.records.push(Record::notice(name.clone(), now_ms, actor.user().clone(), registers));
            settled.get_or_init(|| Settled { kept, end, now_ms });
            return Ok(Done { time_ms: now_ms, ..nothing });
        };
        let (seq, time_ms) = self.next(name, now_ms)?;
        let sender = actor.user().clone();
        let event = Happened { seq, time_ms, sender, kind: EventKind::RetentionSet { retention } };
        self.push(name, &event, vec![register], keeps.class(), group);
        let end = self.end(name);
        settled.get_or_init(|| Settled { kept, end, now_ms });
        Ok(Done { seq, time_ms, ..nothing })
    }

    /// Where a log ends that is loaded.
    fn end(&mut self, name: &ConversationName) -> End {
        let (seq, bytes) = self.sequencer.end(name).unwrap_or_default();
        End { seq, bytes }
    }
}

fn kept_key() -> Vec<u8> {
    Kept::REGISTER.to_vec()
}
