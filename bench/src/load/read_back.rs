//! Reads messages that nobody has read: an ack says that a message is stored, so it must come to whoever asks
//! for it.

use std::sync::Arc;
use std::time::Duration;

use quoth_protocol::Seq;
use quoth_protocol::frame::Start;

use super::Progress;
use super::at_once::at_once;
use super::single::{Server, runtime};
use crate::check::Checker;
use crate::outcome::Check;
use crate::profile::Transport;
use crate::system::{Client as _, Keeps, Received, Receiver as _, System};

/// Messages to read back; of more a part of the conversations is read, each of them whole.
const MESSAGES_MAX: u64 = 100_000;

/// Conversations to read back.
const CONVERSATIONS_MAX: usize = 1_000;

/// Conversations that are read at once, over one connection.
const AT_ONCE: u32 = 16;

/// A conversation that nobody has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub name: String,
    /// Its publishers, and how many messages of each were acked.
    pub acked: Vec<(u32, u64)>,
}

impl Unread {
    fn messages(&self) -> u64 {
        self.acked.iter().map(|(_, count)| count).sum()
    }
}

/// Reads a sample of the conversations, or all where that is cheap, and checks that all is there that was
/// acked.
///
/// # Errors
/// When a client is refused. What does not come within `patience` is no error here: the check has it.
pub fn read_back(
    server: Server<'_>,
    transport: Transport,
    unread: Vec<Unread>,
    patience: Duration,
    progress: &Progress,
) -> anyhow::Result<Check> {
    runtime()?.block_on(async {
        if transport == Transport::Quic {
            read_back_on(server.quic()?, unread, patience, progress).await
        } else {
            read_back_on(server.websocket(transport)?, unread, patience, progress).await
        }
    })
}

/// Conversations from the first to the last, evenly, as many as are cheap to read and one at least.
fn sample(unread: &[Unread]) -> Vec<Unread> {
    let total: u64 = unread.iter().map(Unread::messages).sum();
    let by_messages = usize::try_from(total.div_ceil(MESSAGES_MAX)).unwrap_or(usize::MAX);
    let step = by_messages.max(unread.len().div_ceil(CONVERSATIONS_MAX)).max(1);
    unread.iter().step_by(step).filter(|unread| unread.messages() > 0).cloned().collect()
}

/// The same within a runtime.
pub(super) async fn read_back_on<S>(
    system: S,
    unread: Vec<Unread>,
    patience: Duration,
    progress: &Progress,
) -> anyhow::Result<Check>
where
    S: System,
    S::Client: Keeps,
{
    let sample = sample(&unread);
    if sample.is_empty() {
        return Ok(Check::default());
    }
    let client = Arc::new(system.connect().await?);
    let checks = at_once(progress, sample, AT_ONCE, |unread| {
        let client = Arc::clone(&client);
        async move { read(&*client, &unread, patience).await }
    });
    let mut whole = Check::default();
    checks.await?.iter().for_each(|check| whole.add(check));
    if let Some(client) = Arc::into_inner(client) {
        client.close().await;
    }
    Ok(whole)
}

/// Reads a conversation from its first message on.
async fn read<C: Keeps>(client: &C, unread: &Unread, patience: Duration) -> anyhow::Result<Check> {
    let first = unread.acked.iter().map(|(publisher, _)| *publisher).min().unwrap_or_default();
    let last = unread.acked.iter().map(|(publisher, _)| *publisher).max().unwrap_or_default();
    let mut checker = Checker::new(first..last + 1);
    let (sender, mut receiver) = client.enter_from(&unread.name, Some(Start::After(Seq(0)))).await?;
    let mut received = Vec::new();
    while checker.came() < unread.messages() {
        let Ok(next) = tokio::time::timeout(patience, receiver.receive(&mut received)).await else { break };
        next?;
        for received in received.drain(..) {
            if let Received::Message { seq, body } = received {
                checker.take(seq, &body);
            }
        }
    }
    // Dropping it may end the stream.
    drop(sender);
    Ok(checker.end(unread.acked.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(conversations: u32, each: u64) -> Vec<Unread> {
        (0..conversations).map(|c| Unread { name: c.to_string(), acked: vec![(c, each)] }).collect()
    }

    #[test]
    fn a_sample_is_all_where_that_is_cheap_and_never_nothing() {
        assert_eq!(sample(&unread(64, 100)).len(), 64);
        assert_eq!(sample(&unread(64, 15_000)).len(), 7);
        assert_eq!(sample(&unread(100_000, 3)).len(), 1_000);
        assert_eq!(sample(&unread(1, 5_000_000)).len(), 1);
        assert_eq!(sample(&unread(3, 0)), []);
    }
}
