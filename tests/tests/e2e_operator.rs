//! The operator over the server API: managed conversations, members and sessions, as clients see it.

use anyhow::{Context as _, bail};
use quinn::{ConnectionError, Endpoint, ReadError};
use quoth_protocol::Code;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::Api;
use quoth_tests::wire::{Frames, Peer, publish};
use serde_json::{Value, json};

/// A request in a thread of its own, which must succeed.
async fn done(api: &Api, method: &'static str, path: &str, body: Value) -> anyhow::Result<Value> {
    let (api, path) = (api.clone(), path.to_owned());
    let body = Some(body).filter(|body| !body.is_null());
    tokio::task::spawn_blocking(move || api.done(method, &path, body.as_ref())).await?
}

/// The status and the code of a refusal.
async fn refused(api: &Api, method: &'static str, path: &str, body: Value) -> anyhow::Result<(u16, String)> {
    let (api, path) = (api.clone(), path.to_owned());
    let body = Some(body).filter(|body| !body.is_null());
    let answer = tokio::task::spawn_blocking(move || api.send(method, &path, body.as_ref())).await??;
    Ok((answer.status(), answer.json()["code"].as_str().unwrap_or_default().to_owned()))
}

async fn connect(endpoint: &Endpoint, server: &EmbeddedServer, user: &str) -> anyhow::Result<Peer> {
    let token = server.token_until(user, 4_000_000_000)?;
    Peer::connect(endpoint, server.address(), &server.ca_file(), &token).await
}

/// What of a stream comes besides events, at its end.
async fn end(frames: &mut Frames) -> anyhow::Result<Code> {
    loop {
        match frames.next().await {
            Ok(Some(_)) => {}
            Ok(None) => bail!("the stream was finished"),
            Err(error) => return code_of(&error).context("no code"),
        }
    }
}

fn code_of(error: &anyhow::Error) -> Option<Code> {
    let number = error.chain().find_map(|cause| match cause.downcast_ref::<ReadError>() {
        Some(ReadError::Reset(code)) => Some(code.into_inner()),
        Some(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close))) => {
            Some(close.error_code.into_inner())
        }
        _ => match cause.downcast_ref::<ConnectionError>() {
            Some(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
            _ => None,
        },
    })?;
    u32::try_from(number).ok().map(Code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_changes_and_fills_conversations_without_being_in_them() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let body = json!({ "kind": "group", "owner": "boss", "title": "Team", "members": ["alice"] });
    let made = done(&api, "POST", "/v1/conversations", body).await?;
    let name = made["conversation"].as_str().context("a name")?.to_owned();
    assert!(name.starts_with("group/"), "{name}");
    let path = format!("/v1/conversations/{}", name.replace('/', "%2F"));
    let about = done(&api, "GET", &path, Value::Null).await?;
    assert_eq!(
        (&about["title"], &about["members"], &about["role"]),
        (&json!("Team"), &json!(2), &Value::Null)
    );
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let alice = connect(&endpoint, &server, "alice").await?;
    let (mut reader, _) = alice.open(&name, 1, Some(Start::Live)).await?;
    // Messages come in past mutes and slow mode, which hold for members.
    done(&api, "PUT", &format!("{path}/mute"), json!({})).await?;
    done(&api, "PUT", &format!("{path}/slow_mode"), json!({ "interval_ms": 60_000 })).await?;
    let publish_one = json!({ "conversation": name, "text": "from outside" });
    for _ in 0..3 {
        done(&api, "POST", "/v1/publish", publish_one.clone()).await?;
    }
    reader.write(&publish(1, b"muted".to_vec())).await?;
    loop {
        match reader.next().await?.context("the stream has ended")? {
            ServerFrame::Refused { code, .. } => break assert_eq!(code, Code::MUTED),
            ServerFrame::Event(_) => {}
            other => bail!("{other:?}"),
        }
    }
    done(&api, "DELETE", &format!("{path}/mute"), Value::Null).await?;
    done(&api, "PATCH", &path, json!({ "title": "Red" })).await?;
    done(&api, "PUT", &format!("{path}/members/carol"), json!({ "role": "reader" })).await?;
    let members = done(&api, "GET", &format!("{path}/members?limit=2"), Value::Null).await?;
    let users: Vec<_> =
        members["members"].as_array().into_iter().flatten().map(|member| &member["user"]).collect();
    assert_eq!((users, &members["more"]), (vec![&json!("alice"), &json!("boss")], &json!(true)));
    let rest = done(&api, "GET", &format!("{path}/members?after=boss"), Value::Null).await?;
    assert_eq!(rest["members"][0]["role"], json!("reader"));
    let of_carol = done(&api, "GET", "/v1/users/carol/conversations", Value::Null).await?;
    assert_eq!((&of_carol["conversations"][0]["title"], &of_carol["more"]), (&json!("Red"), &json!(false)));
    let invitation =
        done(&api, "POST", &format!("{path}/invitations"), json!({ "role": "member", "uses_max": 1 }))
            .await?;
    assert!(invitation["invitation"].as_str().is_some_and(|text| text.len() >= 20));
    done(&api, "DELETE", &format!("{path}/invitations"), Value::Null).await?;
    // Who is banned reads no more, and comes back when the ban is lifted.
    done(&api, "PUT", &format!("{path}/bans/alice"), json!({})).await?;
    assert_eq!(end(&mut reader).await?, Code::FORBIDDEN);
    done(&api, "DELETE", &format!("{path}/bans/alice"), Value::Null).await?;
    done(&api, "PUT", &format!("{path}/members/alice"), json!({ "role": "admin" })).await?;
    alice.open(&name, 2, Some(Start::Live)).await?;
    let history = done(&api, "GET", &format!("{path}/history?limit=1000"), Value::Null).await?;
    let events = history["events"].as_array().context("events")?;
    let messages = events.iter().filter(|event| event["kind"]["message"].is_object()).count();
    assert!(messages == 3 && events.iter().any(|event| event["kind"] == json!("invitations_revoked")));
    assert!(events[1..].iter().all(|event| event["sender"] == json!("operator")
        || event["seq"] == json!(2)
        || event["seq"] == json!(3)));
    alice.close(&endpoint).await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_exclude_for_everybody_is_refused_and_what_is_not_there_is_not_found() -> anyhow::Result<()>
{
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let body = json!({ "conversation": "team", "kind": "group", "owner": "boss", "members": ["alice"] });
    // A repeat changes nothing, and somebody else's is another one.
    for _ in 0..2 {
        done(&api, "POST", "/v1/conversations", body.clone()).await?;
    }
    let path = "/v1/conversations/team".to_owned();
    let of_another = json!({ "conversation": "team", "kind": "group", "owner": "alice" });
    assert_eq!(
        refused(&api, "POST", "/v1/conversations", of_another).await?,
        (409, "already_exists".to_owned())
    );
    let nothing = "/v1/conversations/nothing";
    for (method, path, body, status, code) in [
        ("DELETE", format!("{path}/members/boss"), Value::Null, 409, "last_owner"),
        (
            "POST",
            "/v1/conversations".to_owned(),
            json!({ "kind": "group", "owner": "boss", "conversation": "group/mine" }),
            400,
            "invalid_request",
        ),
        ("PATCH", path.clone(), json!({ "title": "\u{7}" }), 400, "invalid_request"),
        ("GET", nothing.to_owned(), Value::Null, 404, "not_found"),
        ("PUT", format!("{nothing}/members/alice"), json!({ "role": "member" }), 404, "not_found"),
        (
            "POST",
            "/v1/publish".to_owned(),
            json!({ "conversation": "group/nothing", "text": "" }),
            403,
            "forbidden",
        ),
        ("POST", "/v1/publish".to_owned(), json!({ "conversation": "$me", "text": "" }), 403, "forbidden"),
        (
            "POST",
            "/v1/publish".to_owned(),
            json!({ "conversation": "$user/alice", "text": "" }),
            403,
            "forbidden",
        ),
    ] {
        assert_eq!(refused(&api, method, &path, body).await?, (status, code.to_owned()), "{method} {path}");
    }
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_edited_reacted_to_and_revoked_in_a_users_name_or_the_keys() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let first = json!({ "conversation": "room", "text": "first", "publish_as": "bob" });
    done(&api, "POST", "/v1/publish", first).await?;
    let answer = json!({
        "conversation": "room", "text": "second", "publish_as": "alice",
        "reply_to": 1, "mentions": ["bob", "bob"], "expires_in_ms": 3_600_000,
    });
    done(&api, "POST", "/v1/publish", answer).await?;
    let message = |seq: u64, below: &str| format!("/v1/conversations/room/messages/{seq}{below}");
    let edit = || json!({ "text": "better" });
    let thumb = "/reactions/%F0%9F%91%8D?user=carol";
    for (method, path, body, seqs) in [
        ("PATCH", message(1, "?user=bob"), edit(), [3, 0]),
        ("PUT", message(1, thumb), Value::Null, [4, 0]),
        ("DELETE", message(1, thumb), Value::Null, [5, 0]),
        ("PUT", message(2, "/reactions/ok"), Value::Null, [6, 0]),
    ] {
        for seq in seqs {
            let changed = done(&api, method, &path, body.clone()).await?;
            assert_eq!(
                (&changed["seq"], &changed["conversation"]),
                (&json!(seq), &json!("room")),
                "{method} {path}"
            );
        }
    }
    for (method, path, body, status, code) in [
        ("PATCH", message(1, ""), edit(), 403, "forbidden"),
        ("PATCH", message(1, "?user=alice"), edit(), 403, "forbidden"),
        ("PATCH", message(9, "?user=bob"), edit(), 404, "not_found_message"),
        ("PATCH", message(3, "?user=bob"), edit(), 404, "not_found_message"),
        ("PATCH", message(1, "?user=bob"), json!({}), 400, "invalid_request"),
        ("PATCH", message(1, "?as=bob"), edit(), 400, "invalid_request"),
        ("PUT", message(1, "/reactions/%07"), Value::Null, 400, "invalid_request"),
    ] {
        assert_eq!(refused(&api, method, &path, body).await?, (status, code.to_owned()), "{method} {path}");
    }
    assert_eq!(done(&api, "DELETE", &message(1, ""), Value::Null).await?["seq"], json!(7));
    assert_eq!(
        refused(&api, "DELETE", &message(1, ""), Value::Null).await?,
        (404, "not_found_message".to_owned())
    );
    let history = done(&api, "GET", "/v1/conversations/room/history", Value::Null).await?;
    let events = history["events"].as_array().context("events")?;
    let of = |seq: u64| events.iter().find(|event| event["seq"] == json!(seq)).context("it is there");
    let about = &of(2)?["kind"]["message"];
    assert_eq!((&about["reply_to"], &about["mentions"]), (&json!(1), &json!(["bob"])), "{about}");
    let stored_ms = of(2)?["time_ms"].as_u64().context("a time")?;
    assert_eq!(about["expires_ms"], json!(stored_ms + 3_600_000));
    for (seq, sender) in [(4, "carol"), (6, "operator"), (7, "operator")] {
        assert_eq!(of(seq)?["sender"], json!(sender));
    }
    assert!(of(1).is_err() && of(3).is_err(), "what was revoked is gone, with its edit");
    server.stop()
}

/// A token is good for 30 s behind its `exp`, and so its revocation holds for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_not_good_again_while_clocks_may_differ() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let connect = async |id: &str| {
        let token = server.token_with("alice", |what| {
            (what.token_id, what.expires_s) = (Some(id.to_owned()), what.issued_s - 1);
            what.issued_s -= 60;
        })?;
        Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await
    };
    let _live = connect("late").await?;
    let late = json!({ "token_id": "late", "expires_ms": server.now_ms() - 1_000 });
    assert_eq!(done(&api, "POST", "/v1/revocations", late).await?["closed"], json!(1));
    let refused = connect("late").await.err().context("it is good again")?;
    assert!(refused.to_string().contains("token_revoked"), "{refused:?}");
    connect("another").await?;
    server.stop()
}

/// A device that has just gone counts as there, for its user and by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_the_devices_are_told_alike_behind_a_leave() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.presence_leave_ms = 600_000)?;
    let api = server.api()?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let alice = connect(&endpoint, &server, "alice").await?;
    alice.quic.close(0_u32.into(), b"");
    let sessions = async || done(&api, "GET", "/v1/users/alice/sessions", Value::Null).await;
    while sessions().await?["sessions"][0]["status"] != json!("offline") {
        tokio::task::yield_now().await;
    }
    let presence = done(&api, "GET", "/v1/users/alice/presence", Value::Null).await?;
    assert_eq!(
        (&presence["status"], &presence["devices"][0]["status"]),
        (&json!("online"), &json!("online"))
    );
    let (user_ms, device_ms) = (&presence["last_seen_ms"], &presence["devices"][0]["last_seen_ms"]);
    assert_eq!(user_ms, device_ms, "both were last there when it left");
    server.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_and_ends_sessions_and_revokes_tokens() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let mut alice = connect(&endpoint, &server, "alice").await?;
    let sessions = done(&api, "GET", "/v1/users/alice/sessions", Value::Null).await?;
    let device = sessions["sessions"][0]["device"].as_str().context("a device")?.to_owned();
    let presence = done(&api, "GET", "/v1/users/alice/presence", Value::Null).await?;
    assert_eq!(
        (&presence["status"], &presence["devices"][0]["status"]),
        (&json!("online"), &json!("online"))
    );
    let nobody = done(&api, "GET", "/v1/users/nobody/presence", Value::Null).await?;
    assert_eq!(
        (&nobody["status"], &nobody["last_seen_ms"], &nobody["devices"]),
        (&json!("offline"), &json!(0), &json!([]))
    );
    let stats = done(&api, "GET", "/v1/stats", Value::Null).await?;
    assert_eq!((&stats["sessions"], &stats["users"]), (&json!(1), &json!(1)));
    let other = json!({ "device": "another", "reason": "not this one" });
    assert_eq!(done(&api, "POST", "/v1/users/alice/kick", other).await?["closed"], json!(0));
    let kick = json!({ "device": device, "reason": "have a break" });
    assert_eq!(done(&api, "POST", "/v1/users/alice/kick", kick).await?["closed"], json!(1));
    let mut reason = None;
    let code = loop {
        match alice.control.next().await {
            Ok(Some(ServerFrame::GoAway { code, reason: why, .. })) => reason = Some((code, why)),
            Ok(Some(_)) => {}
            Ok(None) => break code_of(&alice.quic.closed().await.into()),
            Err(error) => break code_of(&error),
        }
    };
    assert_eq!((reason, code), (Some((Code::KICKED, "have a break".to_owned())), Some(Code::KICKED)));
    // A token that is revoked ends what it has begun and begins nothing.
    let mut again = connect(&endpoint, &server, "alice").await?;
    let far_future = json!({ "user": "alice", "issued_before_ms": 4_000_000_000_000_u64, "reason": "lost" });
    assert_eq!(done(&api, "POST", "/v1/revocations", far_future).await?["closed"], json!(1));
    while let Ok(Some(_)) = again.control.next().await {}
    assert_eq!(code_of(&again.quic.closed().await.into()), Some(Code::TOKEN_REVOKED));
    let error = connect(&endpoint, &server, "alice").await.expect_err("it is revoked");
    assert!(error.to_string().contains("token_revoked"), "{error:?}");
    connect(&endpoint, &server, "bob").await?;
    let lift = json!({ "user": "alice" });
    assert_eq!(done(&api, "POST", "/v1/revocations/lift", lift.clone()).await?["lifted"], json!(true));
    assert_eq!(done(&api, "POST", "/v1/revocations/lift", lift).await?["lifted"], json!(false));
    connect(&endpoint, &server, "alice").await?;
    // The issuer's clock may be ahead of the server's.
    let ahead = server.token_with("dora", |what| what.issued_s += 20)?;
    let _dora = Peer::connect(&endpoint, server.address(), &server.ca_file(), &ahead).await?;
    assert_eq!(done(&api, "POST", "/v1/revocations", json!({ "user": "dora" })).await?["closed"], json!(1));
    for body in [
        json!({}),
        json!({ "device": "a" }),
        json!({ "token_id": "a", "user": "b" }),
        json!({ "token_id": "" }),
        // Seconds.
        json!({ "token_id": "a", "expires_ms": 2_000_000_000 }),
        json!({ "user": "alice", "expires_ms": server.now_ms() - 30_001 }),
    ] {
        assert_eq!(refused(&api, "POST", "/v1/revocations", body.clone()).await?.0, 400, "{body}");
    }
    let group = json!({ "kind": "group", "owner": "boss", "members": ["bob"] });
    let group = done(&api, "POST", "/v1/conversations", group).await?;
    let name = group["conversation"].as_str().context("a name")?.replace('/', "%2F");
    let group = format!("/v1/conversations/{name}");
    for what in ["mute", "members/bob/mute", "bans/bob"] {
        for until_ms in [0, 2_000_000_000, server.now_ms()] {
            let body = json!({ "until_ms": until_ms });
            assert_eq!(
                refused(&api, "PUT", &format!("{group}/{what}"), body).await?.0,
                400,
                "{what} {until_ms}"
            );
        }
        let body = json!({ "until_ms": server.now_ms() + 60_000 });
        done(&api, "PUT", &format!("{group}/{what}"), body).await?;
    }
    server.stop()
}
