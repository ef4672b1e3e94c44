//! Limits of what is said of messages.

use quoth_protocol::frame::{ClientFrame, Publish, ServerFrame};
use quoth_protocol::limits::{MENTIONS_MAX, MESSAGES_PAGE_MAX, REACTION_BYTES_MAX, REACTIONS_MAX};
use quoth_protocol::reply::Reply;
use quoth_protocol::{Code, Seq, UserId};
use quoth_tests::device::Next;

use super::world::{create_room, name, user, with_each_carrier};
use super::{edit_with, react, states};

fn users(count: usize) -> Vec<UserId> {
    (0..count).map(|n| user(&format!("user {n}"))).collect()
}

#[test]
fn messages_have_so_many_mentions_and_reactions() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&[])).await?;
        let mut stream = alice.enter(&name("room"), None).await?;
        let mut publish = Publish { mentions: users(MENTIONS_MAX), ..Publish::new(1, "hey") };
        alice.send(&mut stream, &ClientFrame::Publish(publish.clone())).await?;
        let Next::Frame(ServerFrame::Ack { seq, .. }) = alice.next(&mut stream).await? else {
            anyhow::bail!("not stored")
        };
        (publish.n, publish.mentions) = (2, users(MENTIONS_MAX + 1));
        alice.send(&mut stream, &ClientFrame::Publish(publish)).await?;
        let refused = alice.next(&mut stream).await?;
        let is_too_many =
            matches!(refused, Next::Frame(ServerFrame::Refused { n: 2, code: Code::TOO_MANY, .. }));
        assert!(is_too_many, "{refused:?}");
        alice.done(edit_with(seq, users(MENTIONS_MAX))).await?;
        assert_eq!(alice.refused(edit_with(seq, users(MENTIONS_MAX + 1))).await?, Code::TOO_MANY);

        alice.done(react(seq, &"x".repeat(REACTION_BYTES_MAX), true)).await?;
        for wrong in ["", "a\nb", &"x".repeat(REACTION_BYTES_MAX + 1)] {
            assert_eq!(alice.refused(react(seq, wrong, true)).await?, Code::INVALID_REQUEST);
        }
        for n in 1..REACTIONS_MAX {
            alice.done(react(seq, &format!("r{n}"), true)).await?;
        }
        assert_eq!(alice.refused(react(seq, "more", true)).await?, Code::TOO_MANY);
        alice.done(react(seq, "r1", false)).await?;
        alice.done(react(seq, "more", true)).await?;
        Ok(())
    })
}

#[test]
fn one_request_asks_for_so_many_messages_and_gets_what_fits() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&[])).await?;
        let mut stream = alice.enter(&name("room"), None).await?;
        let mut said = Vec::new();
        for n in 1..=4 {
            let seq = alice.publish(&mut stream, n, "short").await?.unwrap();
            alice.done(super::edit(seq, &"long ".repeat(6_000))).await?;
            said.push(seq);
        }
        let many: Vec<Seq> = (1..=MESSAGES_PAGE_MAX as u64 + 1).map(Seq).collect();
        assert_eq!(alice.refused(states(&many)).await?, Code::TOO_MANY);
        let (mut asked, mut told) = (said.clone(), Vec::new());
        while !asked.is_empty() {
            let Reply::Messages { states, absent, more } = alice.request(states(&asked)).await? else {
                anyhow::bail!("no states")
            };
            assert!(absent.is_empty() && !states.is_empty() && states.len() < 4);
            assert_eq!(more, states.len() < asked.len());
            asked.drain(..states.len());
            told.extend(states.into_iter().map(|state| state.seq));
        }
        assert_eq!(told, said);
        Ok(())
    })
}
