//! Who wants nothing of whom.

use quoth_protocol::frame::Start;
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, Seq};

use super::world::{create, create_room, set, user, with_each_carrier};

#[test]
fn who_is_blocked_neither_writes_nor_adds() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        let block = |who: &str, blocked| Request::Block { user: user(who), blocked };
        let direct = || create(None, ConversationKind::Direct, &["bob"]);
        let (conversation, _) = alice.done(direct()).await?;
        assert_eq!(alice.done(direct()).await?, (conversation.clone(), Seq::ZERO), "there is one");
        let of_bob = create(None, ConversationKind::Direct, &["alice"]);
        assert_eq!(bob.done(of_bob).await?, (conversation.clone(), Seq::ZERO), "for both");
        let mut of_alice = alice.enter(&conversation, None).await?;
        let mut of_bob = bob.enter(&conversation, Some(Start::Live)).await?;
        alice.publish(&mut of_alice, 1, "hi").await?.unwrap();

        bob.done(block("alice", true)).await?;
        assert_eq!(bob.done(block("alice", true)).await?.1, Seq::ZERO);
        let Reply::Users { users } = bob.request(Request::Blocked).await? else { anyhow::bail!("no users") };
        assert_eq!(users, [user("alice")]);
        assert_eq!(alice.publish(&mut of_alice, 2, "hello?").await?, Err((Code::FORBIDDEN, 0)));
        bob.publish(&mut of_bob, 1, "I still may").await?.unwrap();
        assert_eq!(alice.refused(create_room(&["bob"])).await?, Code::FORBIDDEN);
        alice.done(create_room(&["carol"])).await?;
        assert_eq!(alice.refused(set("bob", Role::Member)).await?, Code::FORBIDDEN);
        assert_eq!(bob.refused(block("bob", true)).await?, Code::INVALID_REQUEST);

        bob.done(block("alice", false)).await?;
        alice.publish(&mut of_alice, 2, "hello?").await?.unwrap();
        alice.done(set("bob", Role::Member)).await?;
        let mut dora = site.member(carrier, "dora").await?;
        bob.done(block("dora", true)).await?;
        assert_eq!(dora.refused(create(None, ConversationKind::Direct, &["bob"])).await?, Code::FORBIDDEN);
        for member in [alice, bob, dora] {
            member.close().await;
        }
        Ok(())
    })
}
