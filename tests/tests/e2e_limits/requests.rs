//! Limits of requests, and of what is asked for with them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use quoth_protocol::codec::encode;
use quoth_protocol::frame::ClientFrame;
use quoth_protocol::limits::{
    CONTROL_STALL_TIMEOUT_MS, CONVERSATIONS_PAGE_MAX, CREATE_MEMBERS_MAX, MEMBERS_PAGE_MAX,
    REQUESTS_UNDER_WAY_MAX, STALL_PROGRESS_BYTES_MIN, WATCHED_CONVERSATIONS_MAX, WATCHED_MEMBERS_MAX,
    WATCHED_MEMBERS_OF_CONNECTION_MAX, WATCHED_MEMBERS_OF_USER_MAX,
};
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ALPN, Code, ConversationName, Seq, UserId};
use quoth_server::hooks::{HookConfig, OnFailure};
use quoth_server::session::Limits;
use quoth_tests::device::Over;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::Backend;
use quoth_tests::member::Member;
use quoth_tests::wire::{Frames, Incoming, Peer, client_config_with};

use super::{PATIENCE, close_code, run, soon, with_server};

pub(super) async fn signed_in(server: &EmbeddedServer, user: &str) -> anyhow::Result<Member> {
    let (address, ca_file) = (server.address(), server.ca_file());
    Member::connect(Over::Quic, address, &ca_file, &server.token_with(user, |_| {})?).await
}

fn users(count: usize) -> Vec<UserId> {
    (0..count).map(|n| UserId::new(format!("user {n}")).expect("a valid id")).collect()
}

fn group(name: &str, members: Vec<UserId>) -> Request {
    Request::Create {
        conversation: Some(room(name)),
        kind: ConversationKind::Group,
        title: String::new(),
        members,
        open: false,
    }
}

fn room(name: &str) -> ConversationName {
    ConversationName::new(name).expect("a valid name")
}

async fn done(member: &mut Member, request: Request) -> anyhow::Result<()> {
    match member.request(request).await? {
        Reply::Done { .. } => Ok(()),
        other => anyhow::bail!("not done: {other:?}"),
    }
}

/// The answer to a request whose repeats change nothing, asked for until it comes in the server's time for
/// requests.
async fn in_time(member: &mut Member, request: Request) -> anyhow::Result<Reply> {
    let asks = async {
        loop {
            match member.request(request.clone()).await? {
                Reply::Refused { code: Code::TIMED_OUT, .. } => {}
                other => return anyhow::Ok(other),
            }
        }
    };
    soon("an answer in time", asks).await?
}

async fn refused(member: &mut Member, request: Request) -> anyhow::Result<Code> {
    match member.request(request).await? {
        Reply::Refused { code, .. } => Ok(code),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

/// A group of alice and so many others.
async fn grown(alice: &mut Member, name: &str, others: usize) -> anyhow::Result<()> {
    let mut users = users(others).into_iter();
    done(alice, group(name, users.by_ref().take(CREATE_MEMBERS_MAX).collect())).await?;
    for user in users {
        let request =
            Request::SetMember { conversation: room(name), user, role: Role::Member, permissions: None };
        done(alice, request).await?;
    }
    Ok(())
}

fn set(name: &str, user: &str, role: Role) -> Request {
    let user = UserId::new(user).expect("a valid id");
    Request::SetMember { conversation: room(name), user, role, permissions: None }
}

#[test]
fn a_user_adds_so_many_in_an_hour() -> anyhow::Result<()> {
    let limits = Limits { user_adds_per_hour_max: 10, ..Limits::default() };
    let server = EmbeddedServer::start_with(limits)?;
    run(async {
        let (mut alice, mut bob) = (signed_in(&server, "alice").await?, signed_in(&server, "bob").await?);
        let direct = || Request::Create {
            conversation: None,
            kind: ConversationKind::Direct,
            title: String::new(),
            members: vec![UserId::new("bob").expect("a valid id")],
            open: false,
        };
        done(&mut bob, group("bobs", users(2))).await?;
        done(&mut alice, group("alices", users(6))).await?;
        done(&mut alice, set("alices", "bob", Role::Member)).await?;
        done(&mut alice, direct()).await?;
        // Ten. What is there already is none more.
        for role in [Role::Reader, Role::Member, Role::Admin] {
            done(&mut alice, set("alices", "bob", role)).await?;
        }
        done(&mut alice, direct()).await?;
        for request in [set("alices", "carol", Role::Member), group("another", Vec::new())] {
            match alice.request(request).await? {
                Reply::Refused { code: Code::RATE_LIMITED, retry_after_ms: 1_000.., .. } => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        // Whether there is a conversation does not show in it.
        for name in ["bobs", "nowhere"] {
            assert_eq!(refused(&mut alice, set(name, "user 1", Role::Member)).await?, Code::RATE_LIMITED);
        }
        done(&mut bob, set("bobs", "carol", Role::Member)).await?;
        let (address, ca_file) = (server.address(), server.ca_file());
        let mut service = Member::connect(Over::Quic, address, &ca_file, &server.service_token()?).await?;
        for n in 0..3 {
            done(&mut service, group(&format!("service {n}"), users(9))).await?;
        }
        Ok(())
    })?;
    server.stop()
}

#[test]
fn a_user_takes_so_many_out_in_an_hour() -> anyhow::Result<()> {
    let limits = Limits { user_removals_per_hour_max: 3, ..Limits::default() };
    let server = EmbeddedServer::start_with(limits)?;
    run(async {
        let (mut alice, mut bob) = (signed_in(&server, "alice").await?, signed_in(&server, "bob").await?);
        done(&mut alice, group("alices", users(6))).await?;
        done(&mut bob, group("bobs", users(6))).await?;
        let user = |n: usize| users(7).swap_remove(n);
        let remove = |name: &str, n| Request::Remove { conversation: room(name), user: user(n) };
        let ban =
            |name: &str, n, until_ms| Request::Ban { conversation: room(name), user: user(n), until_ms };
        done(&mut alice, remove("alices", 0)).await?;
        done(&mut alice, ban("alices", 1, u64::MAX)).await?;
        // Who is out already, or is let in again, is none more.
        for request in [remove("alices", 0), ban("alices", 1, u64::MAX), ban("alices", 1, 0)] {
            done(&mut alice, request).await?;
        }
        done(&mut alice, remove("alices", 2)).await?;
        for request in [remove("alices", 3), ban("alices", 3, u64::MAX)] {
            match alice.request(request).await? {
                Reply::Refused { code: Code::RATE_LIMITED, retry_after_ms: 1_000.., .. } => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        // Whether there is a conversation, or who is in it, does not show in it.
        for (name, n) in [("bobs", 0), ("bobs", 6), ("nowhere", 0)] {
            assert_eq!(refused(&mut alice, remove(name, n)).await?, Code::RATE_LIMITED, "{name} {n}");
        }
        done(&mut alice, set("alices", "bob", Role::Member)).await?;
        done(&mut bob, remove("bobs", 0)).await?;
        done(&mut bob, Request::Leave { conversation: room("alices") }).await
    })?;
    server.stop()
}

#[test]
fn a_conversation_begins_with_so_many_members() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let mut alice = signed_in(&server, "alice").await?;
        done(&mut alice, group("full", users(CREATE_MEMBERS_MAX))).await?;
        let more = group("more", users(CREATE_MEMBERS_MAX + 1));
        assert_eq!(refused(&mut alice, more).await?, Code::TOO_MANY);
        Ok(())
    })
}

#[test]
fn pages_of_members_and_conversations_are_bounded_and_who_is_watched_too() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let mut alice = signed_in(&server, "alice").await?;
        let watch = |name: &str| Request::WatchPresence { conversation: room(name), watch: true };
        grown(&mut alice, "crowd", WATCHED_MEMBERS_MAX - 1).await?;
        done(&mut alice, watch("crowd")).await?;
        let one_more = UserId::new("one more")?;
        let add = Request::SetMember {
            conversation: room("crowd"),
            user: one_more,
            role: Role::Member,
            permissions: None,
        };
        done(&mut alice, add).await?;
        assert_eq!(refused(&mut alice, watch("crowd")).await?, Code::TOO_MANY);
        let page = Request::Members { conversation: room("crowd"), after: None, limit: u32::MAX };
        let Reply::Members { members, more } = alice.request(page).await? else { anyhow::bail!("a page") };
        assert_eq!((members.len(), more), (MEMBERS_PAGE_MAX as usize, true));

        let rooms = CONVERSATIONS_PAGE_MAX as usize;
        for n in 0..rooms {
            done(&mut alice, group(&format!("room {n}"), Vec::new())).await?;
        }
        let page = Request::Conversations { after: None, limit: u32::MAX };
        let Reply::Conversations { conversations, more } = alice.request(page).await? else {
            anyhow::bail!("a page")
        };
        assert_eq!((conversations.len(), more), (rooms, true));

        done(&mut alice, Request::WatchPresence { conversation: room("crowd"), watch: false }).await?;
        for n in 0..WATCHED_CONVERSATIONS_MAX {
            done(&mut alice, watch(&format!("room {n}"))).await?;
        }
        let last = format!("room {}", rooms - 1);
        assert_eq!(refused(&mut alice, watch(&last)).await?, Code::TOO_MANY);
        Ok(())
    })
}

#[test]
fn members_are_watched_so_many_by_a_connection_and_by_a_user() -> anyhow::Result<()> {
    const GROUPS: usize = WATCHED_MEMBERS_OF_CONNECTION_MAX / CREATE_MEMBERS_MAX;
    const CONNECTIONS: usize = WATCHED_MEMBERS_OF_USER_MAX / WATCHED_MEMBERS_OF_CONNECTION_MAX;
    let server = EmbeddedServer::start()?;
    run(async {
        let mut alice = signed_in(&server, "alice").await?;
        let watch = |n: usize, watch| Request::WatchPresence { conversation: room(&format!("{n}")), watch };
        for n in 0..=GROUPS {
            done(&mut alice, group(&format!("{n}"), users(CREATE_MEMBERS_MAX))).await?;
        }
        let mut devices = vec![alice];
        for n in 0..CONNECTIONS {
            for group in 0..GROUPS {
                done(&mut devices[n], watch(group, true)).await?;
            }
            assert_eq!(refused(&mut devices[n], watch(GROUPS, true)).await?, Code::TOO_MANY);
            devices.push(signed_in(&server, "alice").await?);
        }
        let last = devices.last_mut().expect("one for which nothing is left");
        assert_eq!(refused(last, watch(0, true)).await?, Code::TOO_MANY);
        // What is watched no more makes room.
        done(&mut devices[0], watch(0, false)).await?;
        done(&mut devices[0], watch(GROUPS, true)).await?;
        done(&mut devices[0], watch(1, false)).await?;
        let last = devices.last_mut().expect("the same");
        done(last, watch(0, true)).await?;
        Ok(())
    })
}

/// A backend that is asked about joins answers after a while, so they are under way meanwhile.
#[test]
fn a_request_over_their_number_waits_for_an_answer() -> anyhow::Result<()> {
    let backend = Backend::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        (200, r#"{"result":"allow"}"#.to_owned())
    })?;
    let url = backend.url("/hook").parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let server = EmbeddedServer::start_configured(|config| {
        config.hooks.join = HookConfig { url: Some(url), on_failure: OnFailure::Allow };
    })?;
    run(async {
        let (mut alice, mut bob) = (signed_in(&server, "alice").await?, signed_in(&server, "bob").await?);
        for n in 0..REQUESTS_UNDER_WAY_MAX {
            let mut group = group(&format!("room {n}"), Vec::new());
            if let Request::Create { open, .. } = &mut group {
                *open = true;
            }
            done(&mut alice, group).await?;
        }
        for n in 0..REQUESTS_UNDER_WAY_MAX {
            let conversation = room(&format!("room {n}"));
            bob.send_request(Request::Join { conversation, invitation: None }).await?;
        }
        let one_more = bob.send_request(Request::Blocked).await?;
        let (first, reply) = bob.any_reply().await?;
        anyhow::ensure!(first != one_more && matches!(reply, Reply::Done { .. }), "{first}: {reply:?}");
        while bob.any_reply().await?.0 != one_more {}
        Ok(())
    })
}

/// Each refusal waits in the server's memory until the client takes it, also when the next request comes
/// behind it.
#[test]
fn a_client_that_does_not_take_its_answers_is_not_read_and_ends() -> anyhow::Result<()> {
    asks_and(|answers| async move {
        std::future::pending::<()>().await;
        drop(answers);
    })
}

/// The client takes a little from time to time, so that its server has something to write each time.
#[test]
fn a_client_that_takes_its_answers_in_drops_ends_too() -> anyhow::Result<()> {
    const { assert!((DROP_BYTES as u64) < STALL_PROGRESS_BYTES_MIN) };
    asks_and(|mut answers| async move {
        let mut drop = [0; DROP_BYTES];
        loop {
            tokio::time::sleep(Duration::from_millis(CONTROL_STALL_TIMEOUT_MS * 2 / 3)).await;
            let _it_may_have_ended = answers.recv.read_exact(&mut drop).await;
        }
    })
}

/// Bytes of the control stream that a client takes before it looks at any, and as many as make it grant some
/// more.
const CREDIT_BYTES: u32 = 4 * 1024;
const DROP_BYTES: usize = CREDIT_BYTES as usize * 3 / 16;

/// A client asks until it is not read on, and does something with the answers that does not help.
fn asks_and<F: Future<Output = ()>>(does: impl FnOnce(Incoming) -> F) -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let narrow = client_config_with(&server.ca_file(), ALPN, CREDIT_BYTES)?;
        let peer = Peer::connect_with(&endpoint, narrow, server.address(), server.token()).await?;
        let Peer { quic, control: Frames { mut send, incoming }, .. } = peer;
        // A refusal of some 50 bytes for a request of some 7 KiB, of which windows hold few.
        let refused = Request::Messages { conversation: room("room"), seqs: vec![Seq(u64::MAX); 700] };
        let asks = async {
            let mut sent = 0;
            let ask = |id| encode(&ClientFrame::Request { id, request: refused.clone() });
            while send.write_all(&ask(sent)).await.is_ok() {
                sent += 1;
                anyhow::ensure!(sent < 2_000, "all of them are read");
            }
            Ok(())
        };
        let ends = async {
            tokio::select! {
                asked = asks => asked,
                () = does(incoming) => anyhow::bail!("nothing more is done with the answers"),
            }
        };
        // That it takes its time is what is looked at.
        tokio::time::timeout(2 * PATIENCE, ends).await??;
        assert_eq!(close_code(&quic).await?, Code::OVERLOADED);
        Ok(())
    })
}

/// A backend that is asked about joins does not answer, so a join is under way until its time is over. Then
/// it has no effect, also when the backend allows it.
#[test]
fn a_request_that_takes_too_long_is_answered_and_given_up() -> anyhow::Result<()> {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let backend = Backend::start(move |_| {
        waits.1.wait_while(&mut waits.0.lock(), |is_open| !*is_open);
        (200, r#"{"result":"allow"}"#.to_owned())
    })?;
    let url = backend.url("/hook").parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let server = EmbeddedServer::start_configured(|config| {
        config.hooks.join = HookConfig { url: Some(url), on_failure: OnFailure::Allow };
        config.hooks.timeout_ms = 60_000;
        config.limits.request_timeout_ms = 100;
    })?;
    run(async {
        let (mut alice, mut bob) = (signed_in(&server, "alice").await?, signed_in(&server, "bob").await?);
        let mut open_group = group("room", Vec::new());
        if let Request::Create { open, .. } = &mut open_group {
            *open = true;
        }
        let made = in_time(&mut alice, open_group).await?;
        anyhow::ensure!(matches!(made, Reply::Done { .. }), "{made:?}");
        // One after the other: those that are given up hold no places.
        for _ in 0..2 * REQUESTS_UNDER_WAY_MAX {
            let join = Request::Join { conversation: room("room"), invitation: None };
            assert_eq!(refused(&mut bob, join).await?, Code::TIMED_OUT);
        }
        *gate.0.lock() = true;
        gate.1.notify_all();
        let page = Request::Members { conversation: room("room"), after: None, limit: u32::MAX };
        let Reply::Members { members, .. } = in_time(&mut alice, page).await? else {
            anyhow::bail!("a page")
        };
        assert_eq!(members.len(), 1, "{members:?}");
        Ok(())
    })
}
