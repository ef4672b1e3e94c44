//! `quoth inbox`, `archive`, `mute` and `pin`.

mod lines;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use quoth_client::protocol::limits::INBOX_PAGE_MAX;
use quoth_client::{Client, ConversationName, InboxRow, InboxSettings};

use self::lines::{muted, row_line};
use crate::args::{InboxArgs, QuietArgs, StandArgs};
use crate::asking::{asking, in_ms, told, until_ms};
use crate::connection::{Connection, Purpose};
use crate::hint::{Hint, Situation, WITHOUT_MEMBERS, without_members};
use crate::output::{note, printable, written};
use crate::states::telling_states;

pub(crate) async fn run(connection: &Connection, args: InboxArgs) -> anyhow::Result<()> {
    if !args.watch {
        return asking(connection, async |client| list(client, &args, &mut Shown::default()).await).await;
    }
    let watch = async |client: &Client, situation: &Situation<'_>| {
        let watch = telling_states(client, situation, |text| note(text), watch(client, &args));
        // To be interrupted is how it ends.
        connection.interrupt().unless_asked(watch).await.unwrap_or(Ok(()))
    };
    connection.run(Purpose::Ask, watch).await
}

pub(crate) async fn archive(connection: &Connection, args: StandArgs) -> anyhow::Result<()> {
    let StandArgs { conversation, lift } = args;
    let how = if lift { "back from the archive" } else { "archived" };
    set(connection, &conversation, how, |settings| settings.archived = !lift).await
}

pub(crate) async fn pin(connection: &Connection, args: StandArgs) -> anyhow::Result<()> {
    let StandArgs { conversation, lift } = args;
    let how = if lift { "not pinned" } else { "pinned" };
    set(connection, &conversation, how, |settings| settings.pinned = !lift).await
}

pub(crate) async fn mute(connection: &Connection, args: QuietArgs) -> anyhow::Result<()> {
    let QuietArgs { conversation, time } = args;
    let muted_until_ms = until_ms(&time);
    let how = if time.lift { "not muted".to_owned() } else { muted(muted_until_ms) };
    set(connection, &conversation, &how, |settings| settings.muted_until_ms = muted_until_ms).await
}

/// Changes one of the settings, which the server only takes together.
async fn set(
    connection: &Connection,
    conversation: &ConversationName,
    how: &str,
    change: impl FnOnce(&mut InboxSettings),
) -> anyhow::Result<()> {
    asking(connection, async |client| {
        let shown = printable(conversation.as_str());
        let Some(row) = client.inbox_row(conversation).await? else {
            let hint = match client.describe(conversation).await {
                // Whoever reads there would look for it in vain.
                Ok(info) if info.kind.is_none() => without_members(client, conversation.as_str()).await,
                _ => "`quoth inbox --all --archived` shows what is in it; `quoth conversation join` and `create` add to it"
                    .to_owned(),
            };
            bail!(anyhow::anyhow!("{shown} is not in your inbox").context(Hint(hint)));
        };
        let mut settings = InboxSettings::from(&row);
        change(&mut settings);
        let done = client.set_inbox(conversation, settings).await?;
        told(format_args!("in your inbox {shown} is {how}"), &done);
        Ok(())
    })
    .await
}

async fn list(client: &Client, args: &InboxArgs, shown: &mut Shown) -> anyhow::Result<()> {
    let (mut after, mut is_empty) = (None, true);
    loop {
        let page = client.inbox(after.as_deref(), INBOX_PAGE_MAX).await?;
        is_empty &= page.rows.is_empty();
        print(&page.rows, args, shown)?;
        after = page.next;
        if after.is_none() {
            break;
        }
        if !args.all {
            note("these are the first ones; --all shows all");
            break;
        }
    }
    if is_empty {
        note(format_args!("your inbox is empty: {WITHOUT_MEMBERS}"));
    }
    Ok(())
}

async fn watch(client: &Client, args: &InboxArgs) -> anyhow::Result<()> {
    // Before the list, so that nothing is missed in between.
    let mut watch = client.watch_inbox(None, []).await?;
    let mut shown = Shown::default();
    list(client, args, &mut shown).await?;
    loop {
        let changes = watch.changes().await?;
        print(&changes.rows, args, &mut shown)?;
        if changes.incomplete {
            note("* too much has changed while there was no connection; all again:");
            list(client, args, &mut shown).await?;
        }
    }
}

/// The conversations that are in the list as it was printed.
#[derive(Debug, Default)]
struct Shown(BTreeSet<ConversationName>);

impl Shown {
    /// Whether a row is to be printed: of what is archived only that it is from now on, for whoever has it in
    /// the list still.
    fn takes(&mut self, row: &InboxRow) -> bool {
        if row.gone || row.archived {
            return self.0.remove(&row.conversation);
        }
        self.0.insert(row.conversation.clone());
        true
    }
}

fn print(rows: &[InboxRow], args: &InboxArgs, shown: &mut Shown) -> anyhow::Result<()> {
    let now_ms = in_ms(Duration::ZERO);
    let mut out = std::io::stdout().lock();
    for row in rows {
        if !shown.takes(row) && !args.archived {
            continue;
        }
        let line = if args.json { serde_json::to_string(row)? } else { row_line(row, now_ms) };
        written(writeln!(out, "{line}"))?;
    }
    written(out.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_leaves_the_list_is_told_once() {
        let mut shown = Shown::default();
        let row = |archived, gone| InboxRow { archived, gone, ..lines::tests::row() };
        let told =
            [(false, false), (true, false), (true, false), (false, false), (false, true), (false, true)];
        let told = told.map(|(archived, gone)| shown.takes(&row(archived, gone)));
        assert_eq!(told, [true, true, false, true, true, false]);
    }
}
