//! Follows a history step by step, so that it also runs beside a load. Its memory grows with the messages, by
//! about a hundred bytes each, and not with the readers.

use std::collections::HashMap;

use quoth_protocol::{ConversationName, Seq};

use super::{Ack, Content, Entry, Kind, MessageId, ReaderId, Step, Violation, What};

/// Violations that are kept of each kind: one broken promise may show at every message behind it.
const VIOLATIONS_OF_KIND_MAX: usize = 20;

/// Finds broken promises in a history.
#[derive(Debug, Default)]
pub struct Checker {
    conversations: HashMap<ConversationName, Conversation>,
    violations: Vec<Violation>,
    counts: HashMap<Kind, usize>,
}

impl Checker {
    /// Takes the next step.
    pub fn take(&mut self, step: &Step) {
        let conversation = self.conversations.entry(step.conversation.clone()).or_default();
        conversation.take(&step.what);
        self.gather(&step.conversation);
    }

    /// What was found until now, at most 20 of each kind. It is right at any time: nothing that may still
    /// come mends it.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Ends the history: what was acked must be in the logs.
    #[must_use]
    pub fn finish(mut self) -> Vec<Violation> {
        let names: Vec<_> = self.conversations.keys().cloned().collect();
        for name in names {
            if let Some(conversation) = self.conversations.get_mut(&name) {
                conversation.finish();
            }
            self.gather(&name);
        }
        self.violations
    }

    fn gather(&mut self, name: &ConversationName) {
        let Some(conversation) = self.conversations.get_mut(name) else { return };
        for (kind, detail) in conversation.found.drain(..) {
            let count = self.counts.entry(kind).or_default();
            *count += 1;
            if *count <= VIOLATIONS_OF_KIND_MAX {
                self.violations.push(Violation { kind, conversation: name.clone(), detail });
            }
        }
    }
}

#[derive(Debug, Default)]
struct Conversation {
    sends: HashMap<MessageId, Send>,
    ids: HashMap<Content, MessageId>,
    /// What is known of each seq, by whoever said it first.
    known: HashMap<Seq, Entry>,
    readers: HashMap<ReaderId, Session>,
    /// The last seq that some reader was told to be gone.
    told_gone: Seq,
    log: Option<Log>,
    found: Vec<(Kind, String)>,
}

#[derive(Debug)]
struct Send {
    content: Content,
    times: u32,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Acked(Ack),
    Refused,
}

/// A reader's present session: the last seq that it has or knows to be gone.
#[derive(Debug)]
struct Session {
    at: Seq,
}

#[derive(Debug)]
struct Log {
    floor: Seq,
    head: Seq,
}

impl Conversation {
    fn take(&mut self, what: &What) {
        if self.log.is_some() && !matches!(what, What::Log { .. }) {
            return self.find(Kind::Mismatch, format!("{what:?} comes behind the final log"));
        }
        match what {
            What::Sent { id, content } => self.sent(*id, *content),
            What::Acked { id, ack } => self.acked(*id, *ack),
            What::Refused { id, code } => self.refused(*id, &code.to_string()),
            What::Attached { reader, cursor } => {
                self.readers.insert(*reader, Session { at: *cursor });
            }
            What::Delivered { reader, entry } => self.delivered(*reader, *entry),
            What::Gap { reader, from, to } => self.gap(*reader, *from, *to),
            What::Log { floor, entries } => self.logged(*floor, entries),
        }
    }

    fn find(&mut self, kind: Kind, detail: String) {
        self.found.push((kind, detail));
    }

    fn sent(&mut self, id: MessageId, content: Content) {
        if let Some(other) = self.ids.insert(content, id)
            && other != id
        {
            self.find(Kind::Mismatch, format!("the harness sent the body of {other:?} under {id:?} as well"));
        }
        let send = self.sends.entry(id).or_insert(Send { content, times: 0, outcome: Outcome::Unknown });
        send.times += 1;
        if send.outcome == Outcome::Refused {
            (send.content, send.outcome) = (content, Outcome::Unknown);
        } else if send.content != content {
            self.find(Kind::Mismatch, format!("the harness sent another body under {id:?}"));
        }
    }

    fn acked(&mut self, id: MessageId, ack: Ack) {
        let Some(send) = self.sends.get_mut(&id) else {
            return self.find(Kind::Phantom, format!("{id:?} was acked and never sent"));
        };
        let (before, content, times) = (send.outcome, send.content, send.times);
        let was_new = matches!(before, Outcome::Acked(Ack { duplicate: false, .. }));
        send.outcome = Outcome::Acked(Ack { duplicate: ack.duplicate && !was_new, ..ack });
        if let Outcome::Acked(first) = before
            && (first.seq, first.time_ms) != (ack.seq, ack.time_ms)
        {
            let detail = format!("{id:?} was acked as {first:?} and then as {ack:?}");
            return self.find(Kind::Mismatch, detail);
        }
        if was_new && !ack.duplicate {
            self.find(Kind::Duplicate, format!("{id:?} was acked as new twice"));
        }
        if ack.duplicate && times == 1 {
            self.find(Kind::Mismatch, format!("{id:?} was sent once and acked as a duplicate"));
        }
        self.learn(Entry { seq: ack.seq, time_ms: ack.time_ms, content }, "an ack");
    }

    fn refused(&mut self, id: MessageId, code: &str) {
        match self.sends.get_mut(&id) {
            None => self.find(Kind::Phantom, format!("{id:?} was refused and never sent")),
            Some(Send { outcome: Outcome::Acked(ack), .. }) => {
                let detail = format!("{id:?} was acked at {} and then refused with {code}", ack.seq);
                self.find(Kind::Mismatch, detail);
            }
            Some(send) => send.outcome = Outcome::Refused,
        }
    }

    fn delivered(&mut self, reader: ReaderId, entry: Entry) {
        let seq = entry.seq;
        let Some(session) = self.readers.get_mut(&reader) else {
            return self.find(Kind::Phantom, format!("reader {reader} got {seq} and is not attached"));
        };
        let at = session.at;
        session.at = at.max(seq);
        if seq == at {
            self.find(Kind::Duplicate, format!("reader {reader} got {seq} twice"));
        } else if seq < at {
            self.find(Kind::Reorder, format!("reader {reader} got {seq} behind {at}"));
        } else if seq != at.next() {
            self.find(Kind::Gap, format!("reader {reader} got {seq} behind {at} and was told of no gap"));
        }
        self.learn(entry, "a reader");
    }

    fn gap(&mut self, reader: ReaderId, from: Seq, to: Seq) {
        let Some(session) = self.readers.get_mut(&reader) else {
            return self.find(Kind::Phantom, format!("reader {reader} got a gap and is not attached"));
        };
        let at = session.at;
        session.at = at.max(to);
        self.told_gone = self.told_gone.max(to);
        if from != at.next() || to < from {
            self.find(Kind::Gap, format!("reader {reader} at {at} was told of the gap {from} to {to}"));
        }
    }

    /// Takes what somebody says about a seq: all must say the same, and somebody must have sent it.
    fn learn(&mut self, entry: Entry, from: &str) {
        match self.known.get(&entry.seq) {
            Some(known) if *known == entry => return,
            Some(known) => {
                let detail = format!("{from} has {entry:?}, another had {known:?}");
                self.find(Kind::Mismatch, detail);
            }
            None => {
                self.known.insert(entry.seq, entry);
            }
        }
        if !self.ids.contains_key(&entry.content) {
            self.find(Kind::Phantom, format!("{from} has {entry:?}, which nobody sent"));
        }
    }

    fn logged(&mut self, floor: Seq, entries: &[Entry]) {
        let mut at = Seq(floor.0.saturating_sub(1));
        let mut time_ms = 0;
        let mut stored: HashMap<MessageId, Seq> = HashMap::new();
        let mut highest: HashMap<u64, u64> = HashMap::new();
        for entry in entries {
            if entry.seq != at.next() {
                self.find(Kind::Gap, format!("the log has {} behind {at}", entry.seq));
            }
            if entry.time_ms < time_ms {
                self.find(Kind::Reorder, format!("the log's time goes back at {}", entry.seq));
            }
            (at, time_ms) = (entry.seq, entry.time_ms);
            self.learn(*entry, "the log");
            let Some(id) = self.ids.get(&entry.content).copied() else { continue };
            if let Some(first) = stored.insert(id, entry.seq) {
                self.find(Kind::Duplicate, format!("the log has {id:?} at {first} and at {}", entry.seq));
                continue;
            }
            let highest = highest.entry(id.producer).or_insert(id.n);
            if id.n < *highest {
                let detail = format!("the log has {id:?} at {}, behind its producer's {highest}", entry.seq);
                self.find(Kind::Reorder, detail);
            } else {
                *highest = id.n;
            }
        }
        self.log = Some(Log { floor, head: at });
        self.judge_sends(&stored, floor);
    }

    /// Compares what publishers were told with what the log has.
    fn judge_sends(&mut self, stored: &HashMap<MessageId, Seq>, floor: Seq) {
        let mut found = Vec::new();
        for (id, send) in &self.sends {
            let place = stored.get(id);
            match send.outcome {
                Outcome::Acked(ack) if ack.seq >= floor && place != Some(&ack.seq) => {
                    let place = place.map_or_else(|| "nowhere".to_owned(), |seq| format!("at {seq}"));
                    let detail = format!("{id:?} was acked at {}, the log has it {place}", ack.seq);
                    found.push((Kind::Lost, detail));
                }
                Outcome::Refused if place.is_some() => {
                    found.push((Kind::Phantom, format!("{id:?} was refused, the log has it")));
                }
                _ => {}
            }
        }
        self.found.append(&mut found);
    }

    fn finish(&mut self) {
        let Some(Log { floor, head }) = self.log else {
            return self.find(Kind::Lost, "the final log was never read".to_owned());
        };
        if let Some(seq) = self.known.keys().filter(|seq| **seq > head).max() {
            self.find(Kind::Lost, format!("{seq} was acked or delivered, the log ends at {head}"));
        }
        if let Some((reader, session)) = self.readers.iter().find(|(_, session)| session.at > head) {
            let detail = format!("reader {reader} stands at {}, the log ends at {head}", session.at);
            self.find(Kind::Lost, detail);
        }
        if self.told_gone >= floor && self.told_gone > Seq::ZERO {
            let detail =
                format!("a reader was told that {} is gone, the log has all from {floor} on", self.told_gone);
            self.find(Kind::Gap, detail);
        }
    }
}
