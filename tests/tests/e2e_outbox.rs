//! Events for a backend: in order and at least once, however long nobody takes them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::Endpoint;
use quoth_tests::http::{Api, Backend, HeldAddress, Message};
use quoth_tests::process::ServerProcess;
use quoth_tests::wire::Peer;
use serde_json::{Value, json};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Batches that are refused before one is taken.
const REFUSALS: usize = 3;

/// Batches that are taken before one that is not answered.
const TAKEN: usize = 3;

/// Conversations of the load.
const ROOMS: u64 = 3;

/// Starts a server that sends events there.
fn start(data: &Path, events: SocketAddr, more: &[&str]) -> anyhow::Result<(ServerProcess, Api)> {
    let events = format!("hooks.events_url=http://{events}/events");
    let server = ServerProcess::start_with(data, "127.0.0.1:0", &[&["--set", &events], more].concat())?;
    let api = Api::told(&server.client_file()?)?;
    Ok((server, api))
}

/// Publishes so many messages, in turns to all rooms.
fn publish(api: &Api, count: u64) -> anyhow::Result<()> {
    for _ in 0..count / 500 {
        let message =
            |n: u64| json!({ "conversation": format!("room {}", n % ROOMS), "text": format!("{n}") });
        let messages: Vec<_> = (0..500).map(message).collect();
        let answer = api.done("POST", "/v1/publish/batch", Some(&json!({ "messages": messages })))?;
        anyhow::ensure!(answer["refused"] == json!(0), "{answer}");
    }
    Ok(())
}

fn events(request: &Message) -> Vec<Value> {
    request.json()["events"].as_array().cloned().unwrap_or_default()
}

/// All events of requests, each once, in the order in which they came first.
///
/// # Panics
/// When one came again otherwise than before.
fn once(requests: &[Message]) -> Vec<Value> {
    let (mut known, mut all) = (HashMap::new(), Vec::new());
    for event in requests.iter().flat_map(events) {
        let id = event["id"].as_str().expect("an id").to_owned();
        match known.get(&id) {
            Some(before) => assert_eq!(before, &event, "{id} came again, and is another one"),
            None => {
                known.insert(id, event.clone());
                all.push(event);
            }
        }
    }
    all
}

/// Events of messages, which are all there are, in order of the log: each room's seqs have no hole.
fn assert_complete(events: &[Value], count: u64) {
    assert_eq!(events.len() as u64, count);
    let place = |event: &Value| {
        let (position, index) =
            event["id"].as_str().and_then(|id| id.split_once('-')?.1.split_once(':')).expect("a place");
        (position.parse::<u64>().expect("a number"), index.parse::<u64>().expect("a number"))
    };
    assert!(events.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])), "the order is kept");
    let mut heads: HashMap<&str, u64> = HashMap::new();
    for event in events {
        let head = heads.entry(event["conversation"].as_str().expect("a name")).or_default();
        *head += 1;
        assert_eq!((event["type"].as_str(), event["event"]["seq"].as_u64()), (Some("message"), Some(*head)));
    }
}

fn count(requests: &[Message]) -> u64 {
    requests.iter().map(|request| events(request).len() as u64).sum()
}

#[test]
fn nothing_is_lost_while_nobody_takes_events_and_the_server_is_killed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let takes = |_: &Message| (200, String::new());
    let held = HeldAddress::free()?;
    let address = held.address();
    let backend = Backend::start_at(address, takes)?;
    let (server, api) = start(&data, address, &[])?;
    publish(&api, 1_000)?;
    backend.wait_until(|requests| once(requests).len() == 1_000);
    let mut taken = backend.stop();
    // Nobody is there, for the rest of this server's life and the whole of the next one's.
    publish(&api, 3_000)?;
    server.kill()?;
    let (server, api) = start(&data, address, &[])?;
    publish(&api, 3_000)?;
    server.kill()?;
    // Somebody is there and takes nothing at first; then the server is killed while its events are taken.
    let (server, api) = start(&data, address, &[])?;
    let (kill, killed) = mpsc::channel::<()>();
    let (came, killed) = (AtomicUsize::new(0), Mutex::new(killed));
    let backend = Backend::start_at(address, move |_| {
        let before = came.fetch_add(1, Ordering::Relaxed);
        if before >= REFUSALS + TAKEN {
            // No answer to this one is heard, however late the kill comes: so it comes again.
            let _is_killed = killed.lock().recv();
        }
        (if before < REFUSALS { 503 } else { 200 }, String::new())
    })?;
    publish(&api, 1_000)?;
    backend.wait_until(|requests| requests.len() > REFUSALS + TAKEN);
    server.kill()?;
    drop(kill);
    // What it has refused it does not have.
    taken.extend(backend.stop().into_iter().skip(REFUSALS));
    let backend = Backend::start_at(address, takes)?;
    let (server, api) = start(&data, address, &[])?;
    publish(&api, 500)?;
    backend.wait_until(|requests| {
        let all = [taken.as_slice(), requests].concat();
        once(&all).len() == 8_500
    });
    taken.extend(backend.requests());
    assert_complete(&once(&taken), 8_500);
    assert!(count(&taken) > 8_500, "some came twice, or the kill has tested nothing");
    // A batch has few hundreds of events and an id of its own, which is signed.
    for request in &taken {
        assert!((1..=500).contains(&events(request).len()));
        assert!(
            request.header("webhook-signature").starts_with("v1,")
                && !request.header("webhook-id").is_empty()
        );
    }
    // What has come counts once it is answered.
    let started = Instant::now();
    loop {
        let outbox = &api.done("GET", "/v1/stats", None)?["outbox"];
        if (&outbox["failing"], &outbox["backlog_bytes"]) == (&Value::Null, &json!(0)) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{outbox}");
    }
    // After a clean stop nothing comes again.
    let before = backend.requests().len();
    assert!(server.terminate()?.success());
    let (_server, api) = start(&data, address, &[])?;
    publish(&api, 500)?;
    backend.wait_until(|requests| count(&requests[before..]) >= 500);
    assert_eq!(count(&backend.requests()[before..]), 500);
    Ok(())
}

#[test]
fn the_log_is_kept_for_events_when_the_view_needs_it_no_more() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    // Nobody is there.
    let held = HeldAddress::free()?;
    let address = held.address();
    let small = ["--set", "store.log_segment_bytes=4194304"];
    let messages = vec![json!({ "conversation": "room", "text": "x".repeat(60_000) }); 100];
    let batch = json!({ "messages": messages });
    let segments = || Ok::<_, std::io::Error>(std::fs::read_dir(data.join("store/log"))?.count());
    // Far more than a log keeps for itself, over runs that each end with a view that has everything.
    for _ in 0..3 {
        let (server, api) = start(&data, address, &small)?;
        for _ in 0..4 {
            api.done("POST", "/v1/publish/batch", Some(&batch))?;
        }
        assert!(server.terminate()?.success());
    }
    let kept = segments()?;
    assert!(kept > 12, "{kept} segments of 4 MiB are not 72 MB");
    let backend = Backend::start_at(address, |_| (200, String::new()))?;
    let (server, _) = start(&data, address, &small)?;
    let taken = |requests: &[Message]| requests.iter().map(|request| events(request).len()).sum::<usize>();
    backend.wait_until(|requests| taken(requests) >= 1_200);
    assert_complete(&once(&backend.requests()), 1_200);
    assert!(server.terminate()?.success());
    let (server, _) = start(&data, address, &small)?;
    assert!(segments()? < kept, "what was taken is let go");
    assert!(server.terminate()?.success());
    Ok(())
}

#[test]
fn what_is_kept_has_a_bound_and_a_gap_is_told_before_what_follows_it() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    // Nobody is there.
    let held = HeldAddress::free()?;
    let address = held.address();
    let bounds = ["--set", "store.log_segment_bytes=4194304", "--set", "hooks.outbox_bytes_max=8388608"];
    let (server, api) = start(&data, address, &bounds)?;
    let text = "x".repeat(60_000);
    let messages = vec![json!({ "conversation": "room", "text": text }); 100];
    let batch = json!({ "messages": messages });
    for _ in 0..4 {
        api.done("POST", "/v1/publish/batch", Some(&batch))?;
    }
    // Over 24 MB, of which 8 are kept at most.
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "nothing is dropped");
        let outbox = api.done("GET", "/v1/stats", None)?["outbox"].clone();
        let is_bounded = outbox["backlog_bytes"].as_u64().is_some_and(|bytes| bytes <= 8_388_608);
        if is_bounded && ServerProcess::log(&data).contains("EVENTS ARE DROPPED") {
            break;
        }
    }
    server.kill()?;
    let backend = Backend::start_at(address, |_| (200, String::new()))?;
    let (_server, api) = start(&data, address, &bounds)?;
    api.done("POST", "/v1/publish", Some(&json!({ "conversation": "room", "text": "last" })))?;
    let is_last = |event: &Value| event["event"]["kind"]["message"]["body"] == json!("last");
    backend.wait_until(|requests| requests.iter().flat_map(events).any(|event| is_last(&event)));
    let all = once(&backend.requests());
    let gap = &all[0];
    let from = gap["from"].as_str().and_then(|from| from.split_once('-')).map(|(_, place)| place);
    assert_eq!((gap["type"].as_str(), from), (Some("gap"), Some("1:0")), "{gap}");
    let before =
        gap["before"].as_str().and_then(|place| place.split_once(':')).expect("a place").0.to_owned();
    let next = all[1]["id"].as_str().expect("an id");
    assert!(next.starts_with(&format!("{before}:")), "{next} is not behind {gap}");
    let seqs: Vec<u64> = all[1..].iter().filter_map(|event| event["event"]["seq"].as_u64()).collect();
    assert!(seqs[0] > 1 && seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "one gap and no other");
    assert_eq!(seqs.last(), Some(&401));
    Ok(())
}

#[test]
fn only_what_is_wanted_is_sent() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let backend = Backend::start(|_| (204, String::new()))?;
    let wanted = ["--set", "hooks.events_conversations=team/*,last", "--set", "hooks.events_kinds=message"];
    let (_server, api) = start(&dir.path().join("data"), backend.address(), &wanted)?;
    for conversation in ["team/red", "other", "team/blue", "last"] {
        api.done("POST", "/v1/publish", Some(&json!({ "conversation": conversation, "text": "" })))?;
    }
    backend.wait_until(|requests| {
        requests.iter().flat_map(events).any(|event| event["conversation"] == json!("last"))
    });
    let names: Vec<_> = once(&backend.requests()).iter().map(|event| event["conversation"].clone()).collect();
    assert_eq!(names, ["team/red", "team/blue", "last"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_is_told_once_also_over_a_crash() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let backend = Backend::start(|_| (200, String::new()))?;
    // Longer than it takes to come back on a busy machine, at once and, three times as long, behind a crash.
    let settings = ["--set", "hooks.events_kinds=online,offline", "--set", "presence.leave_ms=5000"];
    let (server, _) = start(&data, backend.address(), &settings)?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let connect = async |server: &ServerProcess, user: &str| {
        Peer::connect(&endpoint, server.address(), &server.ca_file(), &server.token(user)?).await
    };
    let told = |requests: &[Message]| -> Vec<String> {
        let text = |event: &Value| {
            format!(
                "{} {}",
                event["user"].as_str().unwrap_or_default(),
                event["type"].as_str().unwrap_or_default()
            )
        };
        once(requests).iter().map(text).collect()
    };
    let wait = |expected: &[&str]| {
        backend.wait_until(|requests| told(requests).len() >= expected.len());
        assert_eq!(told(&backend.requests()), expected);
    };
    let first = connect(&server, "alice").await?;
    wait(&["alice online"]);
    // Who comes back at once was not away.
    first.quic.close(0_u32.into(), b"");
    let again = connect(&server, "alice").await?;
    let bob = connect(&server, "bob").await?;
    wait(&["alice online", "bob online"]);
    bob.quic.close(0_u32.into(), b"");
    wait(&["alice online", "bob online", "bob offline"]);
    let _bob = connect(&server, "bob").await?;
    wait(&["alice online", "bob online", "bob offline", "bob online"]);
    // Neither says goodbye. One of them comes back.
    server.kill()?;
    drop(again);
    let (server, _) = start(&data, backend.address(), &settings)?;
    let _alice = connect(&server, "alice").await?;
    wait(&["alice online", "bob online", "bob offline", "bob online", "bob offline"]);
    Ok(())
}

#[test]
fn what_is_absent_by_the_time_it_is_taken_is_told_without_what_it_said() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let takes = Arc::new(AtomicBool::new(false));
    let is_taken = Arc::clone(&takes);
    let backend =
        Backend::start(move |_| (if is_taken.load(Ordering::Relaxed) { 200 } else { 503 }, String::new()))?;
    let data = dir.path().join("data");
    let (_server, api) = start(&data, backend.address(), &["--set", "hooks.events_kinds=message"])?;
    let publish = |user: &str, text: &str| {
        let message = json!({ "conversation": "room", "text": text, "publish_as": user });
        api.done("POST", "/v1/publish", Some(&message))
    };
    publish("bob", "secret")?;
    publish("alice", "open")?;
    // Nobody has taken it, but it was sent: nothing was absent then.
    let told = |requests: &[Message], text: &str| {
        requests.iter().flat_map(events).any(|event| event["event"]["kind"]["message"]["body"] == json!(text))
    };
    backend.wait_until(|requests| told(requests, "secret"));
    api.done("POST", "/v1/users/bob/erasure", None)?;
    let started = Instant::now();
    while !["absent", "gone"]
        .contains(&api.done("GET", "/v1/users/bob/erasure", None)?["state"].as_str().unwrap_or_default())
    {
        assert!(started.elapsed() < PATIENCE, "it is not erased");
    }
    // What is under way may still be a try of before.
    let before = backend.requests().len();
    backend.wait_until(|requests| requests.len() > before + 1);
    takes.store(true, Ordering::Relaxed);
    publish("alice", "last")?;
    // What is taken may begin with the request that was waited for: it was read behind the erasure, too.
    let taken = backend.wait_until_taken(|requests| told(requests, "last"));
    assert!(!told(&taken, "secret") && told(&taken, "open"));
    let first = taken.iter().flat_map(events).next().expect("an event");
    let expected = json!({
        "id": first["id"], "type": "message", "conversation": "room", "event": null, "absent": true
    });
    assert_eq!(first, expected);
    let id = |requests: &[Message]| {
        let secret = |event: &Value| event["event"]["kind"]["message"]["body"] == json!("secret");
        requests.iter().flat_map(events).find(secret).map(|event| event["id"].clone())
    };
    assert_eq!(id(&backend.requests()), Some(first["id"].clone()), "it is the same event");
    Ok(())
}
