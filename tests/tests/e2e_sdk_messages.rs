//! The native SDK with what becomes of messages, receipts and the inbox, against real servers, over QUIC and
//! WebSocket alike.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use quoth_client::{
    Client, ClientEvent, Code, Conversation, EventKind, Events, FetchRange, InboxChanges, InboxList,
    InboxSettings, InboxWatch, NewConversation, Receipt, RequestError, Retention, SendOptions, Seq, Start,
    Transport, UserId, View,
};
use quoth_tests::embedded::EmbeddedServer;
use tokio::time::timeout;

/// The example of what becomes of messages.
#[path = "../../client-sdk/examples/team.rs"]
#[allow(dead_code, reason = "its main function is for people")]
mod example;

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

async fn client(server: &EmbeddedServer, over: Transport, user: &str) -> anyhow::Result<Client> {
    let token = server.token_with(user, |_| {})?;
    let builder = Client::builder(server.address().to_string()).ca_file(server.ca_file()).token(token);
    Ok(builder.transport(over).connect().await?)
}

/// Runs a test with a server of its own over each transport.
fn over_both<F: Future<Output = anyhow::Result<()>>>(
    test: impl Fn(std::rc::Rc<EmbeddedServer>, Transport) -> F,
) -> anyhow::Result<()> {
    for over in [Transport::Quic, Transport::WebSocket] {
        let server = std::rc::Rc::new(EmbeddedServer::start()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done =
            runtime.block_on(async { timeout(PATIENCE, test(std::rc::Rc::clone(&server), over)).await });
        done.context("it hangs").flatten().context(format!("{over}"))?;
        drop(runtime);
        std::rc::Rc::into_inner(server).context("nobody has it any more")?.stop()?;
    }
    Ok(())
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

async fn team(owner: &Client, members: &[&str]) -> anyhow::Result<String> {
    let done = owner.create(NewConversation::group("Team").members(members.iter().copied())).await?;
    Ok(done.conversation.to_string())
}

/// Reads until this event has come.
async fn read_to(events: &mut Events, view: &mut View, to: Seq) -> anyhow::Result<()> {
    loop {
        let event = events.next().await.context("the events have ended")??;
        view.event(&event);
        match event {
            ClientEvent::Event(event) if event.seq >= to => return Ok(()),
            ClientEvent::Gap { to: end, .. } if end >= to => return Ok(()),
            _ => {}
        }
    }
}

/// All of a conversation in pages of so many events, from the end.
async fn read_pages(room: &Conversation, limit: u32, view: &mut View) -> anyhow::Result<Seq> {
    let mut range = FetchRange::Latest;
    let mut head = None;
    loop {
        let page = room.history(range, limit).await?;
        view.page(&page);
        let head = *head.get_or_insert(page.head);
        if !page.more_before {
            return Ok(head);
        }
        range = FetchRange::Before(page.from);
    }
}

fn shown(view: &View) -> Vec<String> {
    let shown = |message: &quoth_client::Message| {
        let reactions = message.reactions.iter().map(|(text, of)| format!("{text}{}{}", of.count, of.mine));
        let edited = message.edited.map(|edited| edited.seq.0);
        let (seq, body) = (message.seq, String::from_utf8_lossy(&message.body));
        format!("{seq} {body} {:?} {edited:?} {:?}", message.reply_to, reactions.collect::<Vec<_>>())
    };
    view.messages().map(shown).collect()
}

#[test]
fn the_example_does_what_it_says() -> anyhow::Result<()> {
    over_both(|server, over| async move {
        let alice = client(&server, over, "alice").await?;
        let room = alice.conversation(team(&alice, &[]).await?)?;
        let view = example::talk(&alice, &room).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(example::lines(&view) == ["alice: hello (edited) +1 1", "alice: to myself"], "{view:?}");
        let bob = client(&server, over, "bob").await?;
        alice.set_member(room.name().as_str(), "bob", quoth_client::Role::Member, None).await?;
        let is_unread = |list: &InboxList| {
            list.rows().iter().any(|row| row.conversation == *room.name() && row.unread == 1)
        };
        let mut shown = 0;
        let show = |list: &InboxList| {
            shown += 1;
            !is_unread(list)
        };
        let says = async { bob.conversation(room.name().as_str()).unwrap().send("hi").await };
        let (listed, said) = tokio::join!(example::inbox(&alice, show), says);
        listed.map_err(|error| anyhow::anyhow!("{error}"))?;
        said?;
        ensure!(shown > 0);
        bob.close().await;
        alice.close().await;
        Ok(())
    })
}

#[test]
fn who_was_away_sees_what_one_sees_who_was_there() -> anyhow::Result<()> {
    over_both(|server, over| async move {
        let (alice, bob) = (client(&server, over, "alice").await?, client(&server, over, "bob").await?);
        let name = team(&alice, &["bob"]).await?;
        let (of_alice, of_bob) = (alice.conversation(&name)?, bob.conversation(&name)?);
        let mut there = View::new(of_bob.name().clone(), user("bob"));
        let mut events = of_bob.events(Start::After(Seq::ZERO)).await?;

        let first = of_alice.send("helo").await?.seq;
        let second = of_alice.send("to be taken back").await?.seq;
        let answer =
            SendOptions { reply_to: Some(first), mentions: vec![user("alice")], ..SendOptions::from("hi") };
        let third = of_bob.send(answer).await?.seq;
        let edited = of_alice.edit(first, "hello", &[user("bob")]).await?;
        ensure!(of_alice.edit(first, "hello", &[user("bob")]).await?.seq.is_none(), "as it is already");
        of_alice.edit(first, "hello, bob", &[]).await?;
        for room in [&of_alice, &of_bob] {
            room.react(first, "+1", true).await?;
        }
        of_alice.react(third, "heart", true).await?;
        of_alice.react(third, "heart", false).await?;
        let last = of_alice.revoke(second).await?.seq.context("an event")?;
        read_to(&mut events, &mut there, last).await?;

        let mut away = View::new(of_bob.name().clone(), user("bob"));
        for limit in [1, 3, 100] {
            read_pages(&of_bob, limit, &mut away).await?;
            ensure!(shown(&away) == shown(&there), "{limit}: {:?} {:?}", shown(&away), shown(&there));
        }
        let edit = there.message(first).context("it is there")?;
        ensure!(edit.body == "hello, bob" && edit.mentions.is_empty() && edit.reactions["+1"].count == 2);
        ensure!(there.message(third).context("it is there")?.reply_to == Some(first));
        let first_edit = edited.seq.context("an event")?;
        ensure!(
            there.gaps().eq([(second, second), (first_edit, first_edit)]),
            "{:?}",
            away.gaps().collect::<Vec<_>>()
        );
        ensure!(away.gaps().eq(there.gaps()));

        let around = of_bob.history(FetchRange::Around(third), 3).await?;
        ensure!(around.from <= third && third <= around.to && around.more_before && around.more_after);
        let states = of_bob.messages(&[first, second, third]).await?;
        ensure!(states.absent == [second] && states.states[0].reactions[0].mine);
        for (refused, code) in [
            (of_bob.edit(first, "mine now", &[]).await.map(drop), Code::FORBIDDEN),
            (of_alice.edit(second, "again", &[]).await.map(drop), Code::NOT_FOUND_MESSAGE),
            (of_bob.react(first, "", true).await.map(drop), Code::INVALID_REQUEST),
        ] {
            let Err(RequestError::Refused { code: told, .. }) = refused else { anyhow::bail!("{refused:?}") };
            ensure!(told == code, "{told}");
        }

        // What is hidden is left out on all devices of the user's own, and by nobody else.
        let mut own = bob.conversation("$me")?.events(Start::Live).await?;
        of_bob.hide(first).await?;
        loop {
            let event = own.next().await.context("the events have ended")??;
            there.own_event(&event);
            if matches!(event, ClientEvent::Event(event) if matches!(event.kind, EventKind::Hidden { .. })) {
                break;
            }
        }
        ensure!(there.message(first).is_none() && there.messages().count() == 1);
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

#[test]
fn what_is_short_lived_goes_and_what_is_kept_is_told() -> anyhow::Result<()> {
    over_both(|server, over| async move {
        let alice = client(&server, over, "alice").await?;
        let room = alice.conversation(team(&alice, &[]).await?)?;
        let kept = async || {
            let info = alice.describe(room.name()).await?;
            anyhow::Ok((info.retention, info.own_retention))
        };
        ensure!(kept().await? == (Retention::FOR_EVER, false));
        let expires_in = Some(Duration::from_millis(1));
        let seq = room.send(SendOptions { expires_in, ..SendOptions::from("gone") }).await?.seq;
        // Behind the next message's flush it is over for sure, since seqs come in the order of times.
        let mut view = View::new(room.name().clone(), user("alice"));
        loop {
            let head = room.send("later").await?.seq;
            read_pages(&room, 2, &mut view).await?;
            if view.gaps().any(|(from, to)| from <= seq && seq <= to) {
                ensure!(view.message(seq).is_none() && view.message(head).is_some());
                break;
            }
        }
        let retention = Retention { count: 2, ..Retention::FOR_EVER };
        let head = room.history(FetchRange::Latest, 1).await?.head;
        let floor = room.history(FetchRange::Latest, 1).await?.floor;
        let preview = room.preview_retention(Some(retention)).await?;
        // What says so is kept as well.
        let beyond = head.0 + 1 - retention.count - (floor.0 - 1);
        ensure!((preview.seq, preview.events, preview.retention) == (None, beyond, retention), "{preview:?}");
        ensure!(preview.bytes > 0 && kept().await? != (retention, true), "{preview:?}");
        let set = room.set_retention(Some(retention)).await?;
        ensure!((set.events, set.bytes) == (preview.events, preview.bytes), "{set:?}");
        ensure!(set.seq == Some(head.next()), "{set:?}");
        let again = room.set_retention(Some(retention)).await?;
        ensure!((again.seq, again.events) == (None, 0), "as it is already: {again:?}");
        ensure!(kept().await? == (retention, true));
        let head = read_pages(&room, 10, &mut view).await?;
        ensure!(view.gaps().eq([(Seq(1), Seq(head.0 - 2))]), "{:?}", view.gaps().collect::<Vec<_>>());
        ensure!(view.retention() == Some(retention) && view.messages().count() == 1);
        alice.close().await;
        Ok(())
    })
}

/// The changes of an inbox until they say what is wanted.
async fn changed_to(
    watch: &mut InboxWatch,
    list: &mut InboxList,
    is: impl Fn(&InboxList) -> bool,
) -> anyhow::Result<()> {
    while !is(list) {
        let InboxChanges { rows, incomplete } = watch.changes().await?;
        ensure!(!incomplete, "little has changed");
        list.take(rows);
    }
    Ok(())
}

#[test]
fn receipts_and_the_inbox_follow_what_is_read() -> anyhow::Result<()> {
    over_both(|server, over| async move {
        let (alice, bob) = (client(&server, over, "alice").await?, client(&server, over, "bob").await?);
        let (first, second) = (team(&alice, &["bob"]).await?, team(&alice, &["bob"]).await?);
        let (of_alice, of_bob) = (alice.conversation(&first)?, bob.conversation(&first)?);
        let mut watch = bob.watch_inbox(None, []).await?;
        let mut list = InboxList::default();
        let page = bob.inbox(None, 1).await?;
        ensure!(page.rows.len() == 1 && page.next.is_some());
        list.take(page.rows);
        list.take(bob.inbox(page.next.as_deref(), 50).await?.rows);
        ensure!(list.rows().len() == 2);

        // Alice watches what bob has got; nobody has said anything of it but his client, by itself.
        let _reads = of_alice.events(Start::Live).await?;
        let mut receipts = of_alice.watch_receipts();
        let mentions = vec![user("bob")];
        let seq = of_alice.send(SendOptions { mentions, ..SendOptions::from("hi bob") }).await?.seq;
        let row = |list: &InboxList| list.row(of_bob.name()).map(|row| (row.unread, row.mentions));
        changed_to(&mut watch, &mut list, |list| row(list) == Some((1, 1))).await?;
        ensure!(list.rows()[0].conversation == *of_bob.name());
        let mut view = View::new(of_bob.name().clone(), user("bob"));
        let mut events = of_bob.events(Start::Last(5)).await?;
        read_to(&mut events, &mut view, seq).await?;
        ensure!((view.unread(Seq::ZERO), view.mentions(Seq::ZERO)) == (1, 1));
        let delivered = Receipt { delivered: seq, read: Seq::ZERO };
        while receipts.receipts().get(&user("bob")) != Some(&delivered) {
            receipts.changed().await;
        }
        let told = of_alice.receipts(seq).await?;
        ensure!((told.delivered, told.read) == (1, 0) && told.users[0].user == user("bob"), "{told:?}");
        of_bob.mark_read(seq).await?;
        while receipts.receipts()[&user("bob")].read != seq {
            receipts.changed().await;
        }
        ensure!(of_alice.receipts(seq).await?.read == 1);
        changed_to(&mut watch, &mut list, |list| row(list) == Some((0, 0))).await?;

        // How it stands is the user's own.
        let pinned = InboxSettings { pinned: true, muted_until_ms: u64::MAX, ..InboxSettings::default() };
        ensure!(bob.set_inbox(&second, pinned).await?.seq.is_some());
        ensure!(bob.set_inbox(&second, pinned).await?.seq.is_none(), "as it is already");
        changed_to(&mut watch, &mut list, |list| list.rows()[0].pinned).await?;
        ensure!(list.rows()[0].conversation.as_str() == second);
        let of_row = bob.inbox_row(&second).await?.context("it is in it")?;
        ensure!(InboxSettings::from(&of_row).pinned && bob.inbox_row("general").await?.is_none());
        bob.leave(&second).await?;
        changed_to(&mut watch, &mut list, |list| list.rows().len() == 1).await?;

        // Who comes back is told what has changed meanwhile.
        let version = watch.version();
        drop(watch);
        bob.close().await;
        let renamed = alice.rename(&first, "Renamed").await?;
        ensure!(renamed.seq.is_some());
        let bob = client(&server, over, "bob").await?;
        let mut watch = bob.watch_inbox(Some(version), []).await?;
        changed_to(&mut watch, &mut list, |list| list.rows()[0].title == "Renamed").await?;
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}
