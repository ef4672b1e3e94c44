//! Seqs, times, and what a repeated message id gets.
//!
//! The sequencer holds the head and the producers of the conversations that are in use. What it does not hold it
//! asks for, and the shell loads it from the view: [`Sequenced::NeedConversation`], [`Sequenced::NeedProducer`]. It
//! forgets what has not been used for two generations, once the view has all of it ([`Sequencer::rotate`]).

use std::collections::{HashMap, VecDeque};

use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

/// Recent message ids that a conversation keeps at hand, so that the repeats after a reconnect (at most
/// [`IN_FLIGHT_PUBLISHES_MAX`](quoth_protocol::limits::IN_FLIGHT_PUBLISHES_MAX) a stream) need no read from the store.
const RECENT_MAX: usize = 512;

/// Conversations of one generation: two of them are about 200 MB when each conversation has one producer.
const GENERATION_CONVERSATIONS_MAX: usize = 250_000;

/// Message ids of one generation, at about 56 bytes each.
const GENERATION_RECENT_MAX: usize = 1_000_000;

/// Whose message numbers: a producer within its authenticated user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The signed-in user, which for a bridge is the bridge.
    pub user: UserId,
    /// The client installation.
    pub id: ProducerId,
}

/// What becomes of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequenced {
    /// It is new: append it with this seq and time.
    Append {
        /// Its place.
        seq: Seq,
        /// Its time, in milliseconds since 1970.
        time_ms: u64,
    },
    /// It is in the log already, or in the group that is being gathered.
    Duplicate {
        /// The first one's place.
        seq: Seq,
        /// The first one's time, in milliseconds since 1970.
        time_ms: u64,
    },
    /// It is a repeat from long ago or was never stored: the store knows.
    Lookup,
    /// Load the conversation with [`Sequencer::load_conversation`] and ask again.
    NeedConversation,
    /// Load the producer with [`Sequencer::load_producer`] and ask again.
    NeedProducer,
}

/// Sequences the conversations of one log.
#[derive(Debug, Default)]
pub struct Sequencer {
    /// Used in this generation.
    young: HashMap<ConversationName, Conversation>,
    /// Used in the generation before, and not since.
    old: HashMap<ConversationName, Conversation>,
    /// Recent message ids taken in this generation.
    young_recent: usize,
}

#[derive(Debug)]
struct Conversation {
    head: Seq,
    time_ms: u64,
    /// Highest number of each producer that that is loaded, `None` for one that has none here.
    producers: HashMap<Producer, Option<u64>>,
    /// Whether every producer of the conversation is loaded, as in one that began while it was.
    is_complete: bool,
    /// The last message ids, in order of seq and without a hole.
    recent: VecDeque<Recent>,
}

#[derive(Debug)]
struct Recent {
    producer: Producer,
    n: u64,
    seq: Seq,
    time_ms: u64,
}

impl Sequencer {
    /// Sequences one publish. After [`Sequenced::Append`] the message is part of the order: the caller appends it
    /// with the group that it gathers, or stops the server.
    ///
    /// The time of an event is `now_ms`, but never before that of the event ahead of it.
    pub fn sequence(
        &mut self,
        name: &ConversationName,
        producer: &Producer,
        n: u64,
        now_ms: u64,
    ) -> Sequenced {
        if let Some((name, conversation)) = self.old.remove_entry(name) {
            self.young.insert(name, conversation);
        }
        let Some(conversation) = self.young.get_mut(name) else { return Sequenced::NeedConversation };
        let highest = match conversation.producers.get_mut(producer) {
            Some(highest) => highest,
            None if conversation.is_complete => conversation.producers.entry(producer.clone()).or_default(),
            None => return Sequenced::NeedProducer,
        };
        if highest.is_some_and(|highest| n <= highest) {
            let earlier = conversation.recent.iter().rev().find(|r| r.n == n && r.producer == *producer);
            return match earlier {
                Some(first) => Sequenced::Duplicate { seq: first.seq, time_ms: first.time_ms },
                None => Sequenced::Lookup,
            };
        }
        *highest = Some(n);
        let (seq, time_ms) = (conversation.head.next(), now_ms.max(conversation.time_ms));
        (conversation.head, conversation.time_ms) = (seq, time_ms);
        if conversation.recent.len() == RECENT_MAX {
            conversation.recent.pop_front();
        }
        self.young_recent += 1;
        conversation.recent.push_back(Recent { producer: producer.clone(), n, seq, time_ms });
        Sequenced::Append { seq, time_ms }
    }

    /// Loads a conversation: the seq of its last event and that event's time, or zeros when it has none.
    pub fn load_conversation(&mut self, name: &ConversationName, head: Seq, time_ms: u64) {
        self.young.entry(name.clone()).or_insert_with(|| Conversation {
            head,
            time_ms,
            producers: HashMap::new(),
            is_complete: head == Seq::ZERO,
            recent: VecDeque::new(),
        });
    }

    /// Loads a producer of a loaded conversation: its highest number there, or `None` when it has none.
    pub fn load_producer(&mut self, name: &ConversationName, producer: &Producer, highest: Option<u64>) {
        if let Some(conversation) = self.young.get_mut(name) {
            conversation.producers.entry(producer.clone()).or_insert(highest);
        }
    }

    /// Whether this generation is large enough for [`Sequencer::rotate`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.young.len() >= GENERATION_CONVERSATIONS_MAX || self.young_recent >= GENERATION_RECENT_MAX
    }

    /// Forgets what was not used since the last rotation, and begins a new generation. Only when the view has all that
    /// had been sequenced by that last rotation.
    pub fn rotate(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.young_recent = 0;
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

    use super::{Producer, RECENT_MAX, Sequenced, Sequencer};

    fn producer(user: &str, id: u64) -> Producer {
        Producer { user: UserId::new(user).unwrap(), id: ProducerId(id) }
    }

    fn room() -> ConversationName {
        ConversationName::new("room").unwrap()
    }

    #[test]
    fn seqs_are_contiguous_and_times_never_go_back() {
        let mut sequencer = Sequencer::default();
        let alice = producer("alice", 1);
        assert_eq!(sequencer.sequence(&room(), &alice, 1, 50), Sequenced::NeedConversation);
        sequencer.load_conversation(&room(), Seq(7), 40);
        assert_eq!(sequencer.sequence(&room(), &alice, 1, 50), Sequenced::NeedProducer);
        sequencer.load_producer(&room(), &alice, None);
        assert_eq!(
            sequencer.sequence(&room(), &alice, 1, 50),
            Sequenced::Append { seq: Seq(8), time_ms: 50 }
        );
        assert_eq!(
            sequencer.sequence(&room(), &alice, 2, 10),
            Sequenced::Append { seq: Seq(9), time_ms: 50 }
        );
        assert_eq!(
            sequencer.sequence(&room(), &alice, 90, 60),
            Sequenced::Append { seq: Seq(10), time_ms: 60 }
        );
    }

    #[test]
    fn a_repeat_gets_the_first_ones_seq_and_time() {
        let mut sequencer = Sequencer::default();
        let (alice, bob) = (producer("alice", 1), producer("bob", 1));
        sequencer.load_conversation(&room(), Seq(0), 0);
        assert_eq!(sequencer.sequence(&room(), &alice, 5, 1), Sequenced::Append { seq: Seq(1), time_ms: 1 });
        assert_eq!(sequencer.sequence(&room(), &bob, 5, 2), Sequenced::Append { seq: Seq(2), time_ms: 2 });
        assert_eq!(
            sequencer.sequence(&room(), &alice, 5, 3),
            Sequenced::Duplicate { seq: Seq(1), time_ms: 1 }
        );
        assert_eq!(sequencer.sequence(&room(), &alice, 4, 3), Sequenced::Lookup, "was never stored");
        assert_eq!(sequencer.sequence(&room(), &bob, 6, 3), Sequenced::Append { seq: Seq(3), time_ms: 3 });
    }

    #[test]
    fn a_repeat_from_long_ago_is_looked_up_and_never_appended() {
        let mut sequencer = Sequencer::default();
        let alice = producer("alice", 1);
        sequencer.load_conversation(&room(), Seq(0), 0);
        let count = RECENT_MAX as u64 + 10;
        for n in 1..=count {
            assert!(matches!(sequencer.sequence(&room(), &alice, n, 0), Sequenced::Append { .. }));
        }
        assert_eq!(sequencer.sequence(&room(), &alice, 10, 0), Sequenced::Lookup);
        assert!(matches!(
            sequencer.sequence(&room(), &alice, 11, 0),
            Sequenced::Duplicate { seq: Seq(11), .. }
        ));
        sequencer.rotate();
        assert!(
            matches!(sequencer.sequence(&room(), &alice, 11, 0), Sequenced::Duplicate { .. }),
            "still known"
        );
        sequencer.rotate();
        sequencer.rotate();
        assert_eq!(sequencer.sequence(&room(), &alice, 11, 0), Sequenced::NeedConversation);
        sequencer.load_conversation(&room(), Seq(count), 0);
        sequencer.load_producer(&room(), &alice, Some(count));
        assert_eq!(sequencer.sequence(&room(), &alice, count, 0), Sequenced::Lookup);
    }
}
