//! Answers repeats from long ago from the view, without holding up a group.

use std::sync::Arc;

use quoth_core::membership::Refusal;
use quoth_protocol::Code;
use quoth_store::{Found, Position, ViewError};
use tokio::sync::OwnedSemaphorePermit;

use super::mailbox::{NotStored, Outcome, Stored};
use super::publisher::Publisher;
use super::reads::Reads;
use super::{PUBLISH_OVERHEAD_BYTES, PublishRequest};

/// The repeats of a group that only the view knows, for each stream that sent some.
#[derive(Default)]
pub(super) struct Repeats(Vec<OfStream>);

struct OfStream {
    unanswered: Unanswered,
    /// Held until all are answered, so that there cannot be more and more that wait. Their bodies are gone by
    /// then.
    queued: Vec<OwnedSemaphorePermit>,
}

impl Repeats {
    /// Takes a repeat.
    pub(super) fn take(&mut self, request: &mut PublishRequest) {
        let queued = request.queued.split(PUBLISH_OVERHEAD_BYTES.min(request.queued.num_permits()));
        let of_stream =
            |stream: &&mut OfStream| Arc::ptr_eq(&stream.unanswered.publisher, &request.publisher);
        if let Some(stream) = self.0.iter_mut().rev().find(of_stream) {
            stream.unanswered.numbers.push(request.append.n);
            stream.queued.extend(queued);
        } else {
            let publisher = Arc::clone(&request.publisher);
            let unanswered = Unanswered { publisher, numbers: vec![request.append.n] };
            self.0.push(OfStream { unanswered, queued: Vec::from_iter(queued) });
        }
    }

    /// Looks all of them up in tasks of the runtime, with what the log holds up to `position`.
    pub(super) fn look_up(self, reads: &Reads, position: Position, runtime: &tokio::runtime::Handle) {
        for stream in self.0 {
            runtime.spawn(stream.look_up(reads.clone(), position));
        }
    }
}

impl OfStream {
    async fn look_up(self, reads: Reads, position: Position) {
        let Self { mut unanswered, queued } = self;
        let publisher = Arc::clone(&unanswered.publisher);
        let numbers = unanswered.numbers.clone();
        let found = reads.find(publisher.conversation.clone(), publisher.key, numbers, position).await;
        unanswered.numbers.clear();
        publisher.mailbox.put(found.into_iter().map(|(n, found)| Outcome { n, result: answer(found) }));
        publisher.mailbox.wake();
        drop(queued);
    }
}

/// Repeats that get an answer whatever becomes of their look-up: one that panics is a fault of the server.
struct Unanswered {
    publisher: Arc<Publisher>,
    numbers: Vec<u64>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            let result = Err(NotStored::Unknown(Code::INTERNAL));
            self.publisher.mailbox.put(self.numbers.drain(..).map(|n| Outcome { n, result }));
            self.publisher.mailbox.wake();
        }
    }
}

const STALE: Refusal =
    Refusal::new(Code::STALE_MESSAGE_ID, "below the producer's highest number, and never stored");

fn answer(found: Result<Option<Found>, ViewError>) -> Result<Stored, NotStored> {
    match found {
        Ok(Some(Found { seq, time_ms })) => Ok(Stored { seq, time_ms, duplicate: true }),
        Ok(None) => Err(NotStored::Refused(STALE)),
        Err(error) => {
            tracing::error!(%error, "an old message id cannot be looked up");
            Err(NotStored::Unknown(Code::STORE_FAILED))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_core::conversation::{About, Append};
    use quoth_protocol::frame::Durability;
    use quoth_protocol::{Code, ConversationName, ProducerId, UserId};
    use quoth_store::Store;

    use crate::engine::mailbox::NotStored;
    use crate::engine::{
        Access, Engine, Execution, Mailbox, Outcome, Publisher, QUEUE_BYTES_MAX, Role, Stand, SystemClock,
    };

    /// More than the sequencer knows without the view.
    const MESSAGES: u64 = 2_000;

    async fn outcomes(mailbox: &Mailbox, count: u64) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while (outcomes.len() as u64) < count {
            mailbox.woken().await;
            mailbox.take(&mut outcomes);
        }
        outcomes.sort_by_key(|outcome| outcome.n);
        outcomes
    }

    #[tokio::test]
    async fn old_repeats_of_two_streams_get_the_first_ones_seq_and_time() {
        let (engine, stopper) =
            Engine::start(Store::memory(), Durability::Memory, Arc::new(SystemClock), Execution::Threads);
        let user = UserId::new("ada").unwrap();
        let mailboxes = [(); 2].map(|()| Mailbox::of_anybody());
        let publishers = [("a", &mailboxes[0]), ("b", &mailboxes[1])].map(|(room, mailbox)| {
            let room = ConversationName::new(room).unwrap();
            Publisher::new(Access::fixed(room), Role::User, user.clone(), ProducerId(1), Arc::clone(mailbox))
        });
        let publish = async |numbers: &mut dyn Iterator<Item = u64>| {
            for n in numbers {
                for publisher in &publishers {
                    let (sender, body, about) = (user.clone(), "text".into(), About::default());
                    let append = Append { n, sender, origin_time_ms: None, body, about };
                    assert!(engine.publish(publisher, append, &Stand::FIXED).await);
                }
            }
        };
        publish(&mut (1..=MESSAGES).map(|n| n * 2)).await;
        let mut first = Vec::new();
        for mailbox in &mailboxes {
            first.push(outcomes(mailbox, MESSAGES).await);
        }
        // Those with an odd number were never stored.
        publish(&mut (1..=MESSAGES * 2)).await;
        for (mailbox, first) in mailboxes.iter().zip(first) {
            let again = outcomes(mailbox, MESSAGES * 2).await;
            for (pair, first) in again.chunks(2).zip(first) {
                assert_eq!(pair[0].result.map_err(NotStored::code), Err(Code::STALE_MESSAGE_ID));
                let expected = first.result.map(|first| crate::engine::Stored { duplicate: true, ..first });
                assert_eq!((pair[1].n, pair[1].result), (first.n, expected));
            }
        }
        let queue_bytes = Arc::clone(&engine.inner.queue_bytes);
        drop(engine);
        tokio::task::spawn_blocking(|| stopper.stop()).await.unwrap().unwrap();
        assert_eq!(queue_bytes.available_permits(), QUEUE_BYTES_MAX, "what was answered waits no more");
    }
}
