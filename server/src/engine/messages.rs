//! Messages once they are said: what is done to them on its way to the log, and what readers are told of
//! them.

use std::sync::Arc;

use bytes::Bytes;
use quoth_core::authorize::{Action, Reach};
use quoth_core::membership::{Actor, Refusal};
use quoth_core::messages::{
    Alteration, SUMMARY, Summary, Target, decode_edit, edit_key, hidden_key, reaction_key, seq_of,
    summary_key,
};
use quoth_protocol::limits::BODY_BYTES_MAX;
use quoth_protocol::message::{Edit, MessageState};
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::{View, ViewError};

use super::Engine;
use super::access::Access;
use super::changes::{Caller, Done, What, unreadable};
use super::readable::Reading;
use super::states::MessageKey;

/// Summaries that are read at once.
const SUMMARIES_PAGE: usize = 256;

/// Bytes of a page's states that are read at once, but for the last one: what a client that takes nothing
/// costs.
const STATES_BYTES_MAX: usize = 64 * 1024;

/// There is no such message, or not any more.
const NOT_FOUND: Refusal = Refusal::new(Code::NOT_FOUND_MESSAGE, "there is no such message, or not any more");

/// States of messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Of those that are there.
    pub states: Vec<MessageState>,
    /// Those that are absent, or no messages.
    pub absent: Vec<Seq>,
    /// Whether nothing is said of some, since all of them together are too large.
    pub more: bool,
}

impl Engine {
    /// Does something to a message. The answer comes when it is durable and no reader gets what is absent by
    /// it. The same again changes nothing, so what has no answer may be asked for again.
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`] when it is not known what becomes of it.
    pub async fn alter(
        &self,
        caller: Caller,
        name: &ConversationName,
        seq: Seq,
        alteration: Alteration,
    ) -> Result<Done, Refusal> {
        let failed = |error: ViewError| unreadable(&error);
        let actor = caller.actor();
        let access = self.access(name, actor.user()).await.map_err(failed)?;
        alteration.allow(actor, &access.stand(actor).standing, self.judged_ms())?;
        alteration.check()?;
        let absent = access.absent().cloned().ok_or(Refusal::FORBIDDEN)?;
        let target = self.target(&access, seq).await.map_err(failed)?.ok_or(NOT_FOUND)?;
        let key = MessageKey { conversation: access.name().clone(), seq };
        let (reads, applied) = (&self.inner.reads, self.inner.reads.applied_position().0);
        let known = self.inner.messages.get(&key, reads, applied).await.map_err(failed)?;
        let bytes = if let Alteration::Edit { body, .. } = &alteration { body.len() } else { 0 };
        let names = vec![key.conversation];
        self.ask(caller, What::Message { access, absent, known, target, alteration }, names, bytes).await
    }

    /// Whether a user has the right to do something to messages there, which [`Engine::alter`] looks at
    /// first.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn may_alter(
        &self,
        caller: &Caller,
        name: &ConversationName,
        alteration: &Alteration,
    ) -> Result<(), Refusal> {
        let actor = caller.actor();
        let access = self.access(name, actor.user()).await.map_err(|error| unreadable(&error))?;
        alteration.allow(actor, &access.stand(actor).standing, self.judged_ms())?;
        alteration.check()
    }

    /// Keeps a message from a user, on all devices. As with [`Engine::alter`].
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`] when it is not known what becomes of it.
    pub async fn hide(&self, caller: Caller, name: &ConversationName, seq: Seq) -> Result<Done, Refusal> {
        let failed = |error: ViewError| unreadable(&error);
        let me = caller.actor().user().clone();
        let access = self.access(name, &me).await.map_err(failed)?;
        let reach =
            access.stand(caller.actor()).standing.allows(caller.actor(), Action::Hide, self.judged_ms())?;
        if reach.last() < seq {
            return Err(Refusal::FORBIDDEN);
        }
        self.target(&access, seq).await.map_err(failed)?.ok_or(NOT_FOUND)?;
        let (log, key) = (ConversationName::of_user(&me), hidden_key(name, seq));
        let of_log = log.clone();
        let hidden = self.inner.reads.run(move |view| view.register(&of_log, &key)).await.map_err(failed)?;
        if hidden.is_some() {
            return Ok(Done { conversation: ConversationName::me(), seq: Seq::ZERO, time_ms: 0 });
        }
        self.ask(caller, What::Hide { conversation: name.clone(), seq }, vec![log], 0).await
    }

    /// How far a user reads there.
    fn reach(&self, access: &Access, actor: Actor<'_>) -> Result<Reach, Refusal> {
        access.stand(actor).standing.allows(actor, Action::ReadHistory, self.judged_ms())
    }

    /// What never changes of a message; `None` when there is none at this place, or nobody is to have it any
    /// more. It has everything that was acked by now.
    async fn target(&self, access: &Access, seq: Seq) -> Result<Option<Target>, ViewError> {
        let name = access.name().clone();
        self.inner.reads.applied(self.released()).await;
        let at = self.reading_of(access);
        let target = self.inner.reads.run(move |view| at.target(view, &name, seq)).await?;
        Ok(target.filter(|_| !is_absent(access, seq)))
    }

    /// What messages have come to, for a user who reads there; as many as fit into one answer.
    ///
    /// # Errors
    /// [`Code::FORBIDDEN`], or that the view cannot be read.
    pub async fn message_states(
        &self,
        caller: &Caller,
        name: &ConversationName,
        seqs: Vec<Seq>,
    ) -> Result<States, Refusal> {
        let failed = |error: ViewError| unreadable(&error);
        let me = caller.actor().user().clone();
        let access = self.access(name, &me).await.map_err(failed)?;
        let last = self.reach(&access, caller.actor())?.last();
        self.inner.reads.applied(self.released()).await;
        let log = access.name().clone();
        let at = self.reading_of(&access);
        let read = move |view: &dyn View| {
            let judged = at.judged(view, &log)?;
            let (mut states, mut bytes) = (Vec::new(), 0);
            for seq in seqs {
                let state = match judged.target(view, &log, seq)? {
                    Some(_) if seq <= last => Some(state_up_to(view, &log, seq, &me, last)?),
                    Some(_) | None => None,
                };
                bytes += state.as_ref().map_or(0, state_bytes);
                if bytes > BODY_BYTES_MAX && !states.is_empty() {
                    return Ok((states, true));
                }
                states.push((seq, state));
            }
            Ok((states, false))
        };
        let (all, more) = self.inner.reads.run(read).await.map_err(failed)?;
        let mut states = States { more, ..States::default() };
        for (seq, state) in all {
            match state.filter(|_| !is_absent(&access, seq)) {
                Some(state) => states.states.push(state),
                None => states.absent.push(seq),
            }
        }
        Ok(states)
    }

    /// What those of `seqs`, ascending, that lie behind `after` have come to, as far as anything has become
    /// of them and `at` has them: some of it, and behind which seq it goes on; `None`: there is no more. Each
    /// state is by all events about its message that the view has at some moment from now on. One that has an
    /// event in it behind `last` is left out.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn states_of_page(
        &self,
        name: &ConversationName,
        at: &Reading,
        me: &UserId,
        seqs: &Arc<[Seq]>,
        after: Seq,
        last: Seq,
    ) -> Result<(Vec<MessageState>, Option<Seq>), ViewError> {
        let (name, me, seqs) = (name.clone(), me.clone(), Arc::clone(seqs));
        let read = move |view: &dyn View| states_behind(view, &name, &seqs, after, &me, last);
        let (mut states, more) = self.inner.reads.run(read).await?;
        states.retain(|state| !at.is_revoked(state.seq));
        Ok((states, more))
    }
}

fn is_absent(access: &Access, seq: Seq) -> bool {
    access.absent().is_some_and(|absent| absent.read().contains(seq))
}

/// Bytes of a state's frame, rounded up.
pub(crate) fn state_bytes(state: &MessageState) -> usize {
    const FIXED_BYTES: usize = 64;
    let edit = state.edited.as_ref().map_or(0, |edit| {
        edit.body.len() + edit.mentions.iter().map(|user| user.as_str().len() + 1).sum::<usize>()
    });
    let reactions = state.reactions.iter().map(|one| one.reaction.len() + 8);
    FIXED_BYTES + edit + reactions.sum::<usize>()
}

fn damaged(name: &ConversationName, seq: Seq) -> ViewError {
    let what = "the state of this message does not decode";
    ViewError::DamagedRow { conversation: name.clone(), seq, what }
}

/// What a summary, or the one that has come in its place meanwhile, says to a user.
fn state_of(
    view: &dyn View,
    name: &ConversationName,
    seq: Seq,
    me: &UserId,
    mut summary: Summary,
) -> Result<MessageState, ViewError> {
    loop {
        let edit = match summary.edited {
            Seq::ZERO => None,
            _ => latest_edit(view, name, seq)?,
        };
        let mut mine = Vec::new();
        for reaction in summary.reactions.keys() {
            if view.register(name, &reaction_key(seq, reaction, me))?.is_some() {
                mine.push(reaction.clone());
            }
        }
        match summary_of(view, name, seq)? {
            Some(later) if later.version != summary.version => summary = later,
            // Without one it was revoked, and is left out for that.
            Some(_) | None => {
                return Ok(summary.into_state(seq, edit, |one| mine.iter().any(|own| own == one)));
            }
        }
    }
}

/// The latest edit of a message.
pub(super) fn latest_edit(
    view: &dyn View,
    name: &ConversationName,
    seq: Seq,
) -> Result<Option<Edit>, ViewError> {
    let edit = view.register(name, &edit_key(seq))?;
    edit.map(|row| decode_edit(&row)).transpose().map_err(|_| damaged(name, seq))
}

fn summary_of(view: &dyn View, name: &ConversationName, seq: Seq) -> Result<Option<Summary>, ViewError> {
    let row = view.register(name, &summary_key(seq))?;
    row.map(|row| decode(name, seq, &row)).transpose()
}

fn decode(name: &ConversationName, seq: Seq, row: &Bytes) -> Result<Summary, ViewError> {
    Summary::decode(row).map_err(|_| damaged(name, seq))
}

/// The state of one message by the events up to `last`, of which there need not be anything.
fn state_up_to(
    view: &dyn View,
    name: &ConversationName,
    seq: Seq,
    me: &UserId,
    last: Seq,
) -> Result<MessageState, ViewError> {
    let summary = summary_of(view, name, seq)?.unwrap_or_default();
    let state = state_of(view, name, seq, me, summary)?;
    Ok(up_to(state, last).unwrap_or_else(|| Summary::default().into_state(seq, None, |_| false)))
}

/// A state without what is by events behind `last`; `None` when nothing is left. Of reactions only the latest
/// counts are known, so none is told then.
fn up_to(mut state: MessageState, last: Seq) -> Option<MessageState> {
    if state.version > last {
        state.edited = state.edited.filter(|edit| edit.seq <= last);
        state.edited.as_ref()?;
        state.reactions.clear();
        state.version = last;
    }
    Some(state)
}

/// Those of `seqs`, ascending, behind `after`, until they are as many as are read at once; and behind which
/// seq it goes on.
fn states_behind(
    view: &dyn View,
    name: &ConversationName,
    seqs: &[Seq],
    after: Seq,
    me: &UserId,
    last: Seq,
) -> Result<(Vec<MessageState>, Option<Seq>), ViewError> {
    let (mut states, mut bytes) = (Vec::new(), 0);
    let mut rest = &seqs[seqs.partition_point(|seq| *seq <= after)..];
    while let (Some(first), Some(to)) = (rest.first(), rest.last()) {
        // Behind the key of the seq before.
        let before = summary_key(Seq(first.0.saturating_sub(1)));
        let rows = view.registers(name, &SUMMARY, Some(&before), SUMMARIES_PAGE)?;
        for (key, row) in &rows {
            let seq = seq_of(SUMMARY, key).ok_or_else(|| damaged(name, *first))?;
            if seq > *to {
                return Ok((states, None));
            }
            // Of what else the page's span has nothing was delivered.
            if rest.binary_search(&seq).is_err() {
                continue;
            }
            let state = state_of(view, name, seq, me, decode(name, seq, row)?)?;
            let Some(state) = up_to(state, last) else { continue };
            bytes += state_bytes(&state);
            states.push(state);
            if bytes >= STATES_BYTES_MAX {
                return Ok((states, Some(seq)));
            }
        }
        let Some(end) = rows.last().filter(|_| rows.len() == SUMMARIES_PAGE) else { break };
        let end = seq_of(SUMMARY, &end.0).ok_or_else(|| damaged(name, *first))?;
        rest = &rest[rest.partition_point(|seq| *seq <= end)..];
    }
    Ok((states, None))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::Seq;
    use quoth_protocol::message::{Edit, MessageState, Reaction};

    use super::up_to;

    #[test]
    fn who_has_left_has_the_last_text_of_before_and_no_counts() {
        let edit =
            |seq| Edit { seq: Seq(seq), time_ms: 1, body: Bytes::from_static(b"x"), mentions: Vec::new() };
        let reactions = vec![Reaction { reaction: "+1".to_owned(), count: 2, mine: true }];
        let state = |version, edited| MessageState {
            seq: Seq(5),
            version: Seq(version),
            edited,
            reactions: reactions.clone(),
        };
        let whole = state(60, Some(edit(50)));
        assert_eq!(up_to(whole.clone(), Seq(60)), Some(whole));
        let cut = MessageState { reactions: Vec::new(), ..state(60, Some(edit(50))) };
        assert_eq!(up_to(state(70, Some(edit(50))), Seq(60)), Some(cut));
        assert_eq!(up_to(state(70, Some(edit(65))), Seq(60)), None, "what came behind is not for them");
        assert_eq!(up_to(state(70, None), Seq(60)), None);
    }
}
