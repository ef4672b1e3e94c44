//! The tails of the conversations that were written to lately, within a budget of memory.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::retention::{End, Keeping};
use quoth_core::tail::{Frame, Next, Tail, Wanted};
use quoth_protocol::{ConversationName, Seq};

/// Bytes that all tails take together, but for what the view does not have yet. About a quarter of a million
/// chat messages.
const TAILS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Locks among which the conversations are spread, so that readers and the committer seldom meet.
const SHARDS: usize = 64;

/// Tails that one push looks at when its shard is over budget: keeps the committer's work per message
/// bounded.
const EVICTION_STEPS_MAX: usize = 4;

/// What a tail takes besides its name and its frames: its entry and its queue's smallest allocation.
const TAIL_OVERHEAD_BYTES: usize = 512;

/// All tails.
#[derive(Debug)]
pub(crate) struct Tails {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    tails: HashMap<ConversationName, Entry>,
    /// Every conversation of `tails`, in the order in which they are looked at for eviction.
    queue: VecDeque<ConversationName>,
    bytes: usize,
}

/// What a tail knows that the view may not; nothing where there is no tail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    /// The end of the conversation.
    pub(crate) end: End,
    /// What was erased.
    pub(crate) erased: Vec<Seq>,
}

#[derive(Debug, Default)]
struct Entry {
    tail: Tail,
    used: bool,
}

impl Default for Tails {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Tails {
    fn shard(&self, name: &ConversationName) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(name);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }

    /// Takes the frames of durable events that follow one another, from `first` on. The view has everything
    /// up to log position `applied`.
    pub(crate) fn push(
        &self,
        name: &ConversationName,
        first: Seq,
        frames: impl IntoIterator<Item = Frame>,
        applied: u64,
    ) {
        let mut guard = self.shard(name).lock();
        let shard = &mut *guard;
        let is_known = shard.tails.contains_key(name);
        if !is_known {
            shard.queue.push_back(name.clone());
            shard.bytes += overhead_bytes(name);
        }
        let entry = shard.tails.entry(name.clone()).or_default();
        let before = entry.tail.bytes();
        let mut seq = first;
        for frame in frames {
            entry.tail.push(seq, frame, applied);
            seq = seq.next();
        }
        entry.used = is_known;
        shard.bytes = shard.bytes + entry.tail.bytes() - before;
        shard.evict(applied);
    }

    /// An event is absent from here on, by a group at this log position whose events the tail has.
    pub(crate) fn erase(&self, name: &ConversationName, seq: Seq, position: u64) {
        let mut guard = self.shard(name).lock();
        let shard = &mut *guard;
        if let Some(entry) = shard.tails.get_mut(name) {
            let before = entry.tail.bytes();
            entry.tail.erase(seq, position);
            shard.bytes = shard.bytes + entry.tail.bytes() - before;
        }
    }

    /// Reads on behind a cursor; `None` when the conversation has no tail.
    pub(crate) fn read(&self, name: &ConversationName, wanted: Wanted, out: &mut Vec<Bytes>) -> Option<Next> {
        let mut shard = self.shard(name).lock();
        let entry = shard.tails.get_mut(name)?;
        entry.used = true;
        Some(entry.tail.read(wanted, out))
    }

    /// What a conversation's tail knows that the view may not.
    pub(crate) fn ahead(&self, name: &ConversationName) -> Ahead {
        let shard = self.shard(name).lock();
        shard.tails.get(name).map_or_else(Ahead::default, |entry| Ahead {
            end: entry.tail.end(),
            erased: entry.tail.erased().collect(),
        })
    }

    /// The first event from a seq on that is kept, of those that the tail has.
    pub(crate) fn floor(&self, name: &ConversationName, from: Seq, keeping: Keeping) -> Option<Seq> {
        let shard = self.shard(name).lock();
        shard.tails.get(name).map(|entry| entry.tail.floor(from, keeping))
    }
}

impl Shard {
    /// Second chance: what was used since it was last looked at stays.
    fn evict(&mut self, applied: u64) {
        for _ in 0..EVICTION_STEPS_MAX {
            if self.bytes <= TAILS_BYTES_MAX / SHARDS {
                return;
            }
            let Some(name) = self.queue.pop_front() else { return };
            match self.tails.get_mut(&name) {
                Some(entry) if entry.used || !entry.tail.is_applied(applied) => {
                    entry.used = false;
                    self.queue.push_back(name);
                }
                Some(entry) => {
                    self.bytes -= entry.tail.bytes() + overhead_bytes(&name);
                    self.tails.remove(&name);
                }
                None => {}
            }
        }
    }
}

fn overhead_bytes(name: &ConversationName) -> usize {
    TAIL_OVERHEAD_BYTES + name.as_str().len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_core::retention::Keeping;
    use quoth_core::tail::{FRAME_OVERHEAD_BYTES, Frame, Next, Wanted};
    use quoth_protocol::{ConversationName, Seq};

    use super::{TAIL_OVERHEAD_BYTES, TAILS_BYTES_MAX, Tails};

    fn bytes(tails: &Tails) -> usize {
        tails.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    fn fill(tails: &Tails, conversations: u64, frame_bytes: usize, applied: u64) {
        for i in 0..conversations {
            let name = ConversationName::new(format!("room {i}")).unwrap();
            let bytes = Bytes::from(vec![0; frame_bytes]);
            let frame =
                Frame { bytes, time_ms: 0, expires_ms: 0, offset: 0, about: None, end: 0, position: i };
            tails.push(&name, Seq(1), [frame], applied);
        }
    }

    #[test]
    fn memory_is_bounded_once_the_view_has_it() {
        let tails = Tails::default();
        fill(&tails, 20_000, 8 * 1024, u64::MAX);
        assert!(bytes(&tails) <= TAILS_BYTES_MAX, "{}", bytes(&tails));
        assert!(bytes(&tails) > TAILS_BYTES_MAX / 2, "{}", bytes(&tails));
    }

    #[test]
    fn short_frames_are_charged_what_they_take() {
        let tails = Tails::default();
        let conversations_max = TAILS_BYTES_MAX / (TAIL_OVERHEAD_BYTES + FRAME_OVERHEAD_BYTES);
        fill(&tails, 2 * conversations_max as u64, 1, u64::MAX);
        let count: usize = tails.shards.iter().map(|shard| shard.lock().tails.len()).sum();
        assert!(count <= conversations_max, "{count}");
        assert!(count > conversations_max / 2, "{count}");
    }

    #[test]
    fn what_the_view_lacks_stays() {
        let tails = Tails::default();
        fill(&tails, 20_000, 8 * 1024, 0);
        let name = ConversationName::new("room 1").unwrap();
        let wanted = Wanted { cursor: Seq(0), to: Seq(9), bytes_max: 1, keeping: Keeping::for_ever(0) };
        assert_eq!(tails.read(&name, wanted, &mut Vec::new()), Some(Next::Frames(Seq(1))));
    }
}
