//! Seqs, times, and what a repeated message id gets.
//!
//! The sequencer holds the head and the producers of the conversations that are in use. What it does not hold
//! it asks for, and the shell loads it from the view: [`Sequenced::NeedConversation`],
//! [`Sequenced::NeedProducer`]. It forgets the conversations, the producers and the message ids that have not
//! been used for two generations, once the view has all of them ([`Sequencer::rotate`]). So what it holds is
//! bounded by what two generations use.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

/// Recent message ids that a conversation keeps at hand, so that the repeats after a reconnect (at most
/// [`IN_FLIGHT_PUBLISHES_MAX`](quoth_protocol::limits::IN_FLIGHT_PUBLISHES_MAX) a stream) need no read from
/// the store. A group of no more publishes is remembered whole, so a repeat within it needs none either.
pub const RECENT_MAX: usize = 1_024;

/// Conversations of one generation: two of them are about 200 MB when each conversation has one producer.
const GENERATION_CONVERSATIONS_MAX: usize = 250_000;

/// Producers and message ids of one generation, at about 64 bytes each.
const GENERATION_ENTRIES_MAX: usize = 1_000_000;

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

/// Whether a message id is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// [`Sequencer::sequence`] would append it.
    New,
    /// It would not.
    Known,
    /// As [`Sequenced::NeedConversation`].
    NeedConversation,
    /// As [`Sequenced::NeedProducer`].
    NeedProducer,
}

/// What a sequencer has forgotten.
#[derive(Debug)]
pub struct Forgotten {
    _conversations: HashMap<ConversationName, Conversation>,
}

/// Sequences the conversations of one log.
#[derive(Debug)]
pub struct Sequencer {
    /// Used in this generation.
    young: HashMap<ConversationName, Conversation>,
    /// Used in the generation before, and not since.
    old: HashMap<ConversationName, Conversation>,
    /// Producers and message ids of the young conversations, each counted once.
    young_entries: usize,
    /// Grows with each rotation.
    generation: u32,
    conversations_max: usize,
    entries_max: usize,
}

#[derive(Debug)]
struct Conversation {
    head: Seq,
    time_ms: u64,
    /// Bytes of the contents of all its events.
    bytes: u64,
    producers: HashMap<Producer, Highest>,
    /// Whether every producer of the conversation is loaded, as in one that began while it was.
    is_complete: bool,
    /// The last message ids, in order of seq.
    recent: VecDeque<Recent>,
    /// How many of them were taken in this generation.
    young_recent: usize,
}

/// How far a producer is.
#[derive(Debug)]
struct Highest {
    /// Its highest number in the conversation, `None` for one that has none there.
    n: Option<u64>,
    /// The last generation in which it published.
    generation: u32,
}

#[derive(Debug)]
struct Recent {
    producer: Producer,
    n: u64,
    seq: Seq,
    time_ms: u64,
}

impl Default for Sequencer {
    fn default() -> Self {
        Self::with_limits(GENERATION_CONVERSATIONS_MAX, GENERATION_ENTRIES_MAX)
    }
}

impl Sequencer {
    /// A sequencer whose generations have so many conversations, and so many producers and message ids
    /// together; the default is 250,000 and 1,000,000.
    #[must_use]
    pub fn with_limits(conversations_max: usize, entries_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { young, old, young_entries: 0, generation: 0, conversations_max, entries_max }
    }

    /// Sequences one publish. After [`Sequenced::Append`] the message is part of the order: the caller
    /// appends it with the group that it gathers, or stops the server.
    ///
    /// The time of an event is `now_ms`, but never before that of the event ahead of it.
    pub fn sequence(
        &mut self,
        name: &ConversationName,
        producer: &Producer,
        n: u64,
        now_ms: u64,
    ) -> Sequenced {
        let generation = self.generation;
        let Some(conversation) = self.conversation(name) else { return Sequenced::NeedConversation };
        let entries = conversation.entries();
        let sequenced = conversation.sequence(producer, n, now_ms, generation);
        let added = conversation.entries() - entries;
        self.young_entries += added;
        sequenced
    }

    /// Whether a publish would be appended, for whoever has to know before it is.
    pub fn judge(&mut self, name: &ConversationName, producer: &Producer, n: u64) -> Judged {
        let Some(conversation) = self.conversation(name) else { return Judged::NeedConversation };
        match conversation.producers.get(producer) {
            Some(highest) if highest.n.is_some_and(|highest| n <= highest) => Judged::Known,
            Some(_) => Judged::New,
            None if conversation.is_complete => Judged::New,
            None => Judged::NeedProducer,
        }
    }

    /// Gives an event its place that has no message id, as those have which the server makes; `None` when the
    /// conversation is to be loaded first. The time is as in [`Sequencer::sequence`].
    pub fn append(&mut self, name: &ConversationName, now_ms: u64) -> Option<(Seq, u64)> {
        let conversation = self.conversation(name)?;
        Some(conversation.next(now_ms))
    }

    /// The last seq of a conversation; `None` when it is to be loaded first.
    pub fn head(&mut self, name: &ConversationName) -> Option<Seq> {
        Some(self.conversation(name)?.head)
    }

    /// A conversation that is loaded. It counts as used in this generation.
    fn conversation(&mut self, name: &ConversationName) -> Option<&mut Conversation> {
        if let Some((name, mut conversation)) = self.old.remove_entry(name) {
            conversation.forget_before(self.generation.saturating_sub(1));
            self.young_entries += conversation.entries();
            self.young.insert(name, conversation);
        }
        self.young.get_mut(name)
    }

    /// Takes the content of the last event of a loaded conversation: its bytes, and gives those of all events
    /// before it. It is to be called once for each event.
    pub fn extend(&mut self, name: &ConversationName, bytes: u64) -> u64 {
        let Some(conversation) = self.young.get_mut(name) else { return 0 };
        let offset = conversation.bytes;
        conversation.bytes += bytes;
        offset
    }

    /// The last seq of a conversation and the bytes of the contents of all its events; `None` when it is to
    /// be loaded first.
    pub fn end(&mut self, name: &ConversationName) -> Option<(Seq, u64)> {
        let conversation = self.conversation(name)?;
        Some((conversation.head, conversation.bytes))
    }

    /// Loads a conversation: the seq of its last event, that event's time, and the bytes of the contents of
    /// all of them; zeros when it has none.
    pub fn load_conversation(&mut self, name: &ConversationName, head: Seq, time_ms: u64, bytes: u64) {
        self.young.entry(name.clone()).or_insert_with(|| Conversation {
            head,
            time_ms,
            bytes,
            producers: HashMap::new(),
            is_complete: head == Seq::ZERO,
            recent: VecDeque::new(),
            young_recent: 0,
        });
    }

    /// Loads a producer of a loaded conversation: its highest number there, or `None` when it has none.
    pub fn load_producer(&mut self, name: &ConversationName, producer: &Producer, highest: Option<u64>) {
        let Some(conversation) = self.young.get_mut(name) else { return };
        if let Entry::Vacant(vacant) = conversation.producers.entry(producer.clone()) {
            vacant.insert(Highest { n: highest, generation: self.generation });
            self.young_entries += 1;
        }
    }

    /// Whether this generation is large enough for [`Sequencer::rotate`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.young.len() >= self.conversations_max || self.young_entries >= self.entries_max
    }

    /// Forgets what was not used since the last rotation, and begins a new generation. Only when the view has
    /// all that had been sequenced by that last rotation. What is forgotten is given back, since it takes its
    /// time to be dropped.
    #[must_use]
    pub fn rotate(&mut self) -> Forgotten {
        self.young_entries = 0;
        self.generation += 1;
        Forgotten { _conversations: std::mem::replace(&mut self.old, std::mem::take(&mut self.young)) }
    }
}

impl Conversation {
    fn sequence(&mut self, producer: &Producer, n: u64, now_ms: u64, generation: u32) -> Sequenced {
        let highest = match self.producers.get_mut(producer) {
            Some(highest) => highest,
            None if self.is_complete => {
                self.producers.entry(producer.clone()).or_insert(Highest { n: None, generation })
            }
            None => return Sequenced::NeedProducer,
        };
        highest.generation = generation;
        if highest.n.is_some_and(|highest| n <= highest) {
            let earlier = self.recent.iter().rev().find(|r| r.n == n && r.producer == *producer);
            return match earlier {
                Some(first) => Sequenced::Duplicate { seq: first.seq, time_ms: first.time_ms },
                None => Sequenced::Lookup,
            };
        }
        highest.n = Some(n);
        let (seq, time_ms) = self.next(now_ms);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { producer: producer.clone(), n, seq, time_ms });
        self.young_recent = (self.young_recent + 1).min(RECENT_MAX);
        Sequenced::Append { seq, time_ms }
    }

    /// The place of the next event.
    fn next(&mut self, now_ms: u64) -> (Seq, u64) {
        (self.head, self.time_ms) = (self.head.next(), now_ms.max(self.time_ms));
        (self.head, self.time_ms)
    }

    /// What it counts for in a generation.
    fn entries(&self) -> usize {
        self.producers.len() + self.recent.len()
    }

    /// Forgets what was not used in `generation` or later, at the first use since.
    fn forget_before(&mut self, generation: u32) {
        let loaded = self.producers.len();
        self.producers.retain(|_, highest| highest.generation >= generation);
        self.is_complete &= self.producers.len() == loaded;
        self.producers.shrink_to(2 * self.producers.len());
        self.recent.drain(..self.recent.len() - self.young_recent);
        self.recent.shrink_to(2 * self.young_recent);
        self.young_recent = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

    use super::{Judged, Producer, RECENT_MAX, Sequenced, Sequencer};

    fn producer(user: &str, id: u64) -> Producer {
        Producer { user: UserId::new(user).unwrap(), id: ProducerId(id) }
    }

    fn room() -> ConversationName {
        ConversationName::new("room").unwrap()
    }

    #[test]
    fn what_has_no_message_id_has_its_place_among_what_has() {
        let mut sequencer = Sequencer::default();
        let alice = producer("alice", 1);
        assert_eq!((sequencer.append(&room(), 5), sequencer.head(&room())), (None, None));
        assert_eq!(sequencer.judge(&room(), &alice, 1), Judged::NeedConversation);
        sequencer.load_conversation(&room(), Seq(7), 40, 0);
        assert_eq!(sequencer.judge(&room(), &alice, 1), Judged::NeedProducer);
        sequencer.load_producer(&room(), &alice, Some(3));
        assert_eq!(sequencer.append(&room(), 5), Some((Seq(8), 40)));
        assert_eq!(sequencer.judge(&room(), &alice, 4), Judged::New);
        assert_eq!(
            sequencer.sequence(&room(), &alice, 4, 50),
            Sequenced::Append { seq: Seq(9), time_ms: 50 }
        );
        assert_eq!(sequencer.append(&room(), 60), Some((Seq(10), 60)));
        assert_eq!([3, 4].map(|n| sequencer.judge(&room(), &alice, n)), [Judged::Known; 2]);
        assert_eq!(
            sequencer.sequence(&room(), &alice, 4, 70),
            Sequenced::Duplicate { seq: Seq(9), time_ms: 50 }
        );
        assert_eq!(sequencer.head(&room()), Some(Seq(10)));
    }

    #[test]
    fn an_event_begins_where_the_one_before_it_ends() {
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.end(&room()), None);
        sequencer.load_conversation(&room(), Seq(7), 40, 100);
        for (seq, offset, bytes) in [(8, 100, 5), (9, 105, 0), (10, 105, 7)] {
            assert_eq!(sequencer.append(&room(), 50), Some((Seq(seq), 50)));
            assert_eq!(sequencer.extend(&room(), bytes), offset);
            let _forgotten = sequencer.rotate();
        }
        assert_eq!(sequencer.end(&room()), Some((Seq(10), 112)));
    }

    #[test]
    fn seqs_are_contiguous_and_times_never_go_back() {
        let mut sequencer = Sequencer::default();
        let alice = producer("alice", 1);
        assert_eq!(sequencer.sequence(&room(), &alice, 1, 50), Sequenced::NeedConversation);
        sequencer.load_conversation(&room(), Seq(7), 40, 0);
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
        sequencer.load_conversation(&room(), Seq(0), 0, 0);
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
        sequencer.load_conversation(&room(), Seq(0), 0, 0);
        let count = RECENT_MAX as u64 + 10;
        for n in 1..=count {
            assert!(matches!(sequencer.sequence(&room(), &alice, n, 0), Sequenced::Append { .. }));
        }
        assert_eq!(sequencer.sequence(&room(), &alice, 10, 0), Sequenced::Lookup);
        assert!(matches!(
            sequencer.sequence(&room(), &alice, 11, 0),
            Sequenced::Duplicate { seq: Seq(11), .. }
        ));
        drop(sequencer.rotate());
        assert!(
            matches!(sequencer.sequence(&room(), &alice, 11, 0), Sequenced::Duplicate { .. }),
            "still known"
        );
        drop(sequencer.rotate());
        assert_eq!(sequencer.sequence(&room(), &alice, 11, 0), Sequenced::Lookup, "not taken lately");
        drop(sequencer.rotate());
        drop(sequencer.rotate());
        assert_eq!(sequencer.sequence(&room(), &alice, 11, 0), Sequenced::NeedConversation);
        sequencer.load_conversation(&room(), Seq(count), 0, 0);
        sequencer.load_producer(&room(), &alice, Some(count));
        assert_eq!(sequencer.sequence(&room(), &alice, count, 0), Sequenced::Lookup);
    }

    /// Everything that the sequencer holds, counted anew.
    fn entries(sequencer: &Sequencer) -> usize {
        sequencer.young.values().chain(sequencer.old.values()).map(super::Conversation::entries).sum()
    }

    /// What a view would know.
    #[derive(Default)]
    struct View {
        heads: HashMap<ConversationName, Seq>,
        producers: HashMap<(ConversationName, Producer), u64>,
    }

    /// Publishes as the committer does: loads what is asked for, and rotates when a generation is full.
    fn publish(
        sequencer: &mut Sequencer,
        view: &mut View,
        room: &ConversationName,
        producer: &Producer,
        n: u64,
    ) -> Seq {
        let id = (room.clone(), producer.clone());
        let seq = loop {
            match sequencer.sequence(room, producer, n, 0) {
                Sequenced::NeedConversation => {
                    let head = view.heads.get(room).copied().unwrap_or_default();
                    sequencer.load_conversation(room, head, 0, 0);
                }
                Sequenced::NeedProducer => {
                    sequencer.load_producer(room, producer, view.producers.get(&id).copied());
                }
                Sequenced::Append { seq, .. } => break seq,
                other => panic!("{other:?}"),
            }
        };
        view.producers.insert(id, n);
        view.heads.insert(room.clone(), seq);
        if sequencer.is_full() {
            drop(sequencer.rotate());
        }
        seq
    }

    #[test]
    fn a_busy_conversation_of_many_producers_is_bounded_and_stays_exact() {
        const ENTRIES_MAX: usize = 5_000;
        let mut sequencer = Sequencer::with_limits(10, ENTRIES_MAX);
        let mut view = View::default();
        let count = 20 * ENTRIES_MAX as u64;
        for id in 1..=count {
            assert_eq!(publish(&mut sequencer, &mut view, &room(), &producer("alice", id), 7), Seq(id));
            assert!(entries(&sequencer) <= 2 * (ENTRIES_MAX + 1), "{id}: {}", entries(&sequencer));
        }
        let first = producer("alice", 1);
        assert_eq!(sequencer.sequence(&room(), &first, 7, 0), Sequenced::NeedProducer, "forgotten");
        sequencer.load_producer(&room(), &first, Some(7));
        assert_eq!(sequencer.sequence(&room(), &first, 7, 0), Sequenced::Lookup);
        assert_eq!(publish(&mut sequencer, &mut view, &room(), &first, 8), Seq(count + 1));
        let last = producer("alice", count);
        assert!(matches!(sequencer.sequence(&room(), &last, 7, 0), Sequenced::Duplicate { .. }));
    }

    #[test]
    fn many_busy_conversations_keep_only_the_ids_of_two_generations() {
        const ENTRIES_MAX: usize = 5_000;
        let mut sequencer = Sequencer::with_limits(1_000, ENTRIES_MAX);
        let alice = producer("alice", 1);
        let rooms: Vec<_> = (0..100).map(|i| ConversationName::new(format!("room {i}")).unwrap()).collect();
        let mut view = View::default();
        for n in 1..=1_000 {
            for room in &rooms {
                assert_eq!(publish(&mut sequencer, &mut view, room, &alice, n), Seq(n));
                assert!(entries(&sequencer) <= 2 * (ENTRIES_MAX + 1), "{}", entries(&sequencer));
            }
        }
    }
}
