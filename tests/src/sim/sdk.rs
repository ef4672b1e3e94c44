//! The same load through the SDK, which does by itself what the clients of bare frames do by hand.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use quoth_client::{Client, ClientEvent, Conversation, SendError, SendOptions, Sending, Start, Transport};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::history::Broken;
use super::load::Part;
use super::peer::Dial;
use crate::history;

/// How long a send waits for its ack before it is asked for again: short, so that this happens.
const SEND_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long the first connection may take, faults included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);

/// Runs parts to their end.
///
/// # Errors
/// When the server or the SDK breaks a promise.
pub(super) async fn run(dial: Dial, parts: Vec<Part>, ca_file: PathBuf, seed: u64) -> anyhow::Result<()> {
    let Some(Part { producer, .. }) = parts.first() else { return Ok(()) };
    let client = Client::builder(dial.server.to_string())
        .ca_file(ca_file)
        .server_name("localhost")
        .token(dial.token)
        .endpoint(dial.endpoint)
        // Only UDP is simulated.
        .transport(Transport::Quic)
        .producer(*producer)
        .rng_seed(seed)
        .connect_timeout(CONNECT_TIMEOUT)
        .send_timeout(SEND_TIMEOUT)
        .connect()
        .await?;
    let mut running = JoinSet::new();
    for part in parts {
        let conversation = client.conversation(part.conversation.as_str())?;
        running.spawn_local(run_part(part, conversation));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    client.close().await;
    Ok(())
}

/// Reads and publishes at the same time.
async fn run_part(mut part: Part, conversation: Conversation) -> anyhow::Result<()> {
    part.note_progress();
    let mut events = match part.reads {
        true => Some(conversation.events(Start::After(part.cursor)).await?),
        false => None,
    };
    part.attach(part.cursor)?;
    let mut acks = JoinSet::new();
    let mut publishes_at = part.next_publish();
    while !part.is_done() {
        part.note_progress();
        let publishes = part.to_publish > 0;
        tokio::select! {
            biased;
            Some(acked) = acks.join_next() => take_ack(&mut part, &conversation, &mut acks, acked?).await?,
            event = async { events.as_mut()?.next().await }, if part.reads => match event {
                Some(Ok(ClientEvent::Event(event))) => part.take_event(&event)?,
                Some(Ok(ClientEvent::CaughtUp { .. } | ClientEvent::Interrupted { .. })) => {}
                other => bail!("events end with {other:?}"),
            },
            () = sleep_until(publishes_at), if publishes => {
                publishes_at = part.next_publish();
                let (n, body) = part.next_message()?;
                publish(&conversation, &mut acks, n, body).await?;
            }
        }
    }
    part.note_progress();
    Ok(())
}

/// A number with its answer.
type Acked = (u64, Result<quoth_client::Ack, SendError>);

async fn publish(
    conversation: &Conversation,
    acks: &mut JoinSet<Acked>,
    n: u64,
    body: Bytes,
) -> anyhow::Result<()> {
    let options = SendOptions { n: Some(n), ..SendOptions::from(body) };
    match conversation.send_pipelined(options).await {
        Ok(sending) => drop(acks.spawn_local(wait(n, sending))),
        Err(error) => drop(acks.spawn_local(async move { (n, Err(error)) })),
    }
    Ok(())
}

async fn wait(n: u64, sending: Sending) -> Acked {
    (n, sending.await)
}

/// Takes an answer; without one the message is asked for again, and one that was not sent gets a new number.
async fn take_ack(
    part: &mut Part,
    conversation: &Conversation,
    acks: &mut JoinSet<Acked>,
    (n, acked): Acked,
) -> anyhow::Result<()> {
    match acked {
        Ok(quoth_client::Ack { seq, time_ms, duplicate }) => {
            // The SDK repeats by itself; a duplicate says that it did.
            if let Some((_, body)) = part.unacked.iter().find(|(unacked, _)| duplicate && *unacked == n) {
                part.note_sent(n, body)?;
            }
            part.note_ack(n, history::Ack { seq, time_ms, duplicate })?;
            Ok(())
        }
        Err(SendError::UnknownOutcome { id, .. }) => {
            let conversation = conversation.clone();
            acks.spawn_local(async move { (n, conversation.resend(id).await) });
            Ok(())
        }
        Err(SendError::NotSent { .. }) => {
            part.take_back(n)?;
            let (n, body) = part.next_message()?;
            publish(conversation, acks, n, body).await
        }
        Err(error) => Err(anyhow::Error::new(Broken::new("a send failed")).context(error.to_string())),
    }
}
