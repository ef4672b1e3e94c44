//! Plants the trace of a server's bug into a history that is right.

use quoth_protocol::{Seq, UserId};

use super::{Ack, Content, Entry, Kind, Step, What};

/// A server's bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A message was acked and is not stored; what came behind it moved up.
    LostAck,
    /// A publish that was repeated is stored again.
    DuplicateOnRetry,
    /// A reader that resumes misses its first event.
    GapAfterResume,
    /// Two events of a reader are swapped.
    SwappedDelivery,
    /// Two neighbours in the log are swapped after readers saw them.
    SwappedLog,
    /// The log has a hole after a crash.
    HoleAfterCrash,
    /// The last messages were acked before they were persisted, and the machine stopped.
    AckBeforePersist,
    /// A place in the log holds the body of another message.
    OtherBody,
    /// A reader gets an event twice.
    DeliveredTwice,
    /// Two readers see different events at one seq.
    ReadersDisagree,
    /// A repeat is acked with another seq than the first one.
    AckOfAnotherSeq,
    /// The log has a message that nobody sent.
    Unsent,
    /// What a reader misses is told as taken by retention, which it is not.
    FalseGap,
}

impl Bug {
    /// All bugs.
    pub const ALL: &'static [Self] = &[
        Self::LostAck,
        Self::DuplicateOnRetry,
        Self::GapAfterResume,
        Self::SwappedDelivery,
        Self::SwappedLog,
        Self::HoleAfterCrash,
        Self::AckBeforePersist,
        Self::OtherBody,
        Self::DeliveredTwice,
        Self::ReadersDisagree,
        Self::AckOfAnotherSeq,
        Self::Unsent,
        Self::FalseGap,
    ];

    /// What the checker must call it, besides what else it finds.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::LostAck | Self::AckBeforePersist => Kind::Lost,
            Self::DuplicateOnRetry | Self::OtherBody | Self::DeliveredTwice => Kind::Duplicate,
            Self::GapAfterResume | Self::HoleAfterCrash | Self::FalseGap => Kind::Gap,
            Self::SwappedDelivery => Kind::Reorder,
            Self::SwappedLog | Self::ReadersDisagree | Self::AckOfAnotherSeq => Kind::Mismatch,
            Self::Unsent => Kind::Phantom,
        }
    }
}

/// The history with the bug in it, at one of the places where it can be; `pick` chooses. `None` when there is
/// none.
#[must_use]
pub fn plant(steps: &[Step], bug: Bug, pick: usize) -> Option<Vec<Step>> {
    let mut steps = steps.to_vec();
    match bug {
        Bug::LostAck => in_log(&mut steps, pick, 1, |log, at| {
            log.remove(at);
            log[at..].iter_mut().for_each(|entry| entry.seq.0 -= 1);
        }),
        Bug::DuplicateOnRetry => in_log(&mut steps, pick, 1, |log, at| append(log, log[at].content)),
        Bug::SwappedLog => in_log(&mut steps, pick, 2, |log, at| {
            (log[at].content, log[at + 1].content) = (log[at + 1].content, log[at].content);
        }),
        Bug::HoleAfterCrash => in_log(&mut steps, pick, 2, |log, at| {
            log.remove(at);
        }),
        Bug::AckBeforePersist => in_log(&mut steps, pick, 1, Vec::truncate),
        Bug::OtherBody => in_log(&mut steps, pick, 2, |log, at| log[at].content = log[at + 1].content),
        Bug::Unsent => in_log(&mut steps, pick, 1, |log, _| {
            append(log, Content::new(&nobody(), b"nobody sent this"));
        }),
        Bug::GapAfterResume => {
            let at = choose(pairs_of_deliveries(&steps), pick)?;
            steps.remove(at.0);
            Some(())
        }
        Bug::FalseGap => {
            let (at, _) = choose(pairs_of_deliveries(&steps), pick)?;
            if let What::Delivered { reader, entry: Entry { seq, .. } } = steps[at].what {
                steps[at].what = What::Gap { reader, from: seq, to: seq };
            }
            Some(())
        }
        Bug::SwappedDelivery => {
            let (first, second) = choose(pairs_of_deliveries(&steps), pick)?;
            steps.swap(first, second);
            Some(())
        }
        Bug::DeliveredTwice => {
            let (at, _) = choose(pairs_of_deliveries(&steps), pick)?;
            steps.insert(at, steps[at].clone());
            Some(())
        }
        Bug::ReadersDisagree => {
            let (at, _) = choose(pairs_of_deliveries(&steps), pick)?;
            if let What::Delivered { entry, .. } = &mut steps[at].what {
                entry.content = Content::new(&nobody(), b"seen by one reader alone");
            }
            Some(())
        }
        Bug::AckOfAnotherSeq => {
            let acks = steps.iter().enumerate().filter(|(_, step)| matches!(step.what, What::Acked { .. }));
            let at = choose(acks.map(|(at, _)| at).collect(), pick)?;
            let mut repeated = steps[at].clone();
            if let What::Acked { ack: Ack { seq, duplicate, .. }, .. } = &mut repeated.what {
                (*seq, *duplicate) = (Seq(seq.0 + 1), true);
            }
            steps.insert(at + 1, repeated);
            Some(())
        }
    }?;
    Some(steps)
}

fn nobody() -> UserId {
    UserId::new("nobody").expect("a good name")
}

fn append(log: &mut Vec<Entry>, content: Content) {
    if let Some(last) = log.last().copied() {
        log.push(Entry { seq: last.seq.next(), content, ..last });
    }
}

fn choose<T: Copy>(places: Vec<T>, pick: usize) -> Option<T> {
    places.get(pick % places.len().max(1)).copied()
}

/// Changes one of the final logs, at a place with so many entries from it on.
fn in_log(
    steps: &mut [Step],
    pick: usize,
    entries_min: usize,
    change: impl FnOnce(&mut Vec<Entry>, usize),
) -> Option<()> {
    let mut logs: Vec<_> = steps
        .iter_mut()
        .filter_map(|step| match &mut step.what {
            What::Log { entries, .. } if entries.len() >= entries_min => Some(entries),
            _ => None,
        })
        .collect();
    let count = logs.len().max(1);
    let log = logs.get_mut(pick % count)?;
    let places = log.len() + 1 - entries_min;
    change(log, pick / count % places);
    Some(())
}

/// Deliveries that are followed by the same session's next one.
fn pairs_of_deliveries(steps: &[Step]) -> Vec<(usize, usize)> {
    let mut last = std::collections::HashMap::new();
    let mut pairs = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match step.what {
            What::Attached { reader, .. } => {
                last.remove(&(&step.conversation, reader));
            }
            What::Delivered { reader, .. } => {
                pairs.extend(last.insert((&step.conversation, reader), at).map(|before| (before, at)));
            }
            _ => {}
        }
    }
    pairs
}
