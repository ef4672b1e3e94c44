//! A user's list of conversations, with real servers, over QUIC and WebSocket alike.

use std::collections::BTreeMap;
use std::time::Duration;

use quoth_protocol::frame::{ClientFrame, EventKind, Publish, ServerFrame, Start};
use quoth_protocol::inbox::{HeldRow, InboxRow};
use quoth_protocol::limits::INBOX_PAGE_MAX;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_tests::device::{Next, Over};
use quoth_tests::member::Member;
use quoth_tests::process::ServerProcess;
use quoth_tests::site::{Site, with_each_carrier};

/// How long what expires is there: long enough to be told of on a machine that has much to do.
const LIFE_MS: u64 = 7_000;

/// The same where several things that are said one after the other are to be there together.
const LIFE_TOGETHER_MS: u64 = 2 * LIFE_MS;

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

fn create(title: &str, members: &[&str]) -> Request {
    Request::Create {
        conversation: None,
        kind: ConversationKind::Group,
        title: title.to_owned(),
        members: members.iter().map(|name| user(name)).collect(),
        open: false,
    }
}

/// A group that is younger than all before: those of one millisecond are in the order of their names.
async fn group(owner: &mut Member, title: &str, members: &[&str]) -> anyhow::Result<ConversationName> {
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(owner.done(create(title, members)).await?.0)
}

/// Alice writes something, by a connection of its own.
async fn publish(
    (site, carrier): (&Site, Over),
    name: &ConversationName,
    n: u64,
    body: &str,
) -> anyhow::Result<Seq> {
    let mut alice = site.member(carrier, "alice").await?;
    let mut stream = alice.enter(name, None).await?;
    let seq = alice.publish(&mut stream, n, body).await?;
    alice.close().await;
    Ok(seq.expect("it is taken"))
}

/// Alice writes something that mentions bob and expires.
async fn publish_for(
    (site, carrier): (&Site, Over),
    name: &ConversationName,
    n: u64,
    expires_in_ms: u64,
) -> anyhow::Result<Seq> {
    let mut alice = site.member(carrier, "alice").await?;
    let mut stream = alice.enter(name, Some(Start::Live)).await?;
    let publish = Publish { expires_in_ms, mentions: vec![user("bob")], ..Publish::new(n, "goes") };
    alice.send(&mut stream, &ClientFrame::Publish(publish)).await?;
    loop {
        match alice.next(&mut stream).await? {
            Next::Frame(ServerFrame::Ack { seq, .. }) => {
                alice.close().await;
                return Ok(seq);
            }
            Next::Frame(_) => {}
            other => anyhow::bail!("no ack: {other:?}"),
        }
    }
}

async fn watch(member: &mut Member, since: Option<u64>) -> anyhow::Result<(u64, bool)> {
    watch_with(member, since, Vec::new()).await
}

async fn watch_with(
    member: &mut Member,
    since: Option<u64>,
    held: Vec<HeldRow>,
) -> anyhow::Result<(u64, bool)> {
    match member.request(Request::WatchInbox { since, watch: true, held }).await? {
        Reply::Watching { version, complete } => Ok((version, complete)),
        other => anyhow::bail!("it is not watched: {other:?}"),
    }
}

/// The next row of a conversation that is as it should be.
async fn row_of(
    member: &mut Member,
    name: &ConversationName,
    is: impl Fn(&InboxRow) -> bool,
) -> anyhow::Result<InboxRow> {
    loop {
        let row = member.row().await?;
        if row.conversation == *name && is(&row) {
            return Ok(row);
        }
    }
}

fn titles(rows: &[InboxRow]) -> Vec<&str> {
    rows.iter().map(|row| row.title.as_str()).collect()
}

fn set(name: &ConversationName, archived: bool, pinned: bool) -> Request {
    Request::SetInbox { conversation: name.clone(), archived, muted_until_ms: 0, pinned }
}

#[test]
fn a_client_has_its_list_and_is_told_what_changes() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut bob = site.member(carrier, "bob").await?;
        let first = group(&mut alice, "first", &["bob"]).await?;
        let second = group(&mut alice, "second", &["bob"]).await?;
        assert!(watch(&mut bob, None).await?.1);
        let (rows, next, _) = bob.inbox(None, 50).await?;
        assert_eq!((titles(&rows), next), (vec!["second", "first"], None));
        let body = "ä".repeat(200);
        let seq = publish((&site, carrier), &first, 1, &body).await?;
        let row = row_of(&mut bob, &first, |row| row.unread == 1).await?;
        let last = row.last.expect("a preview");
        let EventKind::Message { body: shown, .. } = &last.kind else { anyhow::bail!("no message") };
        assert_eq!((last.seq, std::str::from_utf8(shown)?), (seq, "ä".repeat(128).as_str()));
        assert!(!row.gone && row.head == seq && row.read == Seq::ZERO);
        let (rows, ..) = bob.inbox(None, 50).await?;
        assert_eq!(titles(&rows), ["first", "second"]);
        bob.done(Request::Mark { conversation: first.clone(), delivered: seq, read: seq }).await?;
        let row = row_of(&mut bob, &first, |row| row.read == seq).await?;
        assert_eq!(row.unread, 0);
        // Nothing that one is not in.
        let mut stranger = site.member(carrier, "stranger").await?;
        watch(&mut stranger, Some(0)).await?;
        publish((&site, carrier), &first, 2, "x").await?;
        alice.done(Request::Rename { conversation: second.clone(), title: "renamed".into() }).await?;
        row_of(&mut bob, &second, |row| row.title == "renamed").await?;
        assert_eq!(stranger.inbox(None, 50).await?.0, []);
        assert_eq!(stranger.refused(set(&first, true, true)).await?, Code::FORBIDDEN);
        bob.done(Request::Leave { conversation: first.clone() }).await?;
        let row = row_of(&mut bob, &first, |row| row.gone).await?;
        assert!(row.last.is_none() && row.title.is_empty() && row.head == Seq::ZERO);
        publish((&site, carrier), &first, 3, "secret").await?;
        publish((&site, carrier), &second, 1, "y").await?;
        let row = bob.row().await?;
        assert_eq!((row.conversation, row.unread), (second.clone(), 1), "nothing more of what was left");
        assert_eq!(titles(&bob.inbox(None, 50).await?.0), ["renamed"]);
        assert_eq!(bob.refused(set(&first, true, true)).await?, Code::FORBIDDEN);
        assert!(stranger.notices().next().is_none());
        let no_end = Request::Inbox { after: Some("x".into()), limit: 1 };
        assert_eq!(bob.refused(no_end).await?, Code::INVALID_REQUEST);
        for member in [alice, bob, stranger] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn a_revoked_message_is_in_no_row() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut bob = site.member(carrier, "bob").await?;
        let name = group(&mut alice, "", &["bob"]).await?;
        watch(&mut bob, None).await?;
        let first = publish((&site, carrier), &name, 1, "stays").await?;
        let second = publish((&site, carrier), &name, 2, "goes").await?;
        row_of(&mut bob, &name, |row| row.unread == 2).await?;
        alice.done(Request::Revoke { conversation: name.clone(), seq: second }).await?;
        let row = row_of(&mut bob, &name, |row| row.unread == 1).await?;
        assert_eq!(row.last.map(|event| event.seq), Some(first));
        let (rows, ..) = bob.inbox(None, 9).await?;
        assert_eq!((rows[0].unread, rows[0].last.as_ref().map(|event| event.seq)), (1, Some(first)));
        for member in [alice, bob] {
            member.close().await;
        }
        Ok(())
    })
}

/// How a row stands: unread, mentions, the seq of what is shown.
type Stands = (u32, u32, Option<Seq>);

fn stands(row: &InboxRow) -> Stands {
    (row.unread, row.mentions, row.last.as_ref().map(|event| event.seq))
}

/// Waits until the latest rows stand like this.
async fn told(
    member: &mut Member,
    rows: &mut BTreeMap<ConversationName, InboxRow>,
    expected: &[(&ConversationName, Stands)],
) -> anyhow::Result<()> {
    while !expected.iter().all(|(name, as_it_is)| rows.get(name).map(stands).as_ref() == Some(as_it_is)) {
        let row = member.row().await?;
        rows.insert(row.conversation.clone(), row);
    }
    Ok(())
}

#[test]
fn what_expires_goes_out_of_rows_that_were_told() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut bob = site.member(carrier, "bob").await?;
        // Each in a conversation of its own, since whatever else happens there has the row told anew.
        let counted = group(&mut alice, "", &["bob"]).await?;
        let shown = group(&mut alice, "", &["bob"]).await?;
        let aged = group(&mut alice, "", &["bob"]).await?;
        let retention = Retention { age_s: LIFE_TOGETHER_MS / 1_000, ..Retention::FOR_EVER };
        let aging =
            Request::SetRetention { conversation: aged.clone(), retention: Some(retention), dry_run: false };
        alice.done(aging).await?;
        watch(&mut bob, None).await?;

        let goes = publish_for((&site, carrier), &counted, 1, LIFE_TOGETHER_MS).await?;
        let stays = publish((&site, carrier), &counted, 2, "stays").await?;
        let before = publish((&site, carrier), &shown, 1, "before").await?;
        let last = publish_for((&site, carrier), &shown, 2, LIFE_TOGETHER_MS).await?;
        bob.done(Request::Mark { conversation: shown.clone(), delivered: last, read: last }).await?;
        let old = publish((&site, carrier), &aged, 1, "aged").await?;
        let mut rows = BTreeMap::new();
        let expected =
            [(&counted, (2, 1, Some(stays))), (&shown, (0, 0, Some(last))), (&aged, (1, 0, Some(old)))];
        told(&mut bob, &mut rows, &expected).await?;
        assert!(goes < stays && rows.values().all(|row| row.stale_ms > row.version), "{rows:?}");
        let row = &rows[&aged];
        let stored_ms = row.last.as_ref().map(|event| event.time_ms);
        assert_eq!(stored_ms, row.stale_ms.checked_sub(LIFE_TOGETHER_MS));
        // Nothing happens but that time goes on.
        let expected =
            [(&counted, (1, 0, Some(stays))), (&shown, (0, 0, Some(before))), (&aged, (0, 0, None))];
        told(&mut bob, &mut rows, &expected).await?;
        assert!(rows.values().all(|row| row.stale_ms == 0), "{rows:?}");
        assert_eq!(rows[&shown].head, last);
        for member in [alice, bob] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn rows_of_pages_and_of_before_are_told_anew_when_they_are_stale() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut bob = site.member(carrier, "bob").await?;
        let name = group(&mut alice, "", &["bob"]).await?;
        publish_for((&site, carrier), &name, 1, LIFE_MS).await?;
        // What has changed before is not told.
        watch(&mut bob, None).await?;
        assert_eq!(bob.inbox(None, 50).await?.0[0].unread, 1);
        row_of(&mut bob, &name, |row| row.unread == 0).await?;

        // A second watch on a connection knows what the first one did.
        publish_for((&site, carrier), &name, 2, LIFE_MS).await?;
        let row = row_of(&mut bob, &name, |row| row.unread == 1).await?;
        // With the next one it is known to have come, so that the row is none that may be lost.
        let other = group(&mut alice, "", &["bob"]).await?;
        row_of(&mut bob, &other, |row| !row.gone).await?;
        watch(&mut bob, None).await?;
        row_of(&mut bob, &name, |row| row.unread == 0).await?;

        // Whoever comes back says what it has.
        publish_for((&site, carrier), &name, 3, LIFE_MS).await?;
        let later = row_of(&mut bob, &name, |row| row.unread == 1).await?;
        bob.close().await;
        for row in [later, row] {
            let mut bob = site.member(carrier, "bob").await?;
            let held = vec![HeldRow { conversation: name.clone(), stale_ms: row.stale_ms }];
            watch_with(&mut bob, None, held).await?;
            row_of(&mut bob, &name, |row| row.unread == 0).await?;
            bob.close().await;
        }
        alice.close().await;
        Ok(())
    })
}

#[test]
fn two_devices_agree_on_what_is_archived_muted_and_pinned() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut phone = site.member(carrier, "bob").await?;
        let mut laptop = site.member(carrier, "bob").await?;
        let first = group(&mut phone, "first", &[]).await?;
        let second = group(&mut phone, "second", &[]).await?;
        watch(&mut laptop, None).await?;
        let mut own = laptop.enter(&ConversationName::me(), Some(Start::Live)).await?;
        let (on, seq) = phone.done(set(&first, false, true)).await?;
        assert!(on.is_me() && seq > Seq::ZERO);
        let row = row_of(&mut laptop, &first, |row| row.pinned).await?;
        assert!(!row.archived);
        let event = laptop.event(&mut own).await?.unwrap();
        let expected = EventKind::InboxSet {
            conversation: first.clone(),
            archived: false,
            muted_until_ms: 0,
            pinned: true,
        };
        assert_eq!((event.seq, event.kind), (seq, expected));
        let (rows, ..) = laptop.inbox(None, 50).await?;
        assert_eq!(titles(&rows), ["first", "second"], "the pinned one comes first");
        assert_eq!(phone.done(set(&first, false, true)).await?.1, Seq::ZERO, "the same again");
        let mute = Request::SetInbox {
            conversation: second.clone(),
            archived: true,
            muted_until_ms: u64::MAX >> 11,
            pinned: false,
        };
        laptop.done(mute).await?;
        let (rows, ..) = phone.inbox(None, 50).await?;
        assert!(rows[1].archived && rows[1].muted_until_ms == u64::MAX >> 11);
        for member in [phone, laptop] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn a_page_of_the_inbox_has_so_many_rows_and_no_more() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        for _ in 0..=INBOX_PAGE_MAX {
            group(&mut alice, "", &[]).await?;
        }
        let (rows, next, _) = alice.inbox(None, u32::MAX).await?;
        assert_eq!(rows.len(), INBOX_PAGE_MAX as usize);
        let (rows, next, _) = alice.inbox(next, u32::MAX).await?;
        assert_eq!((rows.len(), next), (1, None));
        alice.close().await;
        Ok(())
    })
}

#[test]
fn pages_go_on_where_they_were() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut names = Vec::new();
        for n in 0..23 {
            group(&mut alice, &format!("{n:02}"), &[]).await?;
            names.push(format!("{n:02}"));
        }
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let (rows, next, _) = alice.inbox(after, 5).await?;
            assert!(rows.len() <= 5);
            listed.extend(rows.into_iter().map(|row| (std::cmp::Reverse(row.time_ms), row.title)));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert!(listed.is_sorted_by_key(|(time, _)| *time), "the latest first: {listed:?}");
        let mut titles: Vec<_> = listed.into_iter().map(|(_, title)| title).collect();
        titles.sort();
        assert_eq!(titles, names, "each once");
        alice.close().await;
        Ok(())
    })
}

#[tokio::test]
async fn who_was_away_over_a_kill_9_is_told_what_has_changed() -> anyhow::Result<()> {
    for carrier in Over::ALL {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        let server = ServerProcess::start(&data_dir)?;
        let site = Site::of_process(&server, &data_dir);
        let mut alice = site.member(carrier, "alice").await?;
        let mut bob = site.member(carrier, "bob").await?;
        let first = group(&mut alice, "first", &["bob"]).await?;
        let second = group(&mut alice, "second", &["bob"]).await?;
        let (version, _) = watch(&mut bob, None).await?;
        bob.close().await;
        alice.done(Request::Mark { conversation: second.clone(), delivered: Seq(3), read: Seq(3) }).await?;
        let seq = publish((&site, carrier), &first, 1, "while you were away").await?;
        server.kill()?;

        let server = ServerProcess::start(&data_dir)?;
        let site = Site::of_process(&server, &data_dir);
        let mut bob = site.member(carrier, "bob").await?;
        assert!(watch(&mut bob, Some(version)).await?.1);
        let row = row_of(&mut bob, &first, |row| row.unread == 1).await?;
        assert_eq!((row.head, row.version > version), (seq, true));
        let (rows, ..) = bob.inbox(None, 50).await?;
        assert_eq!(rows[0].head, seq);
        let mut alice = site.member(carrier, "alice").await?;
        let (rows, ..) = alice.inbox(None, 50).await?;
        let read = rows.iter().find(|row| row.conversation == second).map(|row| row.read);
        assert_eq!(read, Some(Seq(3)));
        server.kill()?;
    }
    Ok(())
}
