//! The server API: who may do what, what is stored once, and what is refused how.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quinn::Endpoint;
use quoth_protocol::frame::{EventKind, ServerFrame, Start};
use quoth_server::api::{ApiKeySpec, Scope};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::{Api, Message};
use quoth_tests::process::ServerProcess;
use quoth_tests::wire::Peer;
use serde_json::{Value, json};

/// A refusal as every one of them looks.
fn assert_problem(answer: &Message, status: u16, code: &str) {
    let problem = answer.json();
    assert_eq!((answer.status(), problem["code"].as_str()), (status, Some(code)), "{problem}");
    assert_eq!(problem["status"].as_u64(), Some(status.into()));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
}

#[test]
fn a_conversation_is_made_once_and_all_are_listed() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let make = |key: &str, body: Value| {
        let headers = [("Idempotency-Key", key)];
        api.send_with("POST", "/v1/conversations", &headers, body.to_string().as_bytes())
    };
    let group = |title: &str| json!({ "kind": "group", "owner": "boss", "title": title, "members": ["a"] });
    let first = make("team", group("Team"))?.json();
    let again = make("team", group("Another title"))?.json();
    assert_eq!((first["seq"].as_u64(), again["seq"].as_u64()), (Some(3), Some(0)), "{first} {again}");
    assert_eq!(first["conversation"], again["conversation"]);
    let other = make("other", group("Other"))?.json();
    let channel = make("team", json!({ "kind": "channel", "owner": "boss" }))?.json();
    assert!(
        other["conversation"] != first["conversation"] && channel["conversation"] != first["conversation"]
    );
    let of_another = make("team", json!({ "kind": "group", "owner": "eve" }))?;
    assert_eq!((of_another.status(), of_another.json()["code"].as_str()), (409, Some("already_exists")));
    assert_eq!(make("no key at all", group("Team"))?.status(), 400);

    // Those that nobody has created are there too, and nobody's own log.
    let mut expected = BTreeSet::from([first, other, channel].map(|made| made["conversation"].to_string()));
    for n in 0..7 {
        let name = format!("room {n}");
        api.done("POST", "/v1/publish", Some(&json!({ "conversation": name, "text": "hi" })))?;
        expected.insert(json!(name).to_string());
    }
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.done("GET", &format!("/v1/conversations?limit=3{after}"), None)?;
        let rows = page["conversations"].as_array().context("a list")?.clone();
        let last = rows.last().context("a page that is not empty")?["conversation"].clone();
        listed.extend(rows);
        if page["more"] == json!(false) {
            break;
        }
        let last = last.as_str().context("a name")?.replace(' ', "%20").replace('/', "%2F");
        after = format!("&after={last}");
    }
    assert_eq!(listed.len(), expected.len());
    assert_eq!(listed.iter().map(|row| row["conversation"].to_string()).collect::<BTreeSet<_>>(), expected);
    let team = listed.iter().find(|row| row["title"] == json!("Team")).context("the first one's title")?;
    assert_eq!((&team["kind"], &team["members"], &team["head"]), (&json!("group"), &json!(2), &json!(3)));
    let room = listed.iter().find(|row| row["conversation"] == json!("room 0")).context("a room")?;
    assert_eq!((&room["kind"], &room["members"], &room["head"]), (&Value::Null, &json!(0), &json!(1)));
    Ok(())
}

#[test]
fn a_repeat_stores_nothing_and_gets_the_first_ones_place_also_after_a_crash() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data)?;
    let api = Api::told(&server.client_file()?)?;
    let body = |n: u64| json!({ "conversation": "orders", "text": format!("order {n}"), "idempotency_key": format!("k{n}") });
    let publish = |api: &Api, n| api.done("POST", "/v1/publish", Some(&body(n)));
    let mut first = Vec::new();
    for n in 0..50 {
        first.push(publish(&api, n)?);
    }
    // The header says the same, and many at once are one.
    let by_header = json!({ "conversation": "orders", "text": "again" }).to_string();
    let again = api.send_with("POST", "/v1/publish", &[("Idempotency-Key", "k7")], by_header.as_bytes())?;
    assert_eq!((again.json()["seq"].as_u64(), again.json()["duplicate"].as_bool()), (Some(8), Some(true)));
    let racing: Vec<_> = (0..8)
        .map(|_| {
            let (api, body) = (api.clone(), body(50));
            std::thread::spawn(move || api.done("POST", "/v1/publish", Some(&body)))
        })
        .collect();
    let mut stored = 0;
    for one in racing {
        let answer = one.join().expect("no panic")?;
        assert_eq!(answer["seq"], json!(51));
        stored += u32::from(answer["duplicate"] == json!(false));
    }
    assert_eq!(stored, 1);
    server.kill()?;
    let server = ServerProcess::start(&data)?;
    let api = Api::told(&server.client_file()?)?;
    for n in (0..50_usize).rev() {
        let repeat = publish(&api, n as u64)?;
        assert_eq!((&repeat["seq"], &repeat["time_ms"]), (&first[n]["seq"], &first[n]["time_ms"]));
        assert_eq!(repeat["duplicate"], json!(true));
    }
    let history = api.done("GET", "/v1/conversations/orders/history?limit=1", None)?;
    assert_eq!(history["head"], json!(51), "nothing was written twice");
    // Without a key each one is another message, also of one producer before and after a restart.
    let plain = json!({ "conversation": "orders", "text": "plain" });
    assert_eq!(api.done("POST", "/v1/publish", Some(&plain))?["seq"], json!(52));
    assert_eq!(api.done("POST", "/v1/publish", Some(&plain))?["seq"], json!(53));
    Ok(())
}

/// A server whose keys have one scope each.
fn with_a_key_for_each_scope(dir: &std::path::Path) -> anyhow::Result<(EmbeddedServer, Vec<(Scope, Api)>)> {
    let mut specs: Vec<ApiKeySpec> = Vec::new();
    for scope in Scope::ALL {
        let file = dir.join(scope.name());
        std::fs::write(&file, format!("{}-{}", scope.name(), "x".repeat(32)))?;
        let spec = format!("{0}={0}:{1}", scope.name(), file.display());
        specs.push(spec.parse().map_err(|error: String| anyhow::anyhow!(error))?);
    }
    let server = EmbeddedServer::start_configured(|config| config.api.keys = specs)?;
    let api = |scope: Scope| {
        Ok((scope, Api { key: format!("{}-{}", scope.name(), "x".repeat(32)), ..server.api()? }))
    };
    let apis = Scope::ALL.into_iter().map(api).collect::<anyhow::Result<_>>()?;
    Ok((server, apis))
}

/// Every operation of the document: method, path with some names in it, and what its description says of the
/// scope.
fn operations(document: &Value) -> anyhow::Result<Vec<(String, String, Option<String>)>> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().context("no paths")? {
        let path = path.replace(['{', '}'], "");
        for (method, operation) in methods.as_object().context("no methods")? {
            let scope = operation["description"].as_str().and_then(|text| text.split('`').nth(1));
            found.push((method.to_ascii_uppercase(), path.clone(), scope.map(str::to_owned)));
        }
    }
    ensure!(found.len() >= 6, "{found:?}");
    Ok(found)
}

#[test]
fn every_operation_asks_for_its_scope_and_for_a_key_before_all_else() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, apis) = with_a_key_for_each_scope(dir.path())?;
    let nobody = Api { key: String::new(), ..server.api()? };
    let document = nobody.done("GET", "/v1/openapi.json", None)?;
    for (method, path, wanted) in operations(&document)? {
        let Some(wanted) = wanted else {
            assert_eq!(nobody.send(&method, &path, None)?.status(), 200, "{path} is for everybody");
            continue;
        };
        assert_problem(&nobody.send(&method, &path, None)?, 401, "unauthorized");
        let stranger = Api { key: "x".repeat(40), ..nobody.clone() };
        assert_problem(&stranger.send(&method, &path, None)?, 401, "unauthorized");
        for (scope, api) in &apis {
            let answer = api.send(&method, &path, None)?;
            if scope.name() == wanted || *scope == Scope::Admin {
                assert!(!matches!(answer.status(), 401 | 403), "{method} {path}: {}", answer.json());
            } else {
                assert_problem(&answer, 403, "scope_missing");
            }
        }
    }
    server.stop()
}

/// An application that makes groups cannot end what keeps evidence, nor see what would go.
#[test]
fn a_hold_is_no_matter_of_a_key_that_makes_conversations() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, apis) = with_a_key_for_each_scope(dir.path())?;
    let admin = apis.iter().find(|(scope, _)| *scope == Scope::Admin).context("no key of all")?.1.clone();
    let say = json!({ "conversation": "room", "text": "evidence" });
    admin.done("POST", "/v1/publish", Some(&say))?;
    admin.done("PUT", "/v1/conversations/room/hold", None)?;
    for (_, api) in apis.iter().filter(|(scope, _)| *scope != Scope::Admin) {
        for (method, below) in [("PUT", "hold"), ("DELETE", "hold"), ("POST", "hold/preview")] {
            let answer = api.send(method, &format!("/v1/conversations/room/{below}"), None)?;
            assert_problem(&answer, 403, "scope_missing");
        }
    }
    let kept = admin.done("GET", "/v1/conversations/room/retention", None)?;
    ensure!(kept["hold_ms"].as_u64() > Some(0), "{kept}");
    let released = admin.done("DELETE", "/v1/conversations/room/hold", None)?;
    assert_eq!(released["hold_ms"], json!(0));
    server.stop()
}

/// Whoever measures sees how much goes, and not who talks to whom.
#[test]
fn a_key_that_measures_learns_no_names() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (server, apis) = with_a_key_for_each_scope(dir.path())?;
    let admin = apis.iter().find(|(scope, _)| *scope == Scope::Admin).context("no key of all")?.1.clone();
    let create = json!({ "kind": "direct", "owner": "alice", "members": ["bob"] });
    let made = admin.done("POST", "/v1/conversations", Some(&create))?;
    let name = made["conversation"].as_str().context("no name")?;
    let path = format!("/v1/conversations/{}/retention", name.replace('/', "%2F"));
    admin.done("PUT", &path, Some(&json!({ "age_s": 86_400 })))?;
    // A look of a moment ago may be told again.
    let until = Instant::now() + Duration::from_secs(20);
    while !admin.done("GET", "/v1/retention", None)?["conversations"].to_string().contains(name) {
        ensure!(Instant::now() < until, "its oldest event goes in a day");
        std::thread::sleep(Duration::from_millis(50));
    }
    let classes = json!({ "classes": ["all:direct/*:count=1"] });
    // Behind one that took long, as on a busy machine, there is a rest.
    let until = Instant::now() + Duration::from_secs(60);
    let preview = |api: &Api| loop {
        let answer = api.send("POST", "/v1/retention/preview", Some(&classes))?;
        if answer.json()["code"] != json!("overloaded") || Instant::now() > until {
            break anyhow::Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for (scope, api) in &apis {
        let plan = api.send("GET", "/v1/retention", None)?;
        if matches!(scope, Scope::Stats | Scope::Admin) {
            assert_eq!(plan.status(), 200, "{scope:?}");
            let plan = plan.json();
            ensure!(plan["live_bytes"].as_u64() > Some(0), "{plan}");
            let told = ["conversations", "holds", "erasures"].map(|names| plan[names].is_array());
            assert_eq!(told, [*scope == Scope::Admin; 3], "{scope:?}: {plan}");
            assert_eq!(plan.to_string().contains(name), *scope == Scope::Admin, "{scope:?}: {plan}");
        } else {
            assert_problem(&plan, 403, "scope_missing");
        }
        let loss = preview(api)?;
        if matches!(scope, Scope::Conversations | Scope::Admin) {
            assert_eq!(loss.status(), 200, "{scope:?}");
        } else {
            assert_problem(&loss, 403, "scope_missing");
        }
    }
    server.stop()
}

#[test]
fn what_is_too_much_or_no_request_is_refused_with_what_to_do() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.api.limits.body_bytes_max = 128 * 1024)?;
    let api = server.api()?;
    let publish = |body: Value| api.send("POST", "/v1/publish", Some(&body));
    let of = |bytes| json!({ "conversation": "room", "text": "x".repeat(bytes) });
    assert_eq!(publish(of(64 * 1024))?.status(), 200);
    assert_problem(&publish(of(64 * 1024 + 1))?, 413, "too_large");
    assert_problem(&publish(of(200 * 1024))?, 413, "too_large");
    let batch = |count: usize| {
        let messages = vec![json!({ "conversation": "room", "text": "" }); count];
        api.send("POST", "/v1/publish/batch", Some(&json!({ "messages": messages })))
    };
    assert_eq!(batch(1_000)?.json()["stored"], json!(1_000));
    assert_problem(&batch(1_001)?, 400, "invalid_request");
    assert_problem(&batch(0)?, 400, "invalid_request");
    for (body, told) in [
        (json!({ "conversation": "room" }), "text or base64"),
        (json!({ "conversation": "room", "text": "a", "base64": "" }), "text or base64"),
        (json!({ "conversation": "room", "base64": "?" }), "RFC 4648"),
        (json!({ "conversation": "", "text": "a" }), "must not be empty"),
        (json!({ "conversation": "room", "text": "a", "sender": "b" }), "unknown field `sender`"),
        (json!({ "conversation": "room", "text": "a", "origin_time_ms": 1 }), "publish_as"),
        (json!({ "conversation": "room", "text": "a", "idempotency_key": "a b" }), "visible characters"),
        (json!({ "text": "a" }), "give conversation"),
    ] {
        let answer = publish(body)?;
        assert_problem(&answer, 400, "invalid_request");
        assert!(answer.json()["detail"].to_string().contains(told), "{told}: {}", answer.json());
    }
    let raw =
        |headers: &[(&str, &str)], body: &str| api.send_with("POST", "/v1/publish", headers, body.as_bytes());
    assert_problem(&raw(&[], "{")?, 400, "invalid_request");
    assert_problem(&api.send("POST", "/v1/publish", None)?, 415, "unsupported_media_type");
    assert_problem(&api.send("GET", "/v1/publish", None)?, 405, "method_not_allowed");
    assert_problem(&api.send("GET", "/v1/nothing", None)?, 404, "not_found");
    assert_problem(&api.send("GET", "/v1/conversations/%ff/history", None)?, 400, "invalid_request");
    let history = api.done("GET", "/v1/conversations/room/history", None)?;
    assert_eq!(history["head"], json!(1_001), "what was refused is not stored");
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_backends_publish_reaches_clients_in_order_and_under_its_senders_name() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await?;
    let (mut reader, _) = peer.open("team/red", 1, Some(Start::Live)).await?;
    let messages: Vec<_> = (0..200)
        .map(|n| {
            let mut message = json!({ "conversations": ["team/red", "team/blue"], "text": format!("{n}") });
            if n % 3 == 0 {
                message["publish_as"] = json!("bob");
                message["origin_time_ms"] = json!(n);
            }
            if n % 4 == 0 {
                message["idempotency_key"] = json!(format!("m{n}"));
            }
            message
        })
        .collect();
    let batch = json!({ "messages": messages });
    let answer = tokio::task::spawn_blocking(move || {
        let answer = api.done("POST", "/v1/publish/batch", Some(&batch))?;
        let page = api.done("GET", "/v1/conversations/team%2Fblue/history?after=10&limit=3", None)?;
        let last = api.done("GET", "/v1/conversations/team%2Fblue/history?limit=2", None)?;
        let before = api.done("GET", "/v1/conversations/team%2Fblue/history?before=3", None)?;
        let stats = api.done("GET", "/v1/stats", None)?;
        anyhow::Ok((answer, page, last, before, stats))
    });
    for n in 0..200_u64 {
        let Some(ServerFrame::Event(event)) = reader.next().await? else { anyhow::bail!("no event") };
        let EventKind::Message { body, .. } = event.kind else { anyhow::bail!("no message") };
        assert_eq!((event.seq.0, &body[..]), (n + 1, n.to_string().as_bytes()));
        let expected = if n % 3 == 0 { ("bob", Some(n)) } else { ("operator", None) };
        assert_eq!((event.sender.as_str(), event.origin_time_ms), expected);
    }
    let (answer, page, last, before, stats) = answer.await??;
    assert_eq!((&answer["stored"], &answer["refused"]), (&json!(400), &json!(0)));
    let seqs = |page: &Value| -> Vec<u64> {
        page["events"].as_array().into_iter().flatten().filter_map(|event| event["seq"].as_u64()).collect()
    };
    assert_eq!((seqs(&page), &page["more_after"]), (vec![11, 12, 13], &json!(true)));
    assert_eq!(page["events"][0]["kind"]["message"]["body"], json!("10"));
    assert_eq!((seqs(&last), &last["more_before"]), (vec![199, 200], &json!(true)));
    assert_eq!((seqs(&before), &before["more_before"]), (vec![1, 2], &json!(false)));
    assert_eq!((&stats["publishes"], &stats["connections"]), (&json!(400), &json!(1)));
    peer.close(&endpoint).await;
    server.stop()
}

#[test]
fn requests_at_once_have_a_bound_and_each_its_time() -> anyhow::Result<()> {
    use std::io::Write as _;
    let server = EmbeddedServer::start_configured(|config| {
        config.api.limits.requests_max = 1;
        // So long that somebody else asks meanwhile.
        config.api.limits.request_timeout_ms = 5_000;
    })?;
    let api = server.api()?;
    // A body that never comes holds the only place, until its time is over.
    let mut slow = std::net::TcpStream::connect(api.address)?;
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        api.key
    );
    slow.write_all(head.as_bytes())?;
    loop {
        let answer = api.send("GET", "/v1/stats", None)?;
        if answer.status() == 503 {
            assert_problem(&answer, 503, "overloaded");
            assert_eq!(answer.header("retry-after"), "1");
            break;
        }
    }
    let answer = Message::next(&slow)?;
    assert_problem(&answer, 504, "timeout");
    assert_eq!(api.send("GET", "/v1/stats", None)?.status(), 200, "the place is free");
    server.stop()
}

/// Whoever has no key keeps nobody from the API who has one.
#[test]
fn connections_without_a_key_make_room_for_those_with_one() -> anyhow::Result<()> {
    use std::io::Read as _;
    let server = EmbeddedServer::start_configured(|config| config.api.limits.requests_max = 2)?;
    let api = server.api()?;
    let mut silent = Vec::new();
    for _ in 0..3 {
        for _ in 0..50 {
            silent.push(std::net::TcpStream::connect(api.address)?);
        }
        assert_eq!(api.send("GET", "/v1/stats", None)?.status(), 200);
    }
    // They do not stay either.
    for mut connection in silent {
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        let end = connection.read(&mut [0]);
        assert!(
            matches!(end, Ok(0))
                || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    server.stop()
}

/// A pool of connections with a key makes room for further ones, and none of it is cut off within a request.
#[test]
fn a_connection_with_a_key_makes_room_between_two_requests_and_not_within_one() -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    let server = EmbeddedServer::start_configured(|config| config.api.limits.requests_max = 2)?;
    let api = server.api()?;
    let connect = || -> anyhow::Result<TcpStream> {
        let connection = TcpStream::connect(api.address)?;
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(connection)
    };
    let asks = |mut connection: &TcpStream| -> anyhow::Result<()> {
        let head = format!("GET /v1/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", api.key);
        connection.write_all(head.as_bytes())?;
        ensure!(Message::next(connection)?.status() == 200);
        Ok(())
    };
    let (mut slow, body) = (connect()?, json!({ "conversation": "room", "text": "hi" }).to_string());
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        api.key,
        body.len()
    );
    slow.write_all(head.as_bytes())?;
    let mut first = connect()?;
    asks(&first)?;
    // More than have places at once.
    let mut pool = Vec::new();
    for _ in 0..20 {
        let connection = connect()?;
        asks(&connection)?;
        pool.push(connection);
    }
    assert_eq!(first.read(&mut [0])?, 0, "it has waited longest");
    asks(pool.last().context("the last one")?)?;
    slow.write_all(body.as_bytes())?;
    assert_eq!(Message::next(&slow)?.status(), 200);
    server.stop()
}
