//! How far users have got and read, with real servers, over QUIC and WebSocket alike.

use anyhow::bail;
use quoth_protocol::frame::{ClientFrame, ServerFrame, Start};
use quoth_protocol::membership::{ConversationKind, Permissions};
use quoth_protocol::reply::{ReceiptInfo, Reply};
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_tests::device::{Next, Over};
use quoth_tests::member::{Member, Stream};
use quoth_tests::process::ServerProcess;
use quoth_tests::site::{Site, with_each_carrier};

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

async fn group(owner: &mut Member, members: &[&str]) -> anyhow::Result<ConversationName> {
    let create = Request::Create {
        conversation: None,
        kind: ConversationKind::Group,
        title: String::new(),
        members: members.iter().map(|name| user(name)).collect(),
        open: false,
    };
    Ok(owner.done(create).await?.0)
}

fn mark(conversation: &ConversationName, delivered: u64, read: u64) -> Request {
    Request::Mark { conversation: conversation.clone(), delivered: Seq(delivered), read: Seq(read) }
}

async fn receipts(
    member: &mut Member,
    of: &ConversationName,
    seq: Seq,
) -> anyhow::Result<(u32, u32, Vec<ReceiptInfo>)> {
    match member.request(Request::Receipts { conversation: of.clone(), seq }).await? {
        Reply::Receipts { delivered, read, users } => Ok((delivered, read, users)),
        other => bail!("no receipts: {other:?}"),
    }
}

/// Waits until a stream tells that a user is there.
async fn told(member: &mut Member, stream: &mut Stream, of: &str, at: (u64, u64)) -> anyhow::Result<()> {
    let mut before = (0, 0);
    loop {
        match member.next(stream).await? {
            Next::Frame(ServerFrame::Receipt { user: who, delivered, read }) if who == user(of) => {
                let is = (delivered.0, read.0);
                assert!(is.0 >= before.0 && is.1 >= before.1, "{is:?} behind {before:?}");
                if is == at {
                    return Ok(());
                }
                before = is;
            }
            Next::Frame(_) => {}
            other => bail!("no receipt: {other:?}"),
        }
    }
}

#[test]
fn readers_are_told_how_far_others_are_and_devices_share_it() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let name = group(&mut alice, &["bob"]).await?;
        let mut alices = alice.enter(&name, Some(Start::Live)).await?;
        for n in 1..=5 {
            alice.publish(&mut alices, n, "x").await?.unwrap();
        }
        let mut phone = site.member(carrier, "bob").await?;
        let mut laptop = site.member(carrier, "bob").await?;
        let mut phones = phone.enter(&name, Some(Start::Last(9))).await?;
        let mut laptops = laptop.enter(&name, Some(Start::Last(9))).await?;
        phone.send(&mut phones, &ClientFrame::Seen { seq: Seq(4) }).await?;
        told(&mut alice, &mut alices, "bob", (4, 4)).await?;
        told(&mut laptop, &mut laptops, "bob", (4, 4)).await?;
        // One that is not open, and from the other device.
        laptop.done(mark(&name, 8, 6)).await?;
        told(&mut alice, &mut alices, "bob", (8, 6)).await?;
        told(&mut phone, &mut phones, "bob", (8, 6)).await?;
        laptop.done(mark(&name, 3, 3)).await?;
        let (delivered, read, users) = receipts(&mut alice, &name, Seq(7)).await?;
        let bob = ReceiptInfo { user: user("bob"), delivered: Seq(8), read: Seq(6) };
        assert_eq!((delivered, read, users), (1, 0, vec![bob]));
        // Whoever comes later is told at once.
        let mut again = site.member(carrier, "alice").await?;
        let mut agains = again.enter(&name, Some(Start::Live)).await?;
        told(&mut again, &mut agains, "bob", (8, 6)).await?;
        for member in [alice, phone, laptop, again] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn nobody_is_told_who_may_not_be() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let name = group(&mut alice, &["bob", "carol"]).await?;
        let mut alices = alice.enter(&name, Some(Start::Live)).await?;
        let seq = alice.publish(&mut alices, 1, "x").await?.unwrap();
        let nowhere = ConversationName::new("nowhere")?;
        let ask = |name: &ConversationName| Request::Receipts { conversation: name.clone(), seq };
        let mut stranger = site.member(carrier, "stranger").await?;
        for name in [&name, &nowhere, &ConversationName::me()] {
            assert_eq!(stranger.refused(ask(name)).await?, Code::FORBIDDEN);
            assert_eq!(stranger.refused(mark(name, 1, 1)).await?, Code::FORBIDDEN);
        }
        let mut bob = site.member(carrier, "bob").await?;
        bob.done(mark(&name, seq.0, seq.0)).await?;
        bob.done(Request::Leave { conversation: name.clone() }).await?;
        assert_eq!(bob.refused(ask(&name)).await?, Code::FORBIDDEN);
        assert_eq!(bob.refused(mark(&name, 1, 1)).await?, Code::FORBIDDEN);
        assert_eq!(receipts(&mut alice, &name, seq).await?, (0, 0, vec![]), "who has left is not there");
        let none = Request::Receipts { conversation: name.clone(), seq: Seq(1) };
        assert_eq!(alice.refused(none).await?, Code::NOT_FOUND_MESSAGE);
        // Who has blocked somebody tells them nothing.
        let mut carol = site.member(carrier, "carol").await?;
        let direct = Request::Create {
            conversation: None,
            kind: ConversationKind::Direct,
            title: String::new(),
            members: vec![user("carol")],
            open: false,
        };
        let (direct, _) = alice.done(direct).await?;
        let mut stream = alice.enter(&direct, Some(Start::Live)).await?;
        let seq = alice.publish(&mut stream, 1, "x").await?.unwrap();
        carol.done(mark(&direct, seq.0, seq.0)).await?;
        assert_eq!(receipts(&mut alice, &direct, seq).await?.1, 1);
        carol.done(Request::Block { user: user("alice"), blocked: true }).await?;
        let ask = Request::Receipts { conversation: direct.clone(), seq };
        assert_eq!(alice.refused(ask).await?, Code::FORBIDDEN);
        for member in [alice, bob, carol, stranger] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn without_members_receipts_are_counted_and_what_needs_members_says_so() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let name = ConversationName::new("room")?;
        let mut alice = site.member_with(carrier, "alice", &["room"]).await?;
        let mut stream = alice.enter(&name, Some(Start::Live)).await?;
        let seq = alice.publish(&mut stream, 1, "x").await?.unwrap();
        assert_eq!(receipts(&mut alice, &name, seq).await?, (0, 0, vec![]));
        for (user, cursor) in [("bob", (1, 0)), ("carol", (1, 1)), ("alice", (1, 1))] {
            let mut member = site.member_with(carrier, user, &["room"]).await?;
            member.done(mark(&name, cursor.0, cursor.1)).await?;
            member.close().await;
        }
        assert_eq!(receipts(&mut alice, &name, seq).await?, (2, 1, vec![]), "not who, and not the sender");

        let describe = Request::Describe { conversation: name.clone() };
        let Reply::Conversation(info) = alice.request(describe.clone()).await? else {
            bail!("it is not described")
        };
        let (kind, permissions, own) = (info.kind, info.permissions, info.own_retention);
        let may = Permissions::READ.union(Permissions::WRITE);
        assert_eq!((kind, permissions, own, info.retention), (None, may, false, Retention::FOR_EVER));

        let of_members = [
            Request::SetInbox {
                conversation: name.clone(),
                archived: false,
                muted_until_ms: 0,
                pinned: true,
            },
            Request::Members { conversation: name.clone(), after: None, limit: 10 },
            Request::WatchPresence { conversation: name.clone(), watch: true },
            Request::SetRetention {
                conversation: name.clone(),
                retention: Some(Retention::FOR_EVER),
                dry_run: false,
            },
            Request::Leave { conversation: name.clone() },
            Request::Rename { conversation: name.clone(), title: "Room".to_owned() },
        ];
        let mut stranger = site.member(carrier, "stranger").await?;
        for request in of_members {
            let Reply::Refused { code, reason, .. } = alice.request(request.clone()).await? else {
                bail!("done: {request:?}")
            };
            assert_eq!(code, Code::INVALID_REQUEST, "{request:?}");
            assert!(reason.contains("has no members"), "{reason}");
            assert_eq!(stranger.refused(request).await?, Code::FORBIDDEN, "who may not read is told nothing");
        }
        assert_eq!(stranger.refused(describe).await?, Code::FORBIDDEN);
        for member in [alice, stranger] {
            member.close().await;
        }
        Ok(())
    })
}

#[tokio::test]
async fn what_was_told_is_there_after_kill_9() -> anyhow::Result<()> {
    for carrier in Over::ALL {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        let (mut name, mut before) = (None, 0);
        for round in 1..=4_u64 {
            let server = ServerProcess::start(&data_dir)?;
            let site = Site::of_process(&server, &data_dir);
            let mut alice = site.member(carrier, "alice").await?;
            let mut bob = site.member(carrier, "bob").await?;
            let name = match &name {
                Some(name) => ConversationName::clone(name),
                None => name.insert(group(&mut alice, &["bob"]).await?).clone(),
            };
            let mut alices = alice.enter(&name, Some(Start::Live)).await?;
            if before > 0 {
                told(&mut alice, &mut alices, "bob", (before, before)).await?;
            }
            let mut bobs = bob.enter(&name, Some(Start::Live)).await?;
            for n in 1..=10 {
                let n = 10 * round + n;
                let seq = alice.publish(&mut alices, n, "x").await?.unwrap();
                bob.event(&mut bobs).await?.unwrap();
                bob.send(&mut bobs, &ClientFrame::Seen { seq }).await?;
                before = seq.0;
            }
            // Whatever was told is stored.
            told(&mut alice, &mut alices, "bob", (before, before)).await?;
            server.kill()?;
        }
    }
    Ok(())
}
