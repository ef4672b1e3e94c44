//! The operator erases a user.

use std::path::Path;
use std::time::Duration;

use quoth_protocol::frame::{FetchRange, Start};
use quoth_protocol::{ConversationName, Seq};
use quoth_tests::device::Over;
use quoth_tests::http::Api;
use quoth_tests::member::Member;
use quoth_tests::process::ServerProcess;
use serde_json::Value;

use super::world::{Site, create_room, name};

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

/// Waits until the erasure is done.
async fn done(api: &Api) -> anyhow::Result<Value> {
    loop {
        let progress = call(api, "GET", "bob")?;
        if progress["done"] == true {
            return Ok(progress);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_has_no_messages_anywhere_also_when_the_server_is_killed_meanwhile()
-> anyhow::Result<()> {
    let start = |data_dir: &Path| {
        let server = ServerProcess::start(data_dir)?;
        let (address, ca_file) = (server.address(), server.ca_file());
        let api = Api::told(&server.client_file()?)?;
        anyhow::Ok((server, Site { address, ca_file, data_dir: data_dir.to_owned() }, api))
    };
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let (server, site, api) = start(&data_dir)?;
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
    assert_eq!((&begun["done"], &begun["user"]), (&Value::from(false), &Value::from("bob")));
    server.kill()?;

    let (server, site, api) = start(&data_dir)?;
    let erased = done(&api).await?;
    assert!(erased["conversations"].as_u64() >= Some(4) && erased["done_ms"].as_u64() > Some(0), "{erased}");
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
