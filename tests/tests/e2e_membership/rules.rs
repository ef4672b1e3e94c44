//! Requests and what they come to.

use quoth_protocol::frame::{EventKind, Start};
use quoth_protocol::membership::{ConversationKind, Permissions, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, Seq};

use super::world::{
    create, create_room, join, leave, mute, name, now_ms, remove, set, user, with_each_carrier,
};

#[test]
fn the_way_of_a_group() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let (mut bob, mut carol) = (site.member(carrier, "bob").await?, site.member(carrier, "carol").await?);
        let mut me = bob.enter(&ConversationName::me(), Some(Start::Live)).await?;
        let request = || create(None, ConversationKind::Group, &["bob"]);
        let (group, seq) = alice.done(request()).await?;
        assert!(group.as_str().starts_with("group/"), "{group}");
        assert_eq!(seq, Seq(3));
        assert_ne!(alice.done(request()).await?.0, group, "the server makes another name each time");
        let told = bob.event(&mut me).await?.unwrap();
        let belongs = EventKind::Belongs {
            conversation: group.clone(),
            kind: ConversationKind::Group,
            title: String::new(),
            role: Role::Member,
        };
        assert_eq!((told.kind, told.sender), (belongs, user("alice")));

        let mut of_bob = bob.enter(&group, Some(Start::Live)).await?;
        let rename = |title: &str| Request::Rename { conversation: group.clone(), title: title.to_owned() };
        assert_eq!(bob.refused(rename("Bob's")).await?, Code::FORBIDDEN);
        alice.done(rename("Lunch")).await?;
        assert_eq!(alice.done(rename("Lunch")).await?.1, Seq::ZERO, "nothing has to change");
        assert_eq!(alice.refused(rename("a\nb")).await?, Code::INVALID_REQUEST);
        let renamed = bob.event(&mut of_bob).await?.unwrap();
        assert_eq!((renamed.seq, renamed.kind), (Seq(4), EventKind::Renamed { title: "Lunch".into() }));

        let invite =
            Request::Invite { conversation: group.clone(), role: Role::Member, expires_ms: 0, uses_max: 1 };
        let Reply::Invitation { invitation } = bob.request(invite).await? else {
            anyhow::bail!("no invitation")
        };
        let join = |invitation: Option<String>| Request::Join { conversation: group.clone(), invitation };
        assert_eq!(carol.refused(join(None)).await?, Code::FORBIDDEN);
        assert_eq!(carol.refused(join(Some("guess".into()))).await?, Code::FORBIDDEN);
        assert_eq!(carol.done(join(Some(invitation.clone()))).await?.1, Seq(6));
        assert_eq!(carol.done(join(Some(invitation.clone()))).await?.1, Seq::ZERO, "a repeat converges");
        carol.done(Request::Leave { conversation: group.clone() }).await?;
        assert_eq!(carol.refused(join(Some(invitation))).await?, Code::FORBIDDEN, "it is used up");

        let Reply::Conversation(info) =
            bob.request(Request::Describe { conversation: group.clone() }).await?
        else {
            anyhow::bail!("not described")
        };
        assert_eq!((info.title.as_str(), info.members, info.role), ("Lunch", 2, Some(Role::Member)));
        assert_eq!((info.version, info.kind), (Seq(7), Some(ConversationKind::Group)));
        let members = Request::Members { conversation: group.clone(), after: None, limit: 1 };
        let Reply::Members { members, more } = bob.request(members).await? else {
            anyhow::bail!("no members")
        };
        assert_eq!(
            (members[0].user.as_str(), members[0].permissions, more),
            ("alice", Permissions::ALL, true)
        );
        assert_eq!(carol.refused(Request::Describe { conversation: group.clone() }).await?, Code::FORBIDDEN);

        let Reply::Conversations { conversations, more } =
            alice.request(Request::Conversations { after: None, limit: 1 }).await?
        else {
            anyhow::bail!("no conversations")
        };
        assert_eq!((conversations.len(), more), (1, true));
        let after = Some(conversations[0].conversation.clone());
        let Reply::Conversations { conversations, more } =
            alice.request(Request::Conversations { after, limit: 10 }).await?
        else {
            anyhow::bail!("no conversations")
        };
        assert_eq!((conversations.len(), more), (1, false));
        let Reply::Conversations { conversations, .. } =
            carol.request(Request::Conversations { after: None, limit: 10 }).await?
        else {
            anyhow::bail!("no conversations")
        };
        assert!(conversations.is_empty(), "{conversations:?}");
        for member in [alice, bob, carol] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn what_one_may_not_see_looks_like_what_does_not_exist() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        let mut eve = site.member(carrier, "eve").await?;
        alice.done(create_room(&["bob"])).await?;
        for there in
            [name("room"), name("nowhere"), name("group/nowhere"), name("$user/alice"), name("$server")]
        {
            assert_eq!(eve.open(&there, Some(Start::Live)).await?.unwrap_err(), Code::FORBIDDEN, "{there}");
            assert_eq!(eve.open(&there, None).await?.unwrap_err(), Code::FORBIDDEN, "{there}");
            assert_eq!(eve.fetch(&there).await?.unwrap_err(), Code::FORBIDDEN, "{there}");
            let conversation = || there.clone();
            let requests = [
                Request::Describe { conversation: conversation() },
                Request::Members { conversation: conversation(), after: None, limit: 9 },
                Request::Join { conversation: conversation(), invitation: None },
                Request::Leave { conversation: conversation() },
                Request::Rename { conversation: conversation(), title: "x".into() },
                Request::Remove { conversation: conversation(), user: user("bob") },
                Request::SlowMode { conversation: conversation(), interval_ms: 1 },
            ];
            for request in requests {
                let text = format!("{request:?}");
                let reply = eve.request(request).await?;
                let expected = Reply::Refused {
                    code: Code::FORBIDDEN,
                    retry_after_ms: 0,
                    reason: "not allowed, or no such conversation".into(),
                };
                assert_eq!(reply, expected, "{text}");
            }
        }
        // The own log is read only.
        assert_eq!(alice.open(&ConversationName::me(), None).await?.unwrap_err(), Code::FORBIDDEN);
        let mut me = alice.enter(&ConversationName::me(), Some(Start::Last(1))).await?;
        assert_eq!(alice.publish(&mut me, 1, "x").await?, Err((Code::FORBIDDEN, 0)));
        alice.close().await;
        eve.close().await;
        Ok(())
    })
}

#[test]
fn a_token_only_narrows_what_membership_gives() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&[])).await?;
        let mut narrowed = site.member_with(carrier, "alice", &["other"]).await?;
        assert_eq!(narrowed.open(&room, Some(Start::Live)).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(narrowed.refused(leave()).await?, Code::FORBIDDEN);
        assert!(
            narrowed.open(&name("other"), Some(Start::Live)).await?.is_ok(),
            "unmanaged, by the token alone"
        );
        let mut everywhere = site.member_with(carrier, "eve", &["*"]).await?;
        assert_eq!(everywhere.open(&room, Some(Start::Live)).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(everywhere.open(&name("group/x"), Some(Start::Live)).await?.unwrap_err(), Code::FORBIDDEN);
        assert!(everywhere.open(&name("other"), Some(Start::Live)).await?.is_ok());
        for member in [alice, narrowed, everywhere] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn a_name_with_messages_is_not_free_and_an_unmanaged_stream_is_judged_anew_when_it_becomes_managed()
-> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (used, free) = (name("used"), name("free"));
        let mut alice = site.member(carrier, "alice").await?;
        let mut eve = site.member_with(carrier, "eve", &["*"]).await?;
        let mut stream = eve.enter(&used, None).await?;
        eve.publish(&mut stream, 1, "first").await?.unwrap();
        let taken = create(Some("used"), ConversationKind::Group, &[]);
        assert_eq!(alice.refused(taken).await?, Code::ALREADY_EXISTS);
        let mut reader = eve.enter(&free, Some(Start::Live)).await?;
        alice.done(create(Some("free"), ConversationKind::Group, &[])).await?;
        assert_eq!(eve.event(&mut reader).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(
            eve.refused(create(Some("free"), ConversationKind::Group, &[])).await?,
            Code::ALREADY_EXISTS
        );
        assert_eq!(alice.done(create(Some("free"), ConversationKind::Group, &[])).await?.1, Seq::ZERO);
        alice.close().await;
        eve.close().await;
        Ok(())
    })
}

#[test]
fn mutes_and_slow_mode_hold_on_every_device_of_a_user() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let room = name("room");
        let mut alice = site.member(carrier, "alice").await?;
        let (mut phone, mut laptop) =
            (site.member(carrier, "bob").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut of_alice = alice.enter(&room, None).await?;
        let (mut on_phone, mut on_laptop) =
            (phone.enter(&room, None).await?, laptop.enter(&room, None).await?);
        alice.done(mute(Some("bob"), now_ms() + 1_000_000)).await?;
        let (code, retry_after_ms) = phone.publish(&mut on_phone, 1, "x").await?.unwrap_err();
        assert_eq!(code, Code::MUTED);
        assert!((900_000..=1_000_000).contains(&retry_after_ms), "{retry_after_ms}");
        assert_eq!(laptop.publish(&mut on_laptop, 1, "x").await?.unwrap_err().0, Code::MUTED);
        assert!(laptop.open(&room, Some(Start::Live)).await?.is_err(), "open already");
        alice.done(mute(Some("bob"), 0)).await?;
        phone.publish(&mut on_phone, 1, "x").await?.unwrap();
        alice.done(mute(None, u64::MAX)).await?;
        assert_eq!(laptop.publish(&mut on_laptop, 2, "x").await?, Err((Code::MUTED, u32::MAX)));
        alice.publish(&mut of_alice, 1, "who moderates speaks").await?.unwrap();
        alice.done(mute(None, 0)).await?;

        alice.done(Request::SlowMode { conversation: room.clone(), interval_ms: 600_000 }).await?;
        let first = phone.publish(&mut on_phone, 10, "x").await?.unwrap();
        let (code, retry_after_ms) = laptop.publish(&mut on_laptop, 11, "x").await?.unwrap_err();
        assert_eq!(code, Code::SLOW_MODE);
        assert!((500_000..=600_000).contains(&retry_after_ms), "{retry_after_ms}");
        assert_eq!(phone.publish(&mut on_phone, 10, "x").await?, Ok(first), "a repeat is no message more");
        for n in 2..5 {
            alice.publish(&mut of_alice, n, "x").await?.unwrap();
        }
        alice.done(Request::SlowMode { conversation: room.clone(), interval_ms: 0 }).await?;
        laptop.publish(&mut on_laptop, 12, "x").await?.unwrap();
        for member in [alice, phone, laptop] {
            member.close().await;
        }
        Ok(())
    })
}

#[test]
fn requests_are_answered_whatever_their_order_and_however_many_there_are() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&[])).await?;
        let mut ids = Vec::new();
        for i in 0..100 {
            let request = if i % 2 == 0 { set(&format!("u{i}"), Role::Member) } else { remove("nobody") };
            ids.push(alice.send_request(request).await?);
        }
        let mut answered = Vec::new();
        while answered.len() < ids.len() {
            answered.push(alice.any_reply().await?);
        }
        answered.sort_by_key(|(id, _)| *id);
        for ((id, reply), sent) in answered.iter().zip(&ids) {
            assert_eq!(id, sent);
            assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        }
        assert_eq!(alice.refused(join(Some(&"x".repeat(2_000)))).await?, Code::FORBIDDEN);
        alice.close().await;
        Ok(())
    })
}
