//! Changes that meet: one comes first, and the other one is judged by it.

use quoth_protocol::frame::{EventKind, ServerFrame, Start};
use quoth_protocol::membership::Role;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, Seq};
use quoth_tests::device::Next;
use quoth_tests::member::text;
use quoth_tests::wire::publish;

use super::world::{create_room, name, remove, set, with_each_carrier};

#[test]
fn of_two_admins_who_remove_each_other_one_does() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let (mut bob, mut carol) = (site.member(carrier, "bob").await?, site.member(carrier, "carol").await?);
        alice.done(create_room(&[])).await?;
        for round in 0..20 {
            alice.done(set("bob", Role::Admin)).await?;
            alice.done(set("carol", Role::Admin)).await?;
            let (by_bob, by_carol) =
                (bob.send_request(remove("carol")).await?, carol.send_request(remove("bob")).await?);
            let replies = [bob.reply(by_bob).await?, carol.reply(by_carol).await?];
            let done =
                replies.iter().filter(|reply| matches!(reply, Reply::Done { seq, .. } if *seq > Seq::ZERO));
            assert_eq!(done.count(), 1, "round {round}: {replies:?}");
            let refused =
                |reply: &&Reply| matches!(reply, Reply::Refused { code, .. } if *code == Code::FORBIDDEN);
            assert_eq!(replies.iter().filter(refused).count(), 1, "round {round}: {replies:?}");
        }
        let members = Request::Members { conversation: name("room"), after: None, limit: 9 };
        let Reply::Members { members, .. } = alice.request(members).await? else {
            anyhow::bail!("no members")
        };
        assert_eq!(members.len(), 2);
        for member in [alice, bob, carol] {
            member.close().await;
        }
        Ok(())
    })
}

/// However publishes and a removal meet, the log has none of the removed user's behind the removal, and the
/// user gets nothing of what others have said behind it.
#[test]
fn nothing_of_who_is_removed_is_stored_behind_that_and_nothing_is_read() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        let mut carol = site.member(carrier, "carol").await?;
        alice.done(create_room(&["carol"])).await?;
        let mut of_carol = carol.enter(&room, None).await?;
        let mut n = 0;
        for round in 0..20 {
            alice.done(set("bob", Role::Member)).await?;
            let mut stream = bob.enter(&room, Some(Start::Live)).await?;
            for _ in 0..10 {
                n += 1;
                bob.send(&mut stream, &publish(n, format!("{n} of bob"))).await?;
            }
            let removal = alice.send_request(remove("bob")).await?;
            for _ in 0..10 {
                n += 1;
                carol.send(&mut of_carol, &publish(n, format!("{n} of carol"))).await?;
                bob.send(&mut stream, &publish(n, format!("{n} of bob"))).await?;
            }
            let Reply::Done { seq: left, .. } = alice.reply(removal).await? else {
                anyhow::bail!("not removed")
            };
            loop {
                match bob.next(&mut stream).await? {
                    Next::Frame(ServerFrame::Event(event)) => {
                        assert!(
                            event.seq <= left,
                            "round {round}: {event:?} is behind the removal at {left}"
                        );
                    }
                    Next::Frame(_) => {}
                    Next::Reset(Code::FORBIDDEN) => break,
                    other => anyhow::bail!("{other:?}"),
                }
            }
            for _ in 0..10 {
                carol.next(&mut of_carol).await?;
            }
            let (events, _) = alice.fetch(&room).await?.unwrap();
            let behind = events.iter().filter(|event| event.seq > left && event.sender.as_str() == "bob");
            assert_eq!(behind.map(text).collect::<Vec<_>>(), [""; 0], "round {round}");
            let last = events.iter().find(|event| event.seq == left).map(|event| &event.kind);
            assert!(matches!(last, Some(EventKind::MemberGone { .. })), "round {round}: {last:?}");
        }
        for member in [alice, bob, carol] {
            member.close().await;
        }
        Ok(())
    })
}
