//! Messages as people live with them, in a group of one's own: `team SERVER CA_FILE TOKEN`.

use std::error::Error;

use quoth_client::{Client, Conversation, FetchRange, InboxList, NewConversation, SendOptions, View};

/// Says something, says it better, reacts, takes something back, and gives what all of that comes to, from a
/// page of history. A reader's events make the same view ([`View::event`]).
pub(crate) async fn talk(client: &Client, room: &Conversation) -> Result<View, Box<dyn Error>> {
    let hello = room.send("helo").await?.seq;
    room.edit(hello, "hello", &[]).await?;
    room.react(hello, "+1", true).await?;
    room.send_with(SendOptions { reply_to: Some(hello), ..SendOptions::from("to myself") }).await?;
    let oops = room.send("oops").await?.seq;
    room.revoke(oops).await?;

    let me = client.welcome().ok_or("there is no connection")?.user.clone();
    let mut view = View::new(room.name().clone(), me);
    let page = room.history(FetchRange::Latest, 50).await?;
    view.page(&page);
    // The user has seen what is shown: on all devices, and for those who ask who has read it.
    room.mark_read(page.head).await?;
    Ok(view)
}

/// Shows the user's inbox, and again whenever a row of it changes, until `show` wants no more. The watch begins
/// before the page is read, so that no change is missed in between.
pub(crate) async fn inbox(
    client: &Client,
    mut show: impl FnMut(&InboxList) -> bool,
) -> Result<(), Box<dyn Error>> {
    let mut watch = client.watch_inbox(None).await?;
    let mut list = InboxList::default();
    list.take(client.inbox(None, 50).await?.rows);
    while show(&list) {
        list.take(watch.changes().await?.rows);
    }
    Ok(())
}

/// Who said what, as it is by now.
pub(crate) fn lines(view: &View) -> Vec<String> {
    let line = |message: &quoth_client::Message| {
        let edited = if message.edited.is_some() { " (edited)" } else { "" };
        let reactions: String =
            message.reactions.iter().map(|(text, of)| format!(" {text} {}", of.count)).collect();
        format!("{}: {}{edited}{reactions}", message.sender, String::from_utf8_lossy(&message.body))
    };
    view.messages().map(line).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [server, ca, token] = [1, 2, 3].map(|i| std::env::args().nth(i).unwrap_or_default());
    let client = Client::builder(server).ca_file(ca).token(token).connect().await?;
    let group = client.create(NewConversation::group("Team")).await?.conversation;
    let room = client.conversation(group.as_str())?;
    let view = talk(&client, &room).await?;
    lines(&view).iter().for_each(|line| println!("{line}"));
    let print = |list: &InboxList| {
        list.rows().iter().for_each(|row| println!("{}: {} unread", row.title, row.unread));
        false
    };
    inbox(&client, print).await?;
    client.close().await;
    Ok(())
}
