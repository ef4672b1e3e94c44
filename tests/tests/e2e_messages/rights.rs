//! Who may do what to which message.

use quoth_protocol::frame::Start;
use quoth_protocol::membership::Role;
use quoth_protocol::{Code, Seq};
use quoth_tests::device::Over;
use quoth_tests::embedded::EmbeddedServer;

use super::world::{Site, create_room, leave, mute, name, now_ms, set, with_each_carrier};
use super::{edit, hide, react, revoke, states};

#[test]
fn roles_say_whose_messages_may_be_revoked() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut owner = site.member(carrier, "owner").await?;
        let (mut admin, mut bob) = (site.member(carrier, "admin").await?, site.member(carrier, "bob").await?);
        let mut eve = site.member(carrier, "eve").await?;
        owner.done(create_room(&["bob"])).await?;
        owner.done(set("admin", Role::Admin)).await?;
        let mut said = Vec::new();
        for member in [&mut owner, &mut admin, &mut bob] {
            let mut stream = member.enter(&name("room"), Some(Start::Live)).await?;
            for n in 1..=3 {
                said.push(member.publish(&mut stream, n, "message").await?.unwrap());
            }
        }
        let [of_owner, of_admin, of_bob] = [0, 3, 6].map(|first| &said[first..first + 3]);
        assert_eq!(bob.refused(revoke(of_admin[0])).await?, Code::FORBIDDEN);
        assert_eq!(admin.refused(revoke(of_owner[0])).await?, Code::FORBIDDEN);
        assert_eq!(
            owner.refused(edit(of_bob[0], "x")).await?,
            Code::FORBIDDEN,
            "nobody speaks for another one"
        );
        admin.done(revoke(of_bob[0])).await?;
        owner.done(revoke(of_admin[0])).await?;
        bob.done(revoke(of_bob[1])).await?;
        // Who has not the room is told nothing of what is in it.
        for seq in [of_bob[2], of_bob[0], Seq(999)] {
            for request in [revoke(seq), edit(seq, "x"), react(seq, "+1", true), hide(seq), states(&[seq])] {
                assert_eq!(eve.refused(request).await?, Code::FORBIDDEN);
            }
        }
        // Who is muted says nothing else, and may take back.
        owner.done(mute(Some("bob"), now_ms() + 1_000_000)).await?;
        assert_eq!(bob.refused(edit(of_bob[2], "x")).await?, Code::MUTED);
        assert_eq!(bob.refused(react(of_owner[1], "+1", true)).await?, Code::MUTED);
        bob.done(revoke(of_bob[2])).await?;
        bob.done(leave()).await?;
        assert_eq!(bob.refused(react(of_owner[1], "+1", true)).await?, Code::FORBIDDEN);
        Ok(())
    })
}

#[test]
fn in_unmanaged_conversations_everybody_has_their_own() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member_with(carrier, "alice", &["room"]).await?;
        let mut bob = site.member_with(carrier, "bob", &["room"]).await?;
        let mut other = site.member_with(carrier, "alice", &["other"]).await?;
        let mut stream = alice.enter(&name("room"), Some(Start::Live)).await?;
        let said = alice.publish(&mut stream, 1, "message").await?.unwrap();
        for request in [edit(said, "x"), revoke(said)] {
            assert_eq!(bob.refused(request.clone()).await?, Code::FORBIDDEN);
            assert_eq!(other.refused(request).await?, Code::FORBIDDEN, "not with this token");
        }
        bob.done(react(said, "👍", true)).await?;
        alice.done(edit(said, "better")).await?;
        alice.done(revoke(said)).await?;
        assert_eq!(bob.refused(react(said, "👍", false)).await?, Code::NOT_FOUND_MESSAGE);
        Ok(())
    })
}

#[tokio::test]
async fn a_sender_has_the_time_that_the_operator_gives() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| {
        config.rules.edit_within_ms = 1;
        config.rules.revoke_within_ms = 1;
    })?;
    let site = Site::of(&server);
    let mut bob = site.member(Over::Quic, "bob").await?;
    let mut alice = site.member(Over::Quic, "alice").await?;
    alice.done(create_room(&["bob"])).await?;
    let mut stream = bob.enter(&name("room"), None).await?;
    let said = bob.publish(&mut stream, 1, "message").await?.unwrap();
    // The time passes by itself.
    let mut n = 0;
    loop {
        n += 1;
        match bob.request(edit(said, &format!("edit {n}"))).await? {
            quoth_protocol::reply::Reply::Refused { code, .. } => {
                assert_eq!(code, Code::TOO_OLD);
                break;
            }
            _ => anyhow::ensure!(n < 10_000, "a message is never too old"),
        }
    }
    assert_eq!(bob.refused(revoke(said)).await?, Code::TOO_OLD);
    bob.done(react(said, "👍", true)).await?;
    alice.done(revoke(said)).await?;
    bob.close().await;
    alice.close().await;
    server.stop()
}
