//! Every verb on a connection that is open and whose token has ended, is revoked, or is followed by one
//! that is not accepted: it is not answered, and nothing comes of it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use quoth_core::revocation::{Extent, Revoked};
use quoth_protocol::frame::{
    ClientFrame, Fetch, FetchRange, Hello, Open, Publish, ServerFrame, Start, VERSION, feature,
};
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, DeviceId, ProducerId, Seq, UserId};
use quoth_tests::device::{Device, Next, Over};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::member::Member;

/// What becomes of the token of a connection.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Expired,
    Revoked,
    Audience,
}

/// Something that a client asks for.
#[derive(Debug, Clone)]
enum Verb {
    Control(ClientFrame),
    /// On the stream of the conversation that is open.
    Stream(ClientFrame),
    NewStream(ClientFrame),
}

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).expect("a valid name")
}

fn user(id: &str) -> UserId {
    UserId::new(id).expect("a valid id")
}

/// Each request has a number here, so one that is missing among `requests` is found.
const fn number(request: &Request) -> usize {
    match request {
        Request::Create { .. } => 0,
        Request::Join { .. } => 1,
        Request::Leave { .. } => 2,
        Request::SetMember { .. } => 3,
        Request::Remove { .. } => 4,
        Request::Rename { .. } => 5,
        Request::Mute { .. } => 6,
        Request::Ban { .. } => 7,
        Request::SlowMode { .. } => 8,
        Request::Invite { .. } => 9,
        Request::RevokeInvitations { .. } => 10,
        Request::Describe { .. } => 11,
        Request::Members { .. } => 12,
        Request::Block { .. } => 13,
        Request::Blocked => 14,
        Request::Sessions => 15,
        Request::EndSession { .. } => 16,
        Request::Conversations { .. } => 17,
        Request::WatchPresence { .. } => 18,
        Request::Edit { .. } => 19,
        Request::Revoke { .. } => 20,
        Request::React { .. } => 21,
        Request::Hide { .. } => 22,
        Request::SetRetention { .. } => 23,
        Request::Mark { .. } => 24,
        Request::Receipts { .. } => 25,
        Request::Inbox { .. } => 26,
        Request::WatchInbox { .. } => 27,
        Request::SetInbox { .. } => 28,
        Request::Messages { .. } => 29,
    }
}

/// Each of them would be done for the owner of the group.
fn requests() -> Vec<Request> {
    let (team, bob, seq) = (|| name("team"), || user("bob"), Seq(4));
    let create = |conversation, kind, members| Request::Create {
        conversation,
        kind,
        title: String::new(),
        members,
        open: false,
    };
    vec![
        create(Some(name("made")), ConversationKind::Group, vec![bob()]),
        create(None, ConversationKind::Direct, vec![bob()]),
        Request::Join { conversation: name("open"), invitation: None },
        Request::Leave { conversation: name("open") },
        Request::SetMember {
            conversation: team(),
            user: user("carol"),
            role: Role::Member,
            permissions: None,
        },
        Request::Remove { conversation: team(), user: bob() },
        Request::Rename { conversation: team(), title: "renamed".to_owned() },
        Request::Mute { conversation: team(), user: Some(bob()), until_ms: u64::MAX },
        Request::Ban { conversation: team(), user: bob(), until_ms: u64::MAX },
        Request::SlowMode { conversation: team(), interval_ms: 60_000 },
        Request::Invite { conversation: team(), role: Role::Member, expires_ms: 0, uses_max: 0 },
        Request::RevokeInvitations { conversation: team() },
        Request::Describe { conversation: team() },
        Request::Members { conversation: team(), after: None, limit: 10 },
        Request::Block { user: bob(), blocked: true },
        Request::Blocked,
        Request::Sessions,
        Request::EndSession { device: DeviceId::new("another").expect("a valid id") },
        Request::Conversations { after: None, limit: 10 },
        Request::WatchPresence { conversation: team(), watch: true },
        Request::Edit { conversation: team(), seq, body: Bytes::from_static(b"edited"), mentions: vec![] },
        Request::Revoke { conversation: team(), seq },
        Request::React { conversation: team(), seq, reaction: "+1".to_owned(), on: true },
        Request::Hide { conversation: team(), seq },
        Request::SetRetention {
            conversation: team(),
            retention: Some(Retention { age_s: 60, count: 0, bytes: 0 }),
            dry_run: false,
        },
        Request::Mark { conversation: team(), delivered: seq, read: seq },
        Request::Receipts { conversation: team(), seq },
        Request::Inbox { after: None, limit: 10 },
        Request::WatchInbox { since: None, watch: true, held: Vec::new() },
        Request::SetInbox { conversation: team(), archived: true, muted_until_ms: 0, pinned: false },
        Request::Messages { conversation: team(), seqs: vec![seq] },
    ]
}

fn verbs() -> Vec<Verb> {
    let publish = Publish {
        n: 7,
        body: Bytes::from_static(b"too late"),
        publish_as: None,
        origin_time_ms: None,
        reply_to: None,
        mentions: Vec::new(),
        expires_in_ms: 0,
    };
    let open = |from| Open { conversation: name("open"), producer: ProducerId(2), from };
    let fetch = Fetch { conversation: name("team"), range: FetchRange::Latest, limit: 10 };
    let mut verbs: Vec<Verb> = requests()
        .into_iter()
        .map(|request| Verb::Control(ClientFrame::Request { id: 1, request }))
        .collect();
    verbs.extend([
        Verb::Control(ClientFrame::Typing { conversation: name("team") }),
        Verb::Control(ClientFrame::Status { away: true }),
        Verb::Stream(ClientFrame::Publish(publish)),
        Verb::Stream(ClientFrame::Read { from: Some(Start::Last(10)) }),
        Verb::Stream(ClientFrame::Seen { seq: Seq(4) }),
        Verb::NewStream(ClientFrame::Open(open(Some(Start::Last(10))))),
        Verb::NewStream(ClientFrame::Open(open(None))),
        Verb::NewStream(ClientFrame::Fetch(fetch)),
    ]);
    verbs
}

/// A connection of the owner with the group open, whose token has this id and ends then.
async fn connected(
    server: &EmbeddedServer,
    over: Over,
    id: &str,
    expires_s: Option<u64>,
) -> anyhow::Result<(Device, u32)> {
    let token = server.token_with("alice", |what| {
        what.token_id = Some(id.to_owned());
        if let Some(expires_s) = expires_s {
            what.expires_s = expires_s;
        }
    })?;
    let hello = Hello {
        version: VERSION,
        features: feature::ROSTER | feature::MEMBERSHIP | feature::MESSAGES,
        token,
        device: DeviceId::new(id)?,
        generation: 1,
        platform: "linux".to_owned(),
        client: "quoth-tests".to_owned(),
    };
    let device = Device::connect(server.address(), &server.ca_file(), over, hello).await?;
    let mut device = device.map_err(|ended| anyhow::anyhow!("refused: {ended:?}"))?;
    let stream = device.open("team", 1, Some(Start::Live)).await?;
    Ok((device, stream))
}

/// Asks; an error only says that the connection is gone already.
async fn ask(device: &mut Device, stream: u32, verb: &Verb) -> Option<u32> {
    match verb {
        Verb::Control(frame) => device.say(frame).await.ok().map(|()| stream),
        Verb::Stream(frame) => device.send(stream, frame).await.ok().map(|()| stream),
        Verb::NewStream(frame) => device.stream(frame, false).await.ok(),
    }
}

/// What comes until the connection ends has nothing of an answer, and it ends with this code.
async fn is_not_answered(device: &mut Device, stream: u32, expected: Code) -> anyhow::Result<()> {
    loop {
        match device.come(stream).await? {
            Next::Frame(
                frame @ (ServerFrame::Ack { .. } | ServerFrame::Opened { .. } | ServerFrame::PageEnd { .. }),
            ) => {
                anyhow::bail!("answered: {frame:?}");
            }
            Next::Frame(_) => {}
            Next::Reset(_) | Next::Finished | Next::Closed => break,
        }
    }
    while let Ok(frame) = device.told().await {
        ensure!(!matches!(frame, ServerFrame::Reply { .. }), "answered: {frame:?}");
    }
    let ended = device.ended().await?;
    ensure!(ended.code == expected, "it has ended otherwise: {ended:?}");
    Ok(())
}

/// Waits until the connection has heard that it is over.
async fn hears_of_its_end(device: &mut Device) {
    while let Ok(frame) = device.told().await {
        if matches!(frame, ServerFrame::GoAway { .. }) {
            return;
        }
    }
}

async fn tried(
    server: &EmbeddedServer,
    over: Over,
    verb: &Verb,
    condition: Condition,
    id: &str,
) -> anyhow::Result<()> {
    let expires_s = match condition {
        // It is good for 30 s longer: so it ends in 20 s, by when all have signed in, on a busy machine too.
        Condition::Expired => Some(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 10),
        Condition::Revoked | Condition::Audience => None,
    };
    let (mut device, stream) = connected(server, over, id, expires_s).await?;
    let expected = match condition {
        Condition::Expired => {
            hears_of_its_end(&mut device).await;
            Code::TOKEN_EXPIRED
        }
        Condition::Revoked => {
            let ever = Extent { issued_before_ms: u64::MAX, over_ms: u64::MAX };
            let token = Revoked::Token { id: id.to_owned() };
            let closed = server.sessions().revoke(&token, ever, "", server.now_ms()).await?.closed;
            ensure!(closed == 1, "{closed} connections are closed");
            hears_of_its_end(&mut device).await;
            Code::TOKEN_REVOKED
        }
        Condition::Audience => {
            let token = server.token_with("alice", |what| what.audience = "somebody else")?;
            device.say(&ClientFrame::Refresh { token }).await?;
            if !matches!(verb, Verb::Control(_)) {
                hears_of_its_end(&mut device).await;
            }
            Code::TOKEN_REJECTED
        }
    };
    let asked = ask(&mut device, stream, verb).await;
    is_not_answered(&mut device, asked.unwrap_or(stream), expected).await
}

#[test]
fn no_verb_is_answered_on_a_connection_whose_token_is_over() -> anyhow::Result<()> {
    let numbers: std::collections::BTreeSet<usize> = requests().iter().map(number).collect();
    assert_eq!(
        numbers.into_iter().collect::<Vec<_>>(),
        (0..=29).collect::<Vec<_>>(),
        "each request is asked"
    );
    let server = EmbeddedServer::start()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let token = server.token_with("alice", |_| {})?;
        let mut alice = Member::connect(Over::Quic, server.address(), &server.ca_file(), &token).await?;
        for (made, open) in [("team", false), ("open", true)] {
            let (kind, members) = (ConversationKind::Group, vec![user("bob")]);
            let conversation = Some(name(made));
            alice.done(Request::Create { conversation, kind, title: String::new(), members, open }).await?;
        }
        let mut stream = alice.enter(&name("team"), None).await?;
        alice.publish(&mut stream, 1, "text").await?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        alice.leave(stream).await?;
        let before = state(&mut alice).await?;
        for over in Over::ALL {
            for condition in [Condition::Expired, Condition::Revoked, Condition::Audience] {
                let verbs = verbs();
                let ids = (0..verbs.len()).map(|n| format!("{over:?} {condition:?} {n}"));
                let tries = ids.zip(&verbs).map(async |(id, verb)| {
                    tried(&server, over, verb, condition, &id)
                        .await
                        .with_context(|| format!("{over:?} {condition:?} {verb:?}"))
                });
                futures_util::future::try_join_all(tries).await?;
            }
        }
        assert_eq!(state(&mut alice).await?, before, "nothing has come of it");
        anyhow::Ok(())
    })?;
    server.stop()
}

/// What the verbs would have changed.
async fn state(alice: &mut Member) -> anyhow::Result<String> {
    let mut heads = Vec::new();
    for conversation in ["team", "open", "$me"] {
        let stream = alice.enter(&name(conversation), Some(Start::Live)).await?;
        heads.push(stream.head);
        alice.leave(stream).await?;
    }
    let Reply::Conversations { conversations, .. } =
        alice.request(Request::Conversations { after: None, limit: 10 }).await?
    else {
        anyhow::bail!("no conversations");
    };
    let names: Vec<String> =
        conversations.iter().map(|info| format!("{} {}", info.conversation, info.title)).collect();
    Ok(format!("{heads:?} {names:?}"))
}
