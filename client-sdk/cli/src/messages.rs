//! `quoth edit`, `revoke`, `react`, `hide`, `read` and `receipts`.

use quoth_client::{
    Client, Conversation, FetchRange, MessageReceipts, Permissions, RequestError, Seq, UserId,
};
use serde::Serialize;

use crate::args::{EditArgs, MessageArgs, ReactArgs, ReadArgs, ReceiptsArgs};
use crate::asking::{asking_of, json, lines, told};
use crate::connection::Connection;
use crate::hint::{Asked, Hint, Needs};
use crate::output::{confirm, note, printable};

pub(crate) async fn edit(connection: &Connection, args: EditArgs) -> anyhow::Result<()> {
    let EditArgs { message, text, mentions } = args;
    let otherwise = "only who has written a message edits it, and in a conversation of two nobody whom the other one has \
                     blocked";
    let asked = (WRITING, otherwise);
    about(connection, message, asked, async |room, seq| {
        let done = room.edit(seq, text.join(" "), &mentions).await?;
        told(format_args!("message {seq} of {} is edited", name(&room)), &done);
        Ok(())
    })
    .await
}

pub(crate) async fn revoke(connection: &Connection, args: MessageArgs) -> anyhow::Result<()> {
    let otherwise = "a message is taken away by who has written it, or by members who may delete others' (delete-any) and \
                     whose role is not below that of who has written it";
    about(connection, args, (Needs::Membership, otherwise), async |room, seq| {
        let done = room.revoke(seq).await?;
        told(format_args!("message {seq} of {} is gone for everybody", name(&room)), &done);
        Ok(())
    })
    .await
}

pub(crate) async fn react(connection: &Connection, args: ReactArgs) -> anyhow::Result<()> {
    let ReactArgs { message, reaction, lift } = args;
    let otherwise = "in a conversation of two, who is blocked by the other one does not react";
    about(connection, message, (WRITING, otherwise), async |room, seq| {
        let done = room.react(seq, &reaction, !lift).await?;
        let verb = if lift { "do not react" } else { "react" };
        told(
            format_args!("you {verb} to message {seq} of {} with {}", name(&room), printable(&reaction)),
            &done,
        );
        Ok(())
    })
    .await
}

pub(crate) async fn hide(connection: &Connection, args: MessageArgs) -> anyhow::Result<()> {
    about(connection, args, (Needs::Reading, ""), async |room, seq| {
        let done = room.hide(seq).await?;
        told(format_args!("message {seq} of {} is hidden from you", name(&room)), &done);
        Ok(())
    })
    .await
}

pub(crate) async fn read(connection: &Connection, args: ReadArgs) -> anyhow::Result<()> {
    let asked = Asked { conversation: args.conversation.as_str(), needs: Needs::Reading, otherwise: "" };
    asking_of(connection, &asked, async |client| {
        let room = client.conversation(args.conversation.as_str())?;
        let seq = match args.seq {
            Some(seq) => seq,
            None => room.history(FetchRange::Latest, 1).await?.head,
        };
        match room.mark_read(seq).await? {
            Seq::ZERO => note(format_args!("{} has no messages: there is nothing to read", name(&room))),
            read => confirm(&format!("{} is read up to {read}", name(&room))),
        }
        Ok(())
    })
    .await
}

pub(crate) async fn receipts(connection: &Connection, args: ReceiptsArgs) -> anyhow::Result<()> {
    let is_json = args.json;
    let otherwise =
        "in a conversation of two, who is blocked by the other one is not told what that one has read";
    about(connection, args.message, (Needs::Reading, otherwise), async |room, seq| {
        let receipts = room.receipts(seq).await?;
        if is_json { json(&[JsonReceipts::of(&receipts, seq)]) } else { lines(receipt_lines(&receipts, seq)) }
    })
    .await
}

/// To say something about a message is to write.
const WRITING: Needs = Needs::Permission(Permissions::WRITE);

/// Does something about a message. What it comes to is the same when it is done twice.
async fn about(
    connection: &Connection,
    message: MessageArgs,
    (needs, otherwise): (Needs, &str),
    work: impl AsyncFnOnce(Conversation, Seq) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let MessageArgs { conversation, seq } = message;
    let asked = Asked { conversation: conversation.as_str(), needs, otherwise };
    asking_of(connection, &asked, async |client: &Client| {
        work(client.conversation(conversation.as_str())?, seq).await.map_err(|error| {
            let is_unknown = matches!(error.downcast_ref(), Some(RequestError::UnknownOutcome { .. }));
            match is_unknown && !error.is::<Hint>() {
                true => error.context(Hint("do it again: what is done already stays as it is".to_owned())),
                false => error,
            }
        })
    })
    .await
}

pub(crate) fn name(room: &Conversation) -> String {
    printable(room.name().as_str())
}

#[derive(Serialize)]
struct JsonReceipts<'a> {
    delivered: u32,
    read: u32,
    users: Vec<JsonReceipt<'a>>,
}

#[derive(Serialize)]
struct JsonReceipt<'a> {
    user: &'a UserId,
    read: bool,
}

impl<'a> JsonReceipts<'a> {
    fn of(receipts: &'a MessageReceipts, seq: Seq) -> Self {
        let users = receipts.users.iter().map(|of| JsonReceipt { user: &of.user, read: of.read >= seq });
        Self { delivered: receipts.delivered, read: receipts.read, users: users.collect() }
    }
}

fn receipt_lines(receipts: &MessageReceipts, seq: Seq) -> Vec<String> {
    let MessageReceipts { delivered, read, users } = receipts;
    let mut lines = vec![format!("{delivered} received it, {read} of them read it")];
    let how = |has_read| if has_read { "has read it" } else { "has received it" };
    lines.extend(users.iter().map(|of| format!("{}  {}", printable(of.user.as_str()), how(of.read >= seq))));
    lines
}

#[cfg(test)]
mod tests {
    use quoth_client::{ReceiptInfo, UserId};

    use super::*;

    #[test]
    fn receipts_say_who_and_how_many() {
        let info = |user: &str, read| ReceiptInfo {
            user: UserId::new(user).unwrap(),
            delivered: Seq(9),
            read: Seq(read),
        };
        let receipts =
            MessageReceipts { delivered: 2, read: 1, users: vec![info("bob", 7), info("carol", 6)] };
        assert_eq!(
            receipt_lines(&receipts, Seq(7)),
            ["2 received it, 1 of them read it", "bob  has read it", "carol  has received it"]
        );
        assert_eq!(
            serde_json::to_string(&JsonReceipts::of(&receipts, Seq(7))).unwrap(),
            r#"{"delivered":2,"read":1,"users":[{"user":"bob","read":true},{"user":"carol","read":false}]}"#
        );
    }
}
