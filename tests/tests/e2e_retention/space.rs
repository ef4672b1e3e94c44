//! The space of what is absent is freed, by itself and when somebody asks for it.

use super::*;

/// Has all space freed that can be, and waits until it is; gives what has become of it.
fn freed(api: &Api) -> anyhow::Result<Value> {
    const RUN: &str = "/v1/retention/run";
    let run = api.done("POST", RUN, None)?["run"].as_u64().context("a number")?;
    let until = Instant::now() + PATIENCE;
    loop {
        let passes = api.done("GET", RUN, None)?;
        let ended = passes["ended"].as_array().context("those that have ended")?;
        if let Some(own) = ended.iter().find(|pass| pass["run"] == run) {
            return Ok(own.clone());
        }
        ensure!(Instant::now() < until, "it does not end: {passes}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_space_of_a_class_is_freed_and_heads_stay() -> anyhow::Result<()> {
    let class: RetentionClass = "short:short-*:age_s=1".parse()?;
    let server = EmbeddedServer::start_configured(|config| config.retention.classes = vec![class.clone()])?;
    let api = server.api()?;
    let count = 200;
    publish(&api, "short-room", count)?;
    publish(&api, "long-room", 3)?;
    let room = name("short-room");
    let until = Instant::now() + PATIENCE;
    while replay(&server, "ada", &room).await? != [Gap(1, count)] {
        ensure!(Instant::now() < until, "they do not go");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let plan = api.done("GET", "/v1/retention", None)?;
    ensure!(plan["expired_bytes"].as_u64() >= Some(count * 90), "{plan}");
    ensure!(plan["live_bytes"].as_u64() <= Some(10_000), "{plan}");
    for (told, field) in [("quoth_expired_bytes", "expired_bytes"), ("quoth_live_bytes", "live_bytes")] {
        assert_eq!(metric(&api, told)?, Some(plan[field].to_string()), "{told}");
    }
    let oldest_ms = plan["oldest_expired_ms"].as_u64().context("the oldest one")?;
    let oldest_s = metric(&api, "quoth_oldest_expired_timestamp_seconds")?;
    assert_eq!(oldest_s, Some(format!("{}.{:03}", oldest_ms / 1_000, oldest_ms % 1_000)));
    // The window of the class is over after an eighth of a minute. On a busy machine there is one more: what
    // was said took longer than that.
    let (mut windows, mut bytes, mut plan) = (0, 0, plan);
    while windows == 0 || plan["expired_bytes"] != json!(0) {
        ensure!(Instant::now() < until, "it is not freed: {plan}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let reclaimed = freed(&api)?;
        windows += reclaimed["windows"].as_u64().context("windows")?;
        bytes += reclaimed["bytes"].as_u64().context("bytes")?;
        ensure!((&reclaimed["step"], &reclaimed["error"]) == (&json!("done"), &Value::Null), "{reclaimed}");
        ensure!(reclaimed["ended_ms"].as_u64() >= reclaimed["begun_ms"].as_u64(), "{reclaimed}");
        plan = api.done("GET", "/v1/retention", None)?;
    }
    ensure!(bytes > 0 && plan["oldest_expired_ms"].is_null(), "{bytes}: {plan}");
    assert_eq!(metric(&api, "quoth_expired_bytes")?.as_deref(), Some("0"));
    assert_eq!(metric(&api, "quoth_oldest_expired_timestamp_seconds")?, None, "there is none");
    assert_eq!(metric(&api, "quoth_reclaimed_windows_total")?, Some(windows.to_string()));
    let server = server.restart_configured(|config| config.retention.classes = vec![class])?;
    let api = server.api()?;
    assert_eq!(replay(&server, "ada", &room).await?, [Gap(1, count)]);
    assert_eq!(replay(&server, "ada", &name("long-room")).await?, [1, 2, 3].map(Event));
    let next =
        api.done("POST", "/v1/publish", Some(&json!({ "conversation": "short-room", "text": "next" })))?;
    assert_eq!(next["seq"], json!(count + 1), "a seq is given once");
    server.stop()
}

/// A text of which no part comes twice.
fn noise(seed: u64, bytes: usize) -> String {
    let mut number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        text.push(char::from(b'!' + u8::try_from(number % 90).unwrap_or_default()));
    }
    text
}

fn view_bytes(api: &Api) -> anyhow::Result<u64> {
    api.done("GET", "/v1/retention", None)?["view_bytes"].as_u64().context("no view_bytes")
}

/// What there is to free is far below a window, beside something that is kept for ever: nothing would free it
/// by itself for years.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_little_space_freed_too() -> anyhow::Result<()> {
    const GONE: &[u8] = b"good for a second";
    let server = EmbeddedServer::start()?;
    let (api, room) = (server.api()?, name("room"));
    publish(&api, "room", 1)?;
    let mut writer = member(&server, "alice").await?;
    let mut stream = writer.enter(&room, None).await?;
    let publish = Publish { expires_in_ms: 1_000, ..Publish::new(1, GONE.repeat(20)) };
    writer.send(&mut stream, &ClientFrame::Publish(publish)).await?;
    while !matches!(writer.next(&mut stream).await?, Next::Frame(ServerFrame::Ack { .. })) {}
    let until = Instant::now() + PATIENCE;
    while replay(&server, "bob", &room).await? != [Event(1), Gap(2, 2)] {
        ensure!(Instant::now() < until, "it does not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(has(&server.data_dir(), GONE)?);
    // When messages go is counted in parts of their time to live.
    while has(&server.data_dir(), GONE)? {
        ensure!(Instant::now() < until, "it is on the disk still");
        freed(&api)?;
    }
    assert_eq!(replay(&server, "bob", &room).await?, [Event(1), Gap(2, 2)]);
    writer.close().await;
    server.stop()
}

/// Four of 46 parts, in one window: a pass that comes by itself leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_what_is_little_beside_what_stays() -> anyhow::Result<()> {
    const BODY_BYTES: usize = 10_000;
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let say = |room: &str, n: u64| {
        let publish = json!({ "conversation": room, "text": noise(n, BODY_BYTES) });
        api.done("POST", "/v1/publish", Some(&publish)).map(drop)
    };
    (1..=42).try_for_each(|n| say("keep", n))?;
    (43..=46).try_for_each(|n| say("drop", n))?;
    api.done("PUT", "/v1/conversations/drop/retention", Some(&json!({ "count": 1 })))?;
    let plan = || api.done("GET", "/v1/retention", None);
    let expired_bytes = || anyhow::Ok(plan()?["expired_bytes"].as_u64());
    ensure!(expired_bytes()? >= Some(4 * BODY_BYTES as u64), "{}", plan()?);
    let done = freed(&api)?;
    ensure!(done["error"] == Value::Null && done["windows"].as_u64() >= Some(1), "{done}");
    ensure!(expired_bytes()? == Some(0), "{} behind {done}", plan()?);
    let page = api.done("GET", "/v1/conversations/keep/history?after=0&limit=100", None)?;
    assert_eq!(page["events"].as_array().map(Vec::len), Some(42));
    server.stop()
}

/// However their runs lie to one another, and whoever looks when: one run behind another, or one for some.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_who_ask_at_once_is_told_of_its_own_run() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    publish(&api, "room", 3)?;
    let told: anyhow::Result<Vec<_>> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..4).map(|_| scope.spawn(|| freed(&api))).collect();
        asks.into_iter().map(|ask| ask.join().expect("it does not panic")).collect()
    });
    let (told, last) = (told?, freed(&api)?);
    ensure!(told.iter().all(|told| told["run"].as_u64() < last["run"].as_u64()), "{told:?}, {last}");
    let passes = api.done("GET", "/v1/retention/run", None)?;
    let ended = passes["ended"].as_array().context("those that have ended")?;
    // It is the same one still, with its own numbers, though others have ended behind it.
    ensure!(told.iter().chain([&last]).all(|told| ended.contains(told)), "{told:?}, {passes}");
    server.stop()
}

/// Nine of ten messages live for a second, in conversations that are kept for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_a_server_has_little_more_than_what_is_kept() -> anyhow::Result<()> {
    const MESSAGES: u64 = 1_500;
    const BODY_BYTES: usize = 32 * 1024;
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let server = ServerProcess::start_with(&data_dir, "127.0.0.1:0", &["--set", "retention.interval_s=1"])?;
    let api = Api::told(&server.client_file()?)?;
    let token = server.token("alice")?;
    let mut writer = Member::connect(Over::Quic, server.address(), &server.ca_file(), &token).await?;
    let mut streams = Vec::new();
    for room in ["one", "two", "three"] {
        streams.push(writer.enter(&name(room), None).await?);
    }
    let rooms = streams.len() as u64;
    for n in 0..MESSAGES {
        let stream = &mut streams[usize::try_from(n % rooms)?];
        let expires_in_ms = if n % 10 == 0 { 0 } else { 1_000 };
        let publish = Publish { expires_in_ms, ..Publish::new(n + 1, noise(n + 1, BODY_BYTES)) };
        writer.send(stream, &ClientFrame::Publish(publish)).await?;
        while !matches!(writer.next(stream).await?, Next::Frame(ServerFrame::Ack { .. })) {}
    }
    let live = MESSAGES / 10 * BODY_BYTES as u64;
    let until = Instant::now() + PATIENCE;
    let mut bytes = view_bytes(&api)?;
    while bytes * 4 > live * 5 || bytes < live {
        ensure!(Instant::now() < until, "{bytes} bytes for {live}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        bytes = view_bytes(&api)?;
    }
    println!("{bytes} bytes of the disk for {live} of messages that are kept, of {}", live * 10);
    // What was done is counted when the pass comes to its end, which is behind what it takes from the disk.
    loop {
        let stats = api.done("GET", "/v1/stats", None)?;
        let count = |what: &str| stats[what].as_u64();
        if count("reclaimed_bytes") > Some(live) && count("rewritten_bytes") >= Some(live) {
            break;
        }
        ensure!(Instant::now() < until, "{stats}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    writer.close().await;
    // All that is kept is there.
    server.terminate()?;
    let server = ServerProcess::start(&data_dir)?;
    let api = Api::told(&server.client_file()?)?;
    let mut kept = 0;
    for room in ["one", "two", "three"] {
        let mut after = 0;
        loop {
            let page =
                api.done("GET", &format!("/v1/conversations/{room}/history?after={after}&limit=100"), None)?;
            kept += page["events"].as_array().map_or(0, Vec::len);
            after = page["to"].as_u64().context("no end")?;
            if page["more_after"] != json!(true) {
                break;
            }
        }
    }
    assert_eq!(kept as u64, MESSAGES / 10);
    server.terminate()?;
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
        let found = if path.is_dir() {
            has(&path, bytes)?
        } else {
            let read = std::fs::read(&path).unwrap_or_default();
            read.windows(bytes.len()).any(|window| window == bytes)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_leaves_the_disk_by_itself() -> anyhow::Result<()> {
    const SECRET: &str = "zq 7 xk 4 vj 9: it is to be found nowhere";
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let arguments = ["--set", "retention.interval_s=1", "--set", "retention.erasure_max_s=10"];
    let server = ServerProcess::start_with(&data_dir, "127.0.0.1:0", &arguments)?;
    let api = Api::told(&server.client_file()?)?;
    let say = |user: &str, text: &str| {
        let publish = json!({ "conversation": "room", "text": text, "publish_as": user });
        api.done("POST", "/v1/publish", Some(&publish)).map(drop)
    };
    say("ada", "what stays")?;
    say("bob", SECRET)?;
    let store = data_dir.join("store");
    ensure!(has(&store, SECRET.as_bytes())?, "it was there");
    api.done("POST", "/v1/users/bob/erasure", None)?;
    let until = Instant::now() + PATIENCE;
    let erased = || anyhow::Ok(api.done("GET", "/v1/retention", None)?["erased"].clone());
    let is_gone = || anyhow::Ok(api.done("GET", "/v1/users/bob/erasure", None)?["state"] == json!("gone"));
    // With the message goes what the user's own log has. A busy machine may look when all of it has gone.
    let told = loop {
        let told = erased()?;
        if told["events"].as_u64() >= Some(2) || is_gone()? {
            break told;
        }
        ensure!(Instant::now() < until, "it is not told: {told}");
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(told["gone_by_ms"].as_u64() == told["since_ms"].as_u64().map(|ms| ms + 10_000), "{told}");
    while erased()?["events"] != json!(0) || has(&store, SECRET.as_bytes())? {
        ensure!(Instant::now() < until, "it is not gone: {}", erased()?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let page = api.done("GET", "/v1/conversations/room/history?after=0", None)?;
    assert_eq!(page["events"][0]["sender"], json!("ada"), "{page}");
    server.terminate()?;
    Ok(())
}
