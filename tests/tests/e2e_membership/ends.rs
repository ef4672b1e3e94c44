//! What a membership gave ends with it.

use std::time::{Duration, Instant};

use quoth_protocol::frame::{ClientFrame, EventKind, ServerFrame, Start};
use quoth_protocol::membership::GoneCause;
use quoth_protocol::{Code, ConversationName};
use quoth_tests::device::Next;
use quoth_tests::member::text;

use super::world::{ban, create_room, join, leave, name, remove, set, user, with_each_carrier};
use quoth_protocol::membership::Role;

/// A live stream ends within so long after its user was removed, as is promised.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn who_is_removed_reads_up_to_there_and_nothing_behind_it() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut of_alice = alice.enter(&room, Some(Start::Live)).await?;
        let mut of_bob = bob.enter(&room, Some(Start::After(quoth_protocol::Seq::ZERO))).await?;
        alice.publish(&mut of_alice, 1, "hello").await?.unwrap();
        let (_, left) = alice.done(remove("bob")).await?;
        // Behind the removal, and on its way at the same time.
        let after = alice.publish(&mut of_alice, 2, "a secret").await?.unwrap();
        assert_eq!(after, left.next());
        let mut last = None;
        let code = loop {
            match bob.event(&mut of_bob).await? {
                Ok(event) => last = Some(event),
                Err(code) => break code,
            }
        };
        assert_eq!(code, Code::FORBIDDEN);
        let last = last.expect("there were events");
        assert_eq!((last.seq, last.sender), (left, user("alice")));
        assert_eq!(last.kind, EventKind::MemberGone { user: user("bob"), cause: GoneCause::Removed });

        let (events, head) = bob.fetch(&room).await?.unwrap();
        assert_eq!((head, events.last().map(|event| event.seq)), (left, Some(left)));
        assert!(events.iter().all(|event| text(event) != "a secret"));
        let mut again = bob.enter(&room, Some(Start::Last(10))).await?;
        assert_eq!(again.head, left, "the head says nothing of what came later");
        let mut seqs = Vec::new();
        while let Ok(event) = bob.event(&mut again).await? {
            seqs.push(event.seq);
        }
        assert_eq!(seqs.last(), Some(&left));
        assert_eq!(bob.open(&room, None).await?.unwrap_err(), Code::FORBIDDEN, "nor publishes");

        alice.done(set("bob", Role::Reader)).await?;
        let mut back = bob.enter(&room, Some(Start::After(left))).await?;
        assert_eq!(text(&bob.event(&mut back).await?.unwrap()), "a secret", "a return restores all");
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

/// What else the machine does can only make it later, so it is enough that one of some tries is in time.
#[test]
fn a_live_stream_ends_soon_after_its_user_is_put_out() -> anyhow::Result<()> {
    const TRIES: usize = 10;
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&[])).await?;
        for (out, back) in [(remove("bob"), None), (ban("bob", u64::MAX), Some(ban("bob", 0)))] {
            let mut tries = Vec::new();
            while tries.last().is_none_or(|took| *took >= ENDS_WITHIN) {
                anyhow::ensure!(tries.len() < TRIES, "{out:?}: it took {tries:?}");
                alice.done(set("bob", Role::Member)).await?;
                let mut of_bob = bob.enter(&room, Some(Start::Live)).await?;
                let began = Instant::now();
                alice.done(out.clone()).await?;
                while bob.event(&mut of_bob).await?.is_ok() {}
                tries.push(began.elapsed());
                if let Some(back) = &back {
                    alice.done(back.clone()).await?;
                }
            }
        }
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

#[test]
fn who_comes_back_at_once_reads_on_in_the_same_stream() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        loop {
            let mut of_bob = bob.enter(&room, Some(Start::Live)).await?;
            let (_, left) = alice.done(remove("bob")).await?;
            // So the stream has come to its end.
            assert_eq!(bob.event(&mut of_bob).await?.map(|event| event.seq), Ok(left));
            let (_, back) = alice.done(set("bob", Role::Member)).await?;
            match bob.event(&mut of_bob).await? {
                Ok(event) => {
                    assert_eq!(event.seq, back);
                    let more = tokio::time::timeout(ENDS_WITHIN, bob.event(&mut of_bob)).await;
                    assert!(more.is_err(), "{more:?}");
                    break;
                }
                // The return was too late for that, as it may be on a machine that has much to do.
                Err(code) => assert_eq!(code, Code::FORBIDDEN),
            }
        }
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

#[test]
fn who_only_publishes_is_refused_from_then_on() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut of_bob = bob.enter(&room, None).await?;
        bob.publish(&mut of_bob, 1, "hello").await?.unwrap();
        bob.done(leave()).await?;
        assert_eq!(bob.publish(&mut of_bob, 2, "still here").await?, Err((Code::FORBIDDEN, 0)));
        alice.done(set("bob", Role::Member)).await?;
        bob.publish(&mut of_bob, 3, "back").await?.unwrap();
        alice.done(set("bob", Role::Reader)).await?;
        assert_eq!(bob.publish(&mut of_bob, 4, "again").await?, Err((Code::FORBIDDEN, 0)));
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

#[test]
fn who_is_banned_reads_nothing_and_does_not_come_back() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut of_bob = bob.enter(&room, Some(Start::Live)).await?;
        let mut me = bob.enter(&ConversationName::me(), Some(Start::Live)).await?;
        alice.done(ban("bob", u64::MAX)).await?;
        while bob.event(&mut of_bob).await?.is_ok() {}
        let told = bob.event(&mut me).await?.unwrap();
        let gone = EventKind::BelongsNoMore { conversation: room.clone(), cause: GoneCause::Banned };
        assert_eq!((told.kind, told.sender), (gone, user("alice")));
        assert_eq!(bob.open(&room, Some(Start::Live)).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(bob.fetch(&room).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(bob.refused(join(None)).await?, Code::FORBIDDEN);
        assert_eq!(alice.refused(set("bob", Role::Member)).await?, Code::INVALID_REQUEST);
        alice.done(ban("bob", 0)).await?;
        assert!(bob.fetch(&room).await?.is_ok(), "as one who has left");
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

#[test]
fn who_has_left_is_not_seen_and_sees_nobody() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut of_alice = alice.enter(&room, Some(Start::Live)).await?;
        let mut of_bob = bob.enter(&room, Some(Start::Live)).await?;
        let users = async |member: &mut quoth_tests::member::Member, stream: &mut _, expected: u32| loop {
            match member.next(stream).await? {
                Next::Frame(ServerFrame::Roster { users, .. }) if users == expected => return anyhow::Ok(()),
                Next::Frame(_) => {}
                other => anyhow::bail!("no roster of {expected}: {other:?}"),
            }
        };
        users(&mut alice, &mut of_alice, 2).await?;
        users(&mut bob, &mut of_bob, 2).await?;
        bob.done(leave()).await?;
        // Nothing comes behind the event, whatever happens there meanwhile: neither who is there nor what is
        // said.
        let (mut has_left, ended) = (false, std::cell::Cell::new(false));
        let reads = async {
            loop {
                match bob.next(&mut of_bob).await? {
                    Next::Frame(ServerFrame::Event(event)) => {
                        assert!(!has_left, "behind the end: {event:?}");
                        has_left = matches!(event.kind, EventKind::MemberGone { .. });
                    }
                    Next::Frame(ServerFrame::Roster { .. }) => assert!(!has_left, "a roster behind the end"),
                    Next::Reset(Code::FORBIDDEN) => break,
                    other => anyhow::bail!("{other:?}"),
                }
            }
            ended.set(true);
            anyhow::Ok(())
        };
        let talks = async {
            let mut n = 0;
            while !ended.get() {
                n += 1;
                alice.publish(&mut of_alice, n, "still here").await?.unwrap();
            }
            anyhow::Ok(())
        };
        tokio::try_join!(reads, talks)?;
        users(&mut alice, &mut of_alice, 1).await?;
        assert!(has_left);
        let mut past = bob.enter(&room, Some(Start::Last(1))).await?;
        alice.send_control(&ClientFrame::Typing { conversation: room.clone() }).await?;
        loop {
            match bob.next(&mut past).await? {
                Next::Frame(ServerFrame::Event(_)) => {}
                Next::Reset(Code::FORBIDDEN) => break,
                other => anyhow::bail!("{other:?}"),
            }
        }
        bob.request(quoth_protocol::request::Request::Blocked).await?;
        assert_eq!(bob.notices().count(), 0, "nobody types for who has left");
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}
