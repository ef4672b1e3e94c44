//! Commands that ask the server for one thing, and how they tell what came of it.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quoth_client::{Client, ConversationInfo, Done};
use serde::Serialize;

use crate::args::TimeArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::{Asked, Situation, explained, is_silent};
use crate::output::{confirm, note, printable, written};
use crate::states::telling_states;

/// Does `work` with a client, unless the user asks to leave.
pub(crate) async fn asking(
    connection: &Connection,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let work = async |client: &Client, situation: &Situation<'_>| {
        let work = telling_states(client, situation, |text| note(text), work(client));
        connection.interrupt().unless_asked(work).await?
    };
    connection.run(Purpose::Ask, work).await
}

/// The same of something that is asked of a conversation: a refusal says why it was one.
pub(crate) async fn asking_of(
    connection: &Connection,
    asked: &Asked<'_>,
    work: impl AsyncFnOnce(&Client) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let work = async |client: &Client, situation: &Situation<'_>| {
        let explaining = async {
            match work(client).await {
                Ok(()) => Ok(()),
                Err(error) => Err(explained(client, situation, asked, error).await),
            }
        };
        let work = telling_states(client, situation, |text| note(text), explaining);
        connection.interrupt().unless_asked(work).await?
    };
    connection.run(Purpose::Ask, work).await
}

/// Says of a conversation in which nothing was ever said that this is so: its name may have a slip in it.
pub(crate) async fn tell_silence(client: &Client, info: &ConversationInfo) {
    if info.kind.is_none() && is_silent(client, info.conversation.as_str()).await == Some(true) {
        note(format_args!(
            "nothing was ever said in {}: is the name right?",
            printable(info.conversation.as_str())
        ));
    }
}

/// A time that is so far from now.
pub(crate) fn in_ms(duration: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_add(duration).as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn until_ms(time: &TimeArgs) -> u64 {
    if time.lift { 0 } else { time.holds.map_or(u64::MAX, in_ms) }
}

/// Says what is so now.
pub(crate) fn told(text: impl Display, done: &Done) {
    confirm(&what_is_so(text, done));
}

/// What is so now, and whether it was so before.
pub(crate) fn what_is_so(text: impl Display, done: &Done) -> String {
    match done.seq {
        Some(_) => text.to_string(),
        None => format!("{text}, as before"),
    }
}

pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    written(lines.into_iter().try_for_each(|line| writeln!(out, "{line}")))
}

pub(crate) fn json<T: Serialize>(items: &[T]) -> anyhow::Result<()> {
    lines(items.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?)
}
