//! The operator erases a user.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use quoth_protocol::frame::{Event, EventKind, FetchRange, Start};
use quoth_protocol::membership::{ConversationKind, GoneCause, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, Seq};
use quoth_tests::device::Over;
use quoth_tests::http::Api;
use quoth_tests::member::Member;
use quoth_tests::process::ServerProcess;
use serde_json::{Value, json};

use super::world::{Site, create, create_room, name, set, user};
use super::{hide, react};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who has written what of a conversation that can be read, and its head.
async fn senders(member: &mut Member, conversation: &ConversationName) -> anyhow::Result<(Vec<String>, Seq)> {
    let (mut senders, mut range, mut head) = (Vec::new(), FetchRange::After(Seq(0)), Seq(0));
    loop {
        let page =
            member.page(conversation, range, 1_000).await?.map_err(|code| anyhow::anyhow!("{code}"))?;
        let messages = page.events.iter().filter(|event| event.kind.body().is_some());
        senders.extend(messages.map(|event| event.sender.to_string()));
        head = head.max(page.head);
        range = FetchRange::After(page.to);
        if !page.more_after {
            return Ok((senders, head));
        }
    }
}

fn call(api: &Api, method: &str, user: &str) -> anyhow::Result<Value> {
    tokio::task::block_in_place(|| api.done(method, &format!("/v1/users/{user}/erasure"), None))
}

/// Waits until the erasure has come to one of these states.
async fn comes_to(api: &Api, states: &[&str]) -> anyhow::Result<Value> {
    loop {
        let progress = call(api, "GET", "bob")?;
        if states.iter().any(|state| progress["state"] == *state) {
            return Ok(progress);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn done(api: &Api) -> anyhow::Result<Value> {
    comes_to(api, &["last_owner", "absent", "gone"]).await
}

/// A server and what it serves.
type Started = (ServerProcess, Site, Api);

fn start(data_dir: &Path, arguments: &[&str]) -> anyhow::Result<Started> {
    let arguments = [&["--set", "auth.names_freely=true"], arguments].concat();
    let server = ServerProcess::start_with(data_dir, "127.0.0.1:0", &arguments)?;
    let (address, ca_file) = (server.address(), server.ca_file());
    let api = Api::told(&server.client_file()?)?;
    Ok((server, Site { address, ca_file, data_dir: data_dir.to_owned() }, api))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_has_no_messages_anywhere_also_when_the_server_is_killed_meanwhile()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let (server, site, api) = start(&data_dir, &[])?;
    let mut alice = site.member_with(Over::Quic, "alice", &["*"]).await?;
    let mut bob = site.member_with(Over::Quic, "bob", &["*"]).await?;
    alice.done(create_room(&["bob"])).await?;
    let rooms: Vec<_> = ["room", "free 1", "free 2", "free 3"].map(name).into();
    for room in &rooms {
        for (member, count) in [(&mut alice, 5), (&mut bob, 150)] {
            let mut stream = member.enter(room, Some(Start::Live)).await?;
            for n in 1..=count {
                member.publish(&mut stream, n, "message").await?.unwrap();
            }
        }
    }
    let missing = tokio::task::block_in_place(|| api.send("GET", "/v1/users/bob/erasure", None))?;
    assert_eq!(missing.status(), 404);
    let begun = call(&api, "POST", "bob")?;
    assert_eq!((&begun["state"], &begun["user"]), (&Value::from("under_way"), &Value::from("bob")));
    server.kill()?;

    // It goes on where nobody can ask for it.
    let off = ["--set", "auth.names_freely=true", "--set", "api.listen=off"];
    let server = ServerProcess::start_with(&data_dir, "127.0.0.1:0", &off)?;
    let site = Site { address: server.address(), ca_file: server.ca_file(), data_dir: data_dir.clone() };
    let mut alice = site.member_with(Over::Quic, "alice", &["*"]).await?;
    let goes_on = async {
        for room in &rooms {
            while senders(&mut alice, room).await?.0 != ["alice"; 5] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, goes_on).await.context("bob's messages stay")??;
    server.kill()?;

    let (server, site, api) = start(&data_dir, &[])?;
    let erased = done(&api).await?;
    let told = tokio::task::block_in_place(|| api.done("GET", "/v1/retention", None))?;
    assert_eq!(told["erasures"], json!([]), "{told}");
    assert!(
        erased["conversations_looked_at"].as_u64() >= Some(4) && erased["absent_ms"].as_u64() > Some(0),
        "{erased}"
    );
    let mut alice = site.member_with(Over::Quic, "alice", &["*"]).await?;
    let mut heads = Vec::new();
    for room in &rooms {
        let (senders, head) = senders(&mut alice, room).await?;
        assert_eq!(senders, ["alice"; 5], "{room}");
        heads.push(head);
    }
    // Once more there is nothing to do, and no seq is used for it.
    call(&api, "POST", "bob")?;
    assert_eq!(done(&api).await?["messages"], 0);
    for (room, head) in rooms.iter().zip(heads) {
        assert_eq!(senders(&mut alice, room).await?.1, head);
    }
    server.kill()?;
    Ok(())
}

/// Whether any file of a folder has these bytes. What goes meanwhile has nothing.
fn has(dir: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => has(&path, bytes)?,
            false => std::fs::read(&path).unwrap_or_default().windows(bytes.len()).any(|part| part == bytes),
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the receipts of a message say to somebody: who has got it.
async fn received(member: &mut Member, seq: Seq) -> anyhow::Result<Vec<String>> {
    match member.request(Request::Receipts { conversation: name("room"), seq }).await? {
        Reply::Receipts { users, .. } => Ok(users.into_iter().map(|info| info.user.to_string()).collect()),
        other => anyhow::bail!("no receipts: {other:?}"),
    }
}

/// The reactions to a message, as somebody is told them.
async fn reactions(member: &mut Member, seq: Seq) -> anyhow::Result<Vec<(String, u32)>> {
    match member.request(crate::states(&[seq])).await? {
        Reply::Messages { states, .. } => {
            let reactions = states.into_iter().flat_map(|state| state.reactions);
            Ok(reactions.map(|reaction| (reaction.reaction, reaction.count)).collect())
        }
        other => anyhow::bail!("no states: {other:?}"),
    }
}

/// Who is a member of the room.
async fn members(member: &mut Member) -> anyhow::Result<Vec<String>> {
    let all = Request::Members { conversation: name("room"), after: None, limit: 9 };
    match member.request(all).await? {
        Reply::Members { members, .. } => Ok(members.into_iter().map(|info| info.user.to_string()).collect()),
        other => anyhow::bail!("no members: {other:?}"),
    }
}

/// Of bob, who was erased and comes back, there is what the answer has said that stays.
async fn begins_anew(bob: &mut Member, direct: ConversationName) -> anyhow::Result<()> {
    assert_eq!(bob.request(Request::Blocked).await?, Reply::Users { users: vec![] });
    let page =
        bob.page(&name("$me"), FetchRange::After(Seq(0)), 100).await?.map_err(|code| anyhow!("{code}"))?;
    let belongs = |event: &Event| matches!(&event.kind, EventKind::Belongs { conversation, .. } if *conversation == name("room"));
    assert!(page.events.len() == 1 && belongs(&page.events[0]), "but that alice has added bob: {page:?}");
    let inbox = bob.inbox(None, 9).await?.0;
    let mut rooms: Vec<_> = inbox.iter().map(|row| row.conversation.clone()).collect();
    rooms.sort();
    let mut all = [name("room"), direct];
    all.sort();
    assert_eq!(rooms, all, "what stays is in the list still");
    assert!(inbox.iter().all(|row| !row.pinned && !row.archived && row.muted_until_ms == 0), "{inbox:?}");
    Ok(())
}

/// What bob leaves behind besides messages: reactions, something hidden, a block, settings and a receipt.
async fn leave_traces(bob: &mut Member, first: Seq, blocked: &str) -> anyhow::Result<()> {
    for reaction in ["+1", "heart"] {
        bob.done(react(first, reaction, true)).await?;
    }
    bob.done(hide(first)).await?;
    bob.done(Request::Block { user: user(blocked), blocked: true }).await?;
    let (conversation, muted_until_ms) = (name("room"), u64::MAX);
    bob.done(Request::SetInbox { conversation, archived: true, muted_until_ms, pinned: true }).await?;
    bob.done(Request::Mark { conversation: name("room"), delivered: first, read: first }).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_user_there_is_left_what_the_answer_says_and_nothing_else() -> anyhow::Result<()> {
    const SECRET: &str = "zq 7 xk 4 vj 9: what bob has said";
    const BLOCKED: &str = "whom-nobody-but-bob-knows";
    let settings =
        ["retention.interval_s=1", "retention.erasure_max_s=10", "store.log_segment_bytes=4194304"];
    let arguments = settings.map(|setting| ["--set", setting]).concat();
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let (server, site, api) = start(&data_dir, &arguments)?;
    let mut alice = site.member_with(Over::Quic, "alice", &["*"]).await?;
    let mut bob = site.member_with(Over::Quic, "bob", &["*"]).await?;
    alice.done(create_room(&["bob", "carol"])).await?;
    bob.done(create(Some("bob's"), ConversationKind::Group, &["alice"])).await?;
    let direct = bob.done(create(None, ConversationKind::Direct, &["alice"])).await?.0;
    let say = async |member: &mut Member, room: &str, text: &str| {
        let mut stream = member.enter(&name(room), Some(Start::Live)).await?;
        anyhow::Ok(member.publish(&mut stream, 1, text).await?.unwrap())
    };
    let first = say(&mut alice, "room", "what stays").await?;
    let secret = say(&mut bob, "room", SECRET).await?;
    say(&mut bob, "bob's", SECRET).await?;
    alice.done(react(first, "+1", true)).await?;
    leave_traces(&mut bob, first, BLOCKED).await?;
    assert_eq!(received(&mut alice, first).await?, ["bob"]);
    assert_eq!(reactions(&mut alice, first).await?, [("+1".to_owned(), 2), ("heart".to_owned(), 1)]);
    bob.close().await;
    let sessions = || tokio::task::block_in_place(|| api.done("GET", "/v1/users/bob/sessions", None));
    let device = loop {
        let all = sessions()?["sessions"].clone();
        match all[0]["status"].as_str() {
            Some("offline") => break all[0]["device"].as_str().context("a device")?.to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let store = data_dir.join("store");
    let words = [SECRET, BLOCKED, &device];
    while !has(&store, device.as_bytes())? {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(has(&store, SECRET.as_bytes())? && has(&store, BLOCKED.as_bytes())?);
    let mut carol = site.member_with(Over::Quic, "carol", &["*"]).await?;
    let mut watching = carol.enter(&name("room"), Some(Start::Live)).await?;
    call(&api, "POST", "bob")?;
    let erased = done(&api).await?;
    assert_eq!(
        [&erased["messages"], &erased["reactions"], &erased["memberships"]],
        [&json!(2), &json!(2), &json!(1)],
        "{erased}"
    );
    assert_eq!((&erased["owner_of"], &erased["state"]), (&json!(["bob's"]), &json!("last_owner")));
    assert_eq!(erased["gone_by_ms"].as_u64(), erased["absent_ms"].as_u64().map(|ms| ms + 10_000), "{erased}");
    // Whoever reads is told: that bob is out, the message gone, and the reactions taken back.
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(carol.event(&mut watching).await?.unwrap().kind);
    }
    let off = |reaction: &str| EventKind::Reacted { seq: first, reaction: reaction.to_owned(), on: false };
    let gone = EventKind::MemberGone { user: user("bob"), cause: GoneCause::Removed };
    assert_eq!(told, [gone, EventKind::Revoked { seq: secret }, off("+1"), off("heart")]);
    assert_eq!(reactions(&mut alice, first).await?, [("+1".to_owned(), 1)]);
    assert_eq!(members(&mut alice).await?, ["alice", "carol"]);
    assert_eq!(sessions()?["sessions"], json!([]));
    // As the last owner bob is there still, until somebody else is owner.
    let owner = json!({ "role": "owner" });
    let path = "/v1/conversations/bob's/members/alice";
    tokio::task::block_in_place(|| api.done("PUT", path, Some(&owner)))?;
    call(&api, "POST", "bob")?;
    let erased = comes_to(&api, &["absent", "gone"]).await?;
    assert_eq!((&erased["owner_of"], &erased["memberships"]), (&json!([]), &json!(1)), "{erased}");
    // Who comes back begins anew.
    alice.done(set("bob", Role::Member)).await?;
    assert_eq!(received(&mut alice, first).await?, Vec::<String>::new());
    server.kill()?;

    // A crash changes nothing, and what is said to be gone is in no file.
    let (server, site, api) = start(&data_dir, &arguments)?;
    let gone = comes_to(&api, &["gone"]).await?;
    for word in words {
        assert!(!has(&store, word.as_bytes())?, "{word} is there still: {gone}");
    }
    begins_anew(&mut site.member_with(Over::Quic, "bob", &["*"]).await?, direct).await?;
    server.kill()?;
    Ok(())
}
