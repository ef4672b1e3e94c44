//! Who sends faster than a rate allows is read more slowly: nothing is dropped or refused, and nobody else is
//! slowed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use quoth_protocol::frame::Start;
use quoth_protocol::limits::STREAMS_PER_SECOND_MAX;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_server::session::Limits;
use quoth_tests::member::Member;
use quoth_tests::websocket::{Handshake, Socket};
use quoth_tests::wire::{Frames, Peer};

use crate::requests::signed_in;
use crate::{alice, connect, publish_all, soon, token_of, with_limits, with_server};

/// A rate with a burst of 150.
const PER_SECOND: u32 = 50;

/// So many are sent: the burst, and a second's worth.
const SENT: u64 = 200;

/// How long that lasts at least. The server's clock has whole milliseconds.
const LASTS: Duration = Duration::from_millis(990);

/// How long that and so many more last together: a slow machine between the two makes it no shorter.
fn lasts_with(more: u32) -> Duration {
    LASTS + Duration::from_secs(1) * more / PER_SECOND
}

/// Publishes to `room` in one go, and checks that it was slowed, and that another client was not, which does
/// the same and less. Which of the two was done before the other one is the server's to tell: where clients are
/// held up, all acks are there when they go on.
async fn slowed(slow: &mut Frames, other: &mut Frames) -> anyhow::Result<()> {
    let began_at = Instant::now();
    let ((slow_took, slow_ms), other_ms) = tokio::try_join!(
        async {
            let stored_ms = publish_all(slow, 1..SENT + 1, 1).await?;
            anyhow::Ok((began_at.elapsed(), stored_ms))
        },
        publish_all(other, 1..21, 1)
    )?;
    assert!(slow_took >= LASTS, "{SENT} took {slow_took:?} at {PER_SECOND} a second");
    assert!(other_ms < slow_ms, "another one's were stored at {other_ms} beside {slow_ms}");
    Ok(())
}

async fn opened(peer: &Peer, room: &str, producer: u64) -> anyhow::Result<Frames> {
    Ok(peer.open(room, producer, None).await?.0)
}

#[test]
fn a_connection_that_sends_too_many_frames_is_slowed() -> anyhow::Result<()> {
    let limits = Limits { frames_per_second_max: PER_SECOND, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let (one, other) = (alice(&endpoint, &server).await?, alice(&endpoint, &server).await?);
        let began_at = Instant::now();
        // Of the same user: it is the connection that has sent too much.
        slowed(&mut opened(&one, "room", 1).await?, &mut opened(&other, "room", 2).await?).await?;
        // Its streams share the rate, and what has come of one of them waits in the others.
        let (mut a, mut b) = (opened(&one, "a", 1).await?, opened(&one, "b", 1).await?);
        tokio::try_join!(publish_all(&mut a, 1..31, 1), publish_all(&mut b, 1..31, 1))?;
        let took = began_at.elapsed();
        assert!(took >= lasts_with(60), "60 took {took:?} with a burst");
        Ok(())
    })
}

#[test]
fn a_connection_that_sends_too_many_bytes_is_slowed() -> anyhow::Result<()> {
    const BODY_BYTES: usize = 8_000;
    let limits = Limits { bytes_per_second_max: PER_SECOND * 8_000, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let mut frames = opened(&peer, "room", 1).await?;
        let began_at = Instant::now();
        publish_all(&mut frames, 1..SENT + 1, BODY_BYTES).await?;
        let took = began_at.elapsed();
        assert!(took >= LASTS, "{SENT} of {BODY_BYTES} bytes took {took:?}");
        Ok(())
    })
}

#[test]
fn a_user_that_publishes_too_much_is_slowed_over_all_connections() -> anyhow::Result<()> {
    let limits = Limits { user_publishes_per_second_max: PER_SECOND, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let bob = token_of(&server, "bob")?;
        let (one, two) = (alice(&endpoint, &server).await?, alice(&endpoint, &server).await?);
        let other = connect(&endpoint, &server, &bob).await?;
        let (mut a, mut b) = (opened(&one, "room", 1).await?, opened(&two, "room", 2).await?);
        let mut others = opened(&other, "room", 3).await?;
        let began_at = Instant::now();
        let ((took, alices_ms), bobs_ms) = tokio::try_join!(
            async {
                let half = SENT / 2;
                let (a, b) = (publish_all(&mut a, 1..half + 1, 1), publish_all(&mut b, 1..half + 1, 1));
                let (a_ms, b_ms) = tokio::try_join!(a, b)?;
                anyhow::Ok((began_at.elapsed(), a_ms.max(b_ms)))
            },
            publish_all(&mut others, 1..21, 1)
        )?;
        assert!(took >= LASTS, "alice took {took:?}");
        assert!(bobs_ms < alices_ms, "bob's were stored at {bobs_ms}, alice's at {alices_ms}");
        // A connection that comes later, over WebSocket, has nothing left either.
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        socket.open(1, "room", 4, None).await?;
        for n in 1..=25 {
            socket.send(1, &[quoth_tests::wire::publish(n, "x")]).await?;
        }
        let mut acked = 0;
        while acked < 25 {
            acked += soon("an ack", socket.next_all()).await??.len();
        }
        let took = began_at.elapsed();
        assert!(took >= lasts_with(25), "25 took {took:?} with a burst");
        Ok(())
    })
}

#[test]
fn a_conversation_to_which_too_much_is_published_is_slowed_alone() -> anyhow::Result<()> {
    let limits = Limits { conversation_publishes_per_second_max: PER_SECOND, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let bob = connect(&endpoint, &server, &token_of(&server, "bob")?).await?;
        let alice = alice(&endpoint, &server).await?;
        let (mut a, mut b) = (opened(&alice, "room", 1).await?, opened(&bob, "room", 2).await?);
        let mut elsewhere = opened(&alice, "another room", 1).await?;
        let began_at = Instant::now();
        let ((took, here_ms), there_ms) = tokio::try_join!(
            async {
                let half = SENT / 2;
                let (a, b) = (publish_all(&mut a, 1..half + 1, 1), publish_all(&mut b, 1..half + 1, 1));
                let (a_ms, b_ms) = tokio::try_join!(a, b)?;
                anyhow::Ok((began_at.elapsed(), a_ms.max(b_ms)))
            },
            publish_all(&mut elsewhere, 1..21, 1)
        )?;
        assert!(took >= LASTS, "it took {took:?}");
        assert!(there_ms < here_ms, "stored at {here_ms} here, at {there_ms} there");
        Ok(())
    })
}

/// Asks so many times in one go and waits for the answers. Gives when the last of it was done, in milliseconds
/// since 1970: what it asks for at the end is stored.
async fn ask(member: &mut Member, times: u64) -> anyhow::Result<u64> {
    for _ in 1..times {
        member.send_request(Request::Blocked).await?;
    }
    let last = member.send_request(create(Vec::new())).await?;
    let mut done_ms = None;
    for _ in 0..times {
        match member.any_reply().await? {
            (id, Reply::Done { time_ms, .. }) if id == last => done_ms = Some(time_ms),
            (id, other) => anyhow::ensure!(id != last, "{other:?}"),
        }
    }
    done_ms.context("the last one is not answered")
}

#[test]
fn a_user_that_asks_too_much_is_slowed_over_all_connections() -> anyhow::Result<()> {
    let limits = Limits { user_requests_per_second_max: PER_SECOND, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let (mut one, mut two) = (signed_in(&server, "alice").await?, signed_in(&server, "alice").await?);
        let mut bob = signed_in(&server, "bob").await?;
        let began_at = Instant::now();
        let ((took, alices_ms), bobs_ms) = tokio::try_join!(
            async {
                let (one_ms, two_ms) = tokio::try_join!(ask(&mut one, SENT / 2), ask(&mut two, SENT / 2))?;
                anyhow::Ok((began_at.elapsed(), one_ms.max(two_ms)))
            },
            ask(&mut bob, 20)
        )?;
        assert!(took >= LASTS, "alice took {took:?}");
        assert!(bobs_ms < alices_ms, "bob's were done at {bobs_ms}, alice's at {alices_ms}");
        Ok(())
    })
}

fn react(on: bool) -> Request {
    let (conversation, reaction) = (room(), "+1".to_owned());
    Request::React { conversation, seq: Seq(1), reaction, on }
}

fn room() -> ConversationName {
    ConversationName::new("room").expect("a valid name")
}

#[test]
fn edits_and_reactions_count_among_the_publishes_of_a_user() -> anyhow::Result<()> {
    let limits = Limits { user_publishes_per_second_max: PER_SECOND, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let mut alice = signed_in(&server, "alice").await?;
        let mut stream = alice.enter(&room(), None).await?;
        alice.publish(&mut stream, 1, "x").await?.map_err(|refused| anyhow!("{refused:?}"))?;
        let began_at = Instant::now();
        for n in 0..SENT {
            alice.send_request(react(n % 2 == 0)).await?;
        }
        for _ in 0..SENT {
            alice.any_reply().await?;
        }
        let took = began_at.elapsed();
        assert!(took >= LASTS, "{SENT} took {took:?}");
        Ok(())
    })
}

#[test]
fn edits_and_reactions_count_among_the_publishes_to_a_conversation() -> anyhow::Result<()> {
    let limits = Limits { conversation_publishes_per_second_max: 1, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let mut alice = signed_in(&server, "alice").await?;
        let mut stream = alice.enter(&room(), None).await?;
        alice.publish(&mut stream, 1, "x").await?.map_err(|refused| anyhow!("{refused:?}"))?;
        // Three seconds' worth, and as many as the test is slow.
        for n in 0..60 {
            match alice.request(react(n % 2 == 0)).await? {
                Reply::Done { .. } => {}
                Reply::Refused { code: Code::RATE_LIMITED, retry_after_ms: 1..=1_000, .. } => return Ok(()),
                other => bail!("{other:?}"),
            }
        }
        bail!("all are stored")
    })
}

fn create(members: Vec<UserId>) -> Request {
    let (kind, title) = (ConversationKind::Channel, String::new());
    Request::Create { conversation: None, kind, title, members, open: false }
}

/// A group of bob, and of carol, who may only read.
async fn group(bob: &mut Member) -> anyhow::Result<ConversationName> {
    Ok(bob.done(create(vec![UserId::new("carol")?])).await?.0)
}

/// Who has no say in a conversation takes nothing of what others may say there.
#[test]
fn who_may_not_speak_in_a_conversation_uses_up_nothing_of_its_rate() -> anyhow::Result<()> {
    const REFUSED: u64 = 30;
    let limits = Limits { conversation_publishes_per_second_max: 1, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let (mut bob, mut eve) = (signed_in(&server, "bob").await?, signed_in(&server, "eve").await?);
        let mut carol = signed_in(&server, "carol").await?;
        let room = group(&mut bob).await?;
        let (conversation, seq) = (room.clone(), Seq(1));
        let react = Request::React { conversation, seq, reaction: "+1".to_owned(), on: true };
        let (conversation, body, mentions) = (room.clone(), "x".into(), Vec::new());
        let edit = Request::Edit { conversation, seq, body, mentions };
        let mut reads = carol.enter(&room, Some(Start::Live)).await?;
        let began_at = Instant::now();
        for n in 1..=REFUSED {
            for request in [&react, &edit] {
                assert_eq!(eve.refused(request.clone()).await?, Code::FORBIDDEN);
                assert_eq!(carol.refused(request.clone()).await?, Code::FORBIDDEN);
            }
            let published = carol.publish(&mut reads, n, "x").await?;
            assert_eq!(published.err().map(|(code, _)| code), Some(Code::FORBIDDEN));
        }
        // Had they counted, each but the first ones had waited for a second.
        let took = began_at.elapsed();
        assert!(took < Duration::from_secs(REFUSED - 10), "{REFUSED} took {took:?}");
        let mut stream = bob.enter(&room, None).await?;
        bob.publish(&mut stream, 1, "x").await?.map_err(|refused| anyhow!("{refused:?}"))?;
        let (conversation, reaction) = (room.clone(), "+1".to_owned());
        bob.done(Request::React { conversation, seq: Seq(4), reaction, on: true }).await?;
        Ok(())
    })
}

#[test]
fn who_publishes_on_behalf_of_users_is_not_slowed() -> anyhow::Result<()> {
    let limits = Limits {
        frames_per_second_max: 1,
        bytes_per_second_max: 1,
        user_publishes_per_second_max: 1,
        conversation_publishes_per_second_max: 1,
        user_requests_per_second_max: 1,
        connections_per_user_max: 1,
        ..Limits::default()
    };
    with_limits(limits, |endpoint, server| async move {
        let token = server.service_token()?;
        let (one, _other) =
            (connect(&endpoint, &server, &token).await?, connect(&endpoint, &server, &token).await?);
        let mut frames = opened(&one, "room", 1).await?;
        // At the rates that are set it would take minutes.
        publish_all(&mut frames, 1..SENT + 1, 100).await?;
        Ok(())
    })
}

#[test]
fn a_flood_of_streams_waits() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let began_at = Instant::now();
        // More than two seconds' worth, and as many as the client has credit for beyond the server's back.
        for _ in 0..2 * STREAMS_PER_SECOND_MAX + 200 {
            let (mut send, _recv) = peer.quic.open_bi().await?;
            send.finish()?;
        }
        let took = began_at.elapsed();
        assert!(took >= Duration::from_secs(1), "a whole second lies between, but it took {took:?}");
        peer.open("room", 1, None).await?;
        peer.close(&endpoint).await;
        Ok(())
    })
}
