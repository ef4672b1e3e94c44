//! Backends that are asked before something happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::{Condvar, Mutex};
use quinn::{ConnectionError, Endpoint, ReadError};
use quoth_protocol::frame::{ClientFrame, EventKind, ServerFrame, Start};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_server::hooks::{HookConfig, HooksConfig, OnFailure};
use quoth_tests::device::{Device, Ended, Over, Who};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::{Answer, Backend, Message};
use quoth_tests::member::Member;
use quoth_tests::websocket::{Handshake, Socket};
use quoth_tests::wire::{Frames, Peer, publish};
use serde_json::{Value, json};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a backend may take for its answer, in milliseconds: a machine that has much to do is none that
/// does not answer.
const ANSWER_TIMEOUT_MS: u64 = 30_000;

fn hook(backend: &Backend, on_failure: OnFailure) -> HookConfig {
    HookConfig { url: Some(backend.url("/hook").parse().expect("a URL")), on_failure }
}

/// A server with these hooks, and with time for what waits for their answers.
fn start(configure: impl FnOnce(&mut HooksConfig)) -> anyhow::Result<EmbeddedServer> {
    EmbeddedServer::start_configured(|config| {
        config.hooks.timeout_ms = ANSWER_TIMEOUT_MS;
        config.limits.request_timeout_ms = 2 * ANSWER_TIMEOUT_MS;
        configure(&mut config.hooks);
    })
}

async fn connect(server: &EmbeddedServer) -> anyhow::Result<(Endpoint, Peer)> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await?;
    Ok((endpoint, peer))
}

/// The same of another user.
async fn connect_as(server: &EmbeddedServer, user: &str) -> anyhow::Result<(Endpoint, Peer)> {
    let (endpoint, token) = (Endpoint::client(([127, 0, 0, 1], 0).into())?, server.token_with(user, |_| {})?);
    let peer = Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await?;
    Ok((endpoint, peer))
}

/// Waits until the server has noticed that all connections have ended.
async fn all_have_ended(server: &EmbeddedServer) -> anyhow::Result<()> {
    let is_over = async {
        while server.sessions().counts().connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_over).await.context("a connection goes on")
}

async fn outcome(frames: &mut Frames) -> anyhow::Result<(u64, Result<(), Code>)> {
    match frames.next().await? {
        Some(ServerFrame::Ack { n, .. }) => Ok((n, Ok(()))),
        Some(ServerFrame::Refused { n, code, .. }) => Ok((n, Err(code))),
        other => bail!("no outcome: {other:?}"),
    }
}

/// Denies every fifth message, changes every third, and answers in an order of its own.
fn censor(request: &Message) -> Answer {
    let body = request.json()["data"]["body"].as_str().unwrap_or_default().to_owned();
    let n: u64 = body.parse().unwrap_or_default();
    // Not as a synchronisation: answers that take different times come in another order than the questions.
    std::thread::sleep(Duration::from_millis(n * 7 % 23));
    let said = match n {
        n if n % 5 == 0 => json!({ "result": "deny", "reason": "a fifth" }),
        n if n % 3 == 0 => json!({ "result": "change", "body": format!("changed {n}") }),
        _ => json!({ "result": "allow" }),
    };
    (200, said.to_string())
}

/// Holds up a backend's answers while it is closed, as it is at first.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        self.opened.wait_while(&mut self.is_open.lock(), |is_open| !*is_open);
    }

    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }

    fn close(&self) {
        *self.is_open.lock() = false;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_let_through_changed_or_refused_and_keep_their_order() -> anyhow::Result<()> {
    const MESSAGES: u64 = 200;
    let backend = Backend::start(censor)?;
    let server = start(|hooks| hooks.publish = hook(&backend, OnFailure::Deny))?;
    let (endpoint, peer) = connect(&server).await?;
    let (mut reader, _) = peer.open("room", 1, Some(Start::Live)).await?;
    let (mut outcomes, mut events) = (Vec::new(), Vec::new());
    for n in 1..=MESSAGES {
        reader.write(&publish(n, n.to_string().into_bytes())).await?;
    }
    let stored = (1..=MESSAGES).filter(|n| n % 5 != 0).count();
    while outcomes.len() as u64 != MESSAGES || events.len() != stored {
        let next = tokio::time::timeout(PATIENCE, reader.next()).await.context("nothing more comes")?;
        match next?.context("the stream has ended")? {
            ServerFrame::Ack { n, .. } => outcomes.push((n, Ok(()))),
            ServerFrame::Refused { n, code, reason, .. } => {
                assert_eq!(reason, "a fifth", "people hear why");
                outcomes.push((n, Err(code)));
            }
            ServerFrame::Event(event) => {
                let EventKind::Message { body, .. } = event.kind else { bail!("no message") };
                events.push(String::from_utf8(body.to_vec())?);
            }
            other => bail!("{other:?}"),
        }
    }
    outcomes.sort_by_key(|(n, _)| *n);
    for (n, result) in outcomes {
        assert_eq!(result, if n % 5 == 0 { Err(Code::DENIED) } else { Ok(()) }, "{n}");
    }
    let expected: Vec<_> = (1..=MESSAGES)
        .filter(|n| n % 5 != 0)
        .map(|n| if n % 3 == 0 { format!("changed {n}") } else { n.to_string() })
        .collect();
    assert_eq!(events, expected);
    // What the backend is asked, and how it knows who asks.
    let asked = &backend.requests()[0];
    let question = asked.json();
    assert_eq!(question["type"], json!("publish"));
    assert_eq!(asked.header("webhook-id"), question["id"].as_str().unwrap_or_default());
    assert!(asked.header("webhook-signature").starts_with("v1,"));
    let data = &question["data"];
    let about = [&data["conversation"], &data["user"], &data["sender"], &data["origin_time_ms"]];
    assert_eq!(about, [&json!("room"), &json!("alice"), &json!("alice"), &Value::Null]);
    // The operator's own messages are the operator's own affair.
    let before = backend.requests().len();
    let api = server.api()?;
    tokio::task::spawn_blocking(move || {
        api.done("POST", "/v1/publish", Some(&json!({ "conversation": "room", "text": "5" })))
    })
    .await??;
    assert_eq!(backend.requests().len(), before);
    peer.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_asked_about_like_a_message() -> anyhow::Result<()> {
    let backend = Backend::start(censor)?;
    let server = start(|hooks| hooks.publish = hook(&backend, OnFailure::Deny))?;
    let (address, ca_file) = (server.address(), server.ca_file());
    let mut alice = Member::connect(Over::Quic, address, &ca_file, server.token()).await?;
    let room = ConversationName::new("room")?;
    let mut stream = alice.enter(&room, None).await?;
    let seq = alice.publish(&mut stream, 1, "1").await?.map_err(|(code, _)| anyhow::anyhow!("{code}"))?;
    let edit = |body: &'static str| Request::Edit {
        conversation: room.clone(),
        seq,
        body: body.into(),
        mentions: Vec::new(),
    };
    alice.done(edit("2")).await?;
    let denied = alice.request(edit("5")).await?;
    assert!(matches!(denied, Reply::Refused { code: Code::DENIED, ref reason, .. } if reason == "a fifth"));
    let (_, edited) = alice.done(edit("3")).await?;
    let (events, _) = alice.fetch(&room).await?.map_err(|code| anyhow::anyhow!("{code}"))?;
    let last = events.last().context("no event")?;
    let changed = EventKind::Edited { seq, body: "changed 3".into(), mentions: Vec::new() };
    assert_eq!((last.seq, &last.kind), (edited, &changed));
    let edits: Vec<_> =
        backend.requests().iter().map(|asked| asked.json()["data"]["edits"].clone()).collect();
    assert_eq!(edits, [Value::Null, json!(seq), json!(seq), json!(seq)]);
    alice.close().await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_hangs_does_not_hold_up_messages_for_long() -> anyhow::Result<()> {
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let backend = Backend::start(move |_| {
        waits.wait();
        (204, String::new())
    })?;
    let server = start(|hooks| {
        // Long enough that each question has come to the backend by then.
        hooks.timeout_ms = 500;
        hooks.publish = hook(&backend, OnFailure::Allow);
    })?;
    let (endpoint, peer) = connect(&server).await?;
    let others = [connect_as(&server, "bob").await?, connect_as(&server, "carol").await?];
    let mut streams = Vec::new();
    for peer in others.iter().map(|(_, peer)| peer).chain([&peer]) {
        streams.push(peer.open("room", 1, None).await?.0);
    }
    let began = Instant::now();
    for n in 1..=300 {
        let frames = &mut streams[usize::try_from(n % 3)?];
        frames.write(&publish(n, b"text".to_vec())).await?;
        assert_eq!(outcome(frames).await?, (n, Ok(())));
    }
    let asked = backend.requests().len();
    // Five in a row, and then one behind each pause of 1, 2, 4 ... seconds.
    let tries = usize::try_from((began.elapsed().as_secs() + 1).ilog2())?;
    assert!((5..=6 + tries).contains(&asked), "{asked} of 300 were asked about");
    // When it answers again it is asked again.
    gate.open();
    let mut n = 300;
    while backend.requests().len() < asked + 20 {
        n += 1;
        let frames = &mut streams[usize::try_from(n % 3)?];
        frames.write(&publish(n, b"text".to_vec())).await?;
        assert_eq!(outcome(frames).await?, (n, Ok(())));
    }
    peer.close(&endpoint).await;
    server.stop()
}

/// A user may well say what a backend fails at, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_answered_about_one_user_is_no_matter_of_others() -> anyhow::Result<()> {
    const POISON: u64 = 20;
    let backend = Backend::start(|request| {
        let is_poison = request.json()["data"]["body"] == json!("poison");
        (if is_poison { 500 } else { 204 }, String::new())
    })?;
    let server = start(|hooks| hooks.publish = hook(&backend, OnFailure::Deny))?;
    let (endpoint, peer) = connect(&server).await?;
    let (_bobs_endpoint, bob) = connect_as(&server, "bob").await?;
    let (mut alices, _) = peer.open("room", 1, None).await?;
    let (mut bobs, _) = bob.open("room", 1, None).await?;
    for n in 1..=POISON {
        alices.write(&publish(n, "poison")).await?;
        assert_eq!(outcome(&mut alices).await?, (n, Err(Code::UNAVAILABLE)));
    }
    for frames in [&mut bobs, &mut alices] {
        frames.write(&publish(POISON, "text")).await?;
        assert_eq!(outcome(frames).await?, (POISON, Ok(())));
    }
    assert_eq!(backend.requests().len() as u64, POISON + 2, "each is asked about");
    peer.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backend_it_is_told_when_to_send_a_message_again_where_that_means_no() -> anyhow::Result<()>
{
    let answers = Arc::new(Mutex::new(false));
    let up = Arc::clone(&answers);
    let backend = Backend::start(move |_| (if *up.lock() { 204 } else { 500 }, String::new()))?;
    let server = start(|hooks| hooks.publish = hook(&backend, OnFailure::Deny))?;
    let (endpoint, peer) = connect(&server).await?;
    let (mut frames, _) = peer.open("room", 1, Some(Start::Live)).await?;
    // More of them than failures after which nobody is asked for a while.
    for n in 1..=10 {
        frames.write(&publish(n, "lost")).await?;
        let Some(ServerFrame::Refused { n: of, code, retry_after_ms, reason }) = frames.next().await? else {
            bail!("not refused")
        };
        assert_eq!((of, code), (n, Code::UNAVAILABLE));
        assert_eq!(reason, "what has to allow this does not answer");
        assert!((1_000..=30_000).contains(&retry_after_ms), "{retry_after_ms}");
    }
    // None of them was stored, and the same stream takes the first one when it is sent again.
    *answers.lock() = true;
    let (mut is_acked, mut body) = (false, None);
    frames.write(&publish(1, "text")).await?;
    while !is_acked || body.is_none() {
        match frames.next().await?.context("the stream has ended")? {
            ServerFrame::Ack { n: 1, duplicate: false, .. } => is_acked = true,
            ServerFrame::Refused { n: 1, code: Code::UNAVAILABLE, retry_after_ms, .. } => {
                tokio::time::sleep(Duration::from_millis(retry_after_ms.into())).await;
                frames.write(&publish(1, "text")).await?;
            }
            ServerFrame::Event(event) => {
                let EventKind::Message { body: text, .. } = event.kind else { bail!("no message") };
                body.get_or_insert(text);
            }
            other => bail!("{other:?}"),
        }
    }
    assert_eq!(body.as_deref(), Some(b"text".as_slice()), "nothing was stored before");
    peer.close(&endpoint).await;
    server.stop()
}

/// Connects, and says with which code that ends when there is no Welcome.
async fn sign_in(server: &EmbeddedServer, user: &str) -> anyhow::Result<Result<Peer, Code>> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let token = server.token_until(user, 4_000_000_000)?;
    let error = match Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await {
        Ok(peer) => return Ok(Ok(peer)),
        Err(error) => error,
    };
    match closed(&error) {
        Some(code) => Ok(Err(code)),
        None => Err(error),
    }
}

fn closed(error: &anyhow::Error) -> Option<Code> {
    let code = |error: &ConnectionError| match error {
        ConnectionError::ApplicationClosed(close) => u64::from(close.error_code).try_into().ok().map(Code),
        _ => None,
    };
    error.chain().find_map(|cause| match cause.downcast_ref::<ReadError>() {
        Some(ReadError::ConnectionLost(error)) => code(error),
        _ => cause.downcast_ref::<ConnectionError>().and_then(code),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_signed_in_when_its_hook_says_so() -> anyhow::Result<()> {
    let backend = Backend::start(|request| match request.json()["data"]["user"].as_str() {
        Some("alice") => (204, String::new()),
        Some("bob") => (200, r#"{"result": "deny", "reason": "not paid"}"#.to_owned()),
        _ => (500, String::new()),
    })?;
    let server = start(|hooks| hooks.connect = hook(&backend, OnFailure::Deny))?;
    sign_in(&server, "alice").await?.map_err(|code| anyhow::anyhow!("{code}"))?;
    for over in Over::ALL {
        let token = server.token_with("bob", |_| {})?;
        let who = Who { token: &token, device: "phone", generation: 1, platform: "test" };
        let refused = Device::sign_in(&server, over, &who).await?.err().context("bob is let in")?;
        let go_away = Some((Code::DENIED, "not paid".to_owned()));
        assert_eq!(refused, Ended { code: Code::DENIED, go_away, retry_after_ms: 0 }, "bob hears why");
    }
    for over in Over::ALL {
        let token = server.token_with("carol", |_| {})?;
        let who = Who { token: &token, device: "phone", generation: 1, platform: "test" };
        let refused = Device::sign_in(&server, over, &who).await?.err().context("carol is let in")?;
        let go_away = Some((Code::UNAVAILABLE, "what has to allow this does not answer".to_owned()));
        assert_eq!(refused, Ended { code: Code::UNAVAILABLE, go_away, retry_after_ms: 1_000 });
    }
    let api = server.api()?;
    let stats = tokio::task::spawn_blocking(move || api.done("GET", "/v1/stats", None)).await??;
    let counts = json!({ "allowed": 1, "changed": 0, "denied": 2, "unanswered": 2 });
    assert_eq!(stats["hooks"], json!({ "connect": counts, "join": null, "publish": null }));
    let question = backend.requests()[0].json();
    assert_eq!(question["type"], json!("connect"));
    assert!(
        question["data"]["device"].is_string()
            && question["data"]["generation"].is_u64()
            && question["data"]["address"] == json!("127.0.0.1"),
        "{question}"
    );
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kicked_while_a_hook_is_asked_is_not_let_in_by_its_answer() -> anyhow::Result<()> {
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |_| {
        asks.send(()).expect("somebody waits for the question");
        waits.wait();
        (204, String::new())
    })?;
    let server = start(|hooks| hooks.connect = hook(&backend, OnFailure::Deny))?;
    let (token, alice) = (server.token_with("alice", |_| {})?, UserId::new("alice")?);
    for (over, generation) in Over::ALL.into_iter().zip(1..) {
        let who = Who { token: &token, device: "phone", generation, platform: "test" };
        gate.close();
        let kicks = async {
            tokio::time::timeout(PATIENCE, asked.recv()).await?.context("the hook is not asked")?;
            let closed = server.sessions().kick(&alice, None, "by us");
            gate.open();
            anyhow::Ok(closed)
        };
        let (came, closed) = tokio::join!(Device::sign_in(&server, over, &who), kicks);
        assert_eq!(closed?, 1, "a connection that is asked about is one that is closed");
        let ended = came?.err().context("alice is let in")?;
        let go_away = Some((Code::KICKED, "by us".to_owned()));
        assert_eq!(ended, Ended { code: Code::KICKED, go_away, retry_after_ms: 0 });
        // Behind the kick a new question has a new answer.
        let came = Device::sign_in(&server, over, &who).await?;
        came.map_err(|ended| anyhow::anyhow!("{ended:?}"))?.close().await?;
        asked.recv().await.context("the hook is not asked")?;
        // Or the next kick would close it too.
        all_have_ended(&server).await?;
    }
    server.stop()
}

async fn ask(peer: &mut Peer, request: Request) -> anyhow::Result<Reply> {
    peer.control.write(&ClientFrame::Request { id: 1, request }).await?;
    loop {
        match peer.control.next().await?.context("the control stream has ended")? {
            ServerFrame::Reply { reply, .. } => return Ok(reply),
            ServerFrame::Presence { .. } => {}
            other => bail!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_joins_when_its_hook_says_so() -> anyhow::Result<()> {
    let backend = Backend::start(|request| match request.json()["data"]["conversation"].as_str() {
        Some("open") => (204, String::new()),
        Some("broken") => (500, String::new()),
        _ => (200, r#"{"result": "deny", "reason": "members only"}"#.to_owned()),
    })?;
    let server = start(|hooks| hooks.join = hook(&backend, OnFailure::Deny))?;
    let api = server.api()?;
    tokio::task::spawn_blocking(move || {
        for name in ["open", "closed", "broken"] {
            let body = json!({ "conversation": name, "kind": "group", "owner": "boss", "open": true });
            api.done("POST", "/v1/conversations", Some(&body))?;
        }
        anyhow::Ok(())
    })
    .await??;
    let (endpoint, mut peer) = connect(&server).await?;
    let join = |name: &str| {
        anyhow::Ok(Request::Join { conversation: ConversationName::new(name)?, invitation: None })
    };
    let reply = ask(&mut peer, join("open")?).await?;
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    let Reply::Refused { code, reason, .. } = ask(&mut peer, join("closed")?).await? else {
        bail!("it was let in")
    };
    assert_eq!((code, reason.as_str()), (Code::DENIED, "members only"));
    let Reply::Refused { code, retry_after_ms, .. } = ask(&mut peer, join("broken")?).await? else {
        bail!("it was let in")
    };
    assert_eq!((code, retry_after_ms), (Code::UNAVAILABLE, 1_000), "it is told when to try again");
    let question = backend.requests()[0].json();
    assert_eq!((&question["type"], &question["data"]["user"]), (&json!("join"), &json!("alice")));
    peer.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_its_hook_is_refused_when_a_new_token_no_longer_allows_it()
-> anyhow::Result<()> {
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |_| {
        asks.send(()).expect("somebody waits for the question");
        waits.wait();
        (204, String::new())
    })?;
    let server = start(|hooks| hooks.publish = hook(&backend, OnFailure::Deny))?;
    let (endpoint, mut peer) = connect(&server).await?;
    let (mut frames, _) = peer.open("room", 1, None).await?;
    frames.write(&publish(1, "waits")).await?;
    tokio::time::timeout(PATIENCE, asked.recv()).await?.context("the hook is not asked")?;
    let token = server.token_with("alice", |what| what.rights.write = Some(Vec::new()))?;
    peer.control.write(&ClientFrame::Refresh { token }).await?;
    // What is asked behind it is answered behind it.
    ask(&mut peer, Request::Conversations { after: None, limit: 1 }).await?;
    gate.open();
    assert_eq!(outcome(&mut frames).await?, (1, Err(Code::FORBIDDEN)));
    peer.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_hook_is_refused_when_a_new_token_no_longer_allows_it()
-> anyhow::Result<()> {
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |request| {
        let question = request.json();
        if question["type"] == "join" || !question["data"]["edits"].is_null() {
            asks.send(()).expect("somebody waits for the question");
            waits.wait();
        }
        (204, String::new())
    })?;
    let server = start(|hooks| {
        hooks.publish = hook(&backend, OnFailure::Deny);
        hooks.join = hook(&backend, OnFailure::Deny);
    })?;
    let api = server.api()?;
    let body = json!({ "conversation": "group", "kind": "group", "owner": "boss", "open": true });
    tokio::task::spawn_blocking(move || api.done("POST", "/v1/conversations", Some(&body))).await??;
    let (address, ca_file) = (server.address(), server.ca_file());
    let mut alice = Member::connect(Over::Quic, address, &ca_file, server.token()).await?;
    let room = ConversationName::new("room")?;
    let mut stream = alice.enter(&room, None).await?;
    let seq = alice.publish(&mut stream, 1, "first").await?.map_err(|(code, _)| anyhow::anyhow!("{code}"))?;
    let edit = Request::Edit { conversation: room, seq, body: "second".into(), mentions: Vec::new() };
    let join = Request::Join { conversation: ConversationName::new("group")?, invitation: None };
    let mut waiting = vec![alice.send_request(edit).await?, alice.send_request(join).await?];
    for _ in &waiting {
        tokio::time::timeout(PATIENCE, asked.recv()).await?.context("the hook is not asked")?;
    }
    let token = server.token_with("alice", |what| what.rights.write = Some(vec!["other".to_owned()]))?;
    alice.send_control(&ClientFrame::Refresh { token }).await?;
    // What is asked behind it is answered behind it.
    alice.request(Request::Conversations { after: None, limit: 1 }).await?;
    gate.open();
    while !waiting.is_empty() {
        let (id, reply) = alice.any_reply().await?;
        assert!(matches!(reply, Reply::Refused { code: Code::FORBIDDEN, .. }), "{reply:?}");
        waiting.retain(|other| *other != id);
    }
    alice.close().await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_hook_ends_with_its_connection() -> anyhow::Result<()> {
    const OTHERS: usize = 10;
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::start(move |request| {
        if request.json()["data"]["user"] == "alice" {
            asks.send(()).expect("somebody waits for the question");
            waits.wait();
        }
        (204, String::new())
    })?;
    let server = start(|hooks| hooks.join = hook(&backend, OnFailure::Deny))?;
    let api = Arc::new(server.api()?);
    let makes = Arc::clone(&api);
    tokio::task::spawn_blocking(move || {
        for n in 0..=OTHERS {
            let body =
                json!({ "conversation": format!("group {n}"), "kind": "group", "owner": "boss", "open": true });
            makes.done("POST", "/v1/conversations", Some(&body))?;
        }
        anyhow::Ok(())
    })
    .await??;
    let join = |n: usize| {
        let conversation = ConversationName::new(format!("group {n}"))?;
        anyhow::Ok(Request::Join { conversation, invitation: None })
    };
    let (endpoint, mut alice) = connect(&server).await?;
    alice.control.write(&ClientFrame::Request { id: 1, request: join(0)? }).await?;
    tokio::time::timeout(PATIENCE, asked.recv()).await?.context("the hook is not asked")?;
    alice.close(&endpoint).await;
    all_have_ended(&server).await?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let token = server.token_with("bob", |_| {})?;
    let mut bob = Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await?;
    for n in 0..=OTHERS {
        let reply = ask(&mut bob, join(n)?).await?;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        // What alice's request would still do is behind one of his and before the others.
        gate.open();
    }
    let members =
        tokio::task::spawn_blocking(move || api.done("GET", "/v1/conversations/group%200/members", None))
            .await??;
    assert!(members.to_string().contains("\"bob\""), "{members}");
    assert!(!members.to_string().contains("\"alice\""), "{members}");
    bob.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_a_client_behind_a_trusted_proxy_is_the_clients() -> anyhow::Result<()> {
    let backend = Backend::start(|_| (200, json!({ "result": "allow" }).to_string()))?;
    let server = EmbeddedServer::start_configured(|config| {
        config.hooks.timeout_ms = ANSWER_TIMEOUT_MS;
        config.hooks.connect = hook(&backend, OnFailure::Deny);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })?;
    let behind = Handshake { forwarded_for: Some("203.0.113.5"), ..Handshake::PLAIN };
    let (_socket, _) = Socket::sign_in(server.address(), behind, server.token()).await?;
    let (_socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
    let asked: Vec<_> =
        backend.requests().iter().map(|asked| asked.json()["data"]["address"].clone()).collect();
    assert_eq!(asked, [json!("203.0.113.5"), json!("127.0.0.1")]);
    server.stop()
}
