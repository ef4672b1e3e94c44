//! Messages that wait for readers who come later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::at_once::at_once;
use super::single::Single;
use crate::acked::Acked;
use crate::check::Checker;
use crate::outcome::Check;
use crate::payload::{Stamp, encode};
use crate::system::quic::{Quic, QuicReceiver};
use crate::system::{Client as _, Part, Received, Receiver as _, Sender as _, System as _};

/// Messages of one conversation on their way.
const IN_FLIGHT: u32 = 512;

/// How long a reader waits for its next message.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Publishes the backlog in each conversation, over one connection, and waits for all acks. The publisher of
/// a conversation has the conversation's number. Gives what the acks' sequence numbers say.
pub(super) async fn publish(load: Single<'_>, system: &Arc<Quic>, names: &[String]) -> anyhow::Result<Check> {
    /// Conversations at once: a few keep the disk busy.
    const CONVERSATIONS: u32 = 32;
    let count = load.shape.backlog;
    let client = Arc::new(system.connect().await?);
    let epoch = Instant::now();
    let all = at_once(load.progress, (0_u32..).zip(names.to_vec()), CONVERSATIONS, |(publisher, name)| {
        let (client, payload) = (Arc::clone(&client), load.payload.clone());
        async move {
            let (mut sender, mut receiver) = client.enter(&name, Part::Publish).await?;
            let (mut published, mut acked) = (0, 0);
            let (mut bodies, mut received, mut seqs) = (Vec::new(), Vec::new(), Acked::default());
            while acked < count {
                while published < count && published - acked < IN_FLIGHT {
                    let stamp = Stamp { publisher, n: u64::from(published), due: epoch.elapsed() };
                    bodies.push(encode(stamp, payload.bytes(u64::from(published)), None));
                    published += 1;
                }
                sender.publish(&mut bodies).await?;
                receiver.receive(&mut received).await?;
                for received in received.drain(..) {
                    match received {
                        Received::Acks(more) => acked += u32::try_from(more)?,
                        Received::Seq(seq) => seqs.take(seq),
                        Received::Message { .. } => anyhow::bail!("not an ack"),
                    }
                }
            }
            Ok(seqs.end())
        }
    });
    let mut check = Check::default();
    all.await.context("the backlog is not published")?.iter().for_each(|acks| check.add(acks));
    client.leave();
    Ok(check)
}

/// Reads until `count` messages have come; gives their bytes.
pub(super) async fn read(
    receiver: &mut QuicReceiver,
    checker: &mut Checker,
    count: u64,
) -> anyhow::Result<u64> {
    let (mut received, mut bytes) = (Vec::new(), 0);
    while checker.came() < count {
        let next = tokio::time::timeout(READ_TIMEOUT, receiver.receive(&mut received)).await;
        next.with_context(|| format!("only {} of {count} messages have come", checker.came()))??;
        for received in received.drain(..) {
            if let Received::Message { seq, body } = received {
                bytes += body.len() as u64;
                checker.take(seq, &body);
            }
        }
    }
    Ok(bytes)
}
