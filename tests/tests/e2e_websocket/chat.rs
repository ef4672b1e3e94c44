//! Conversations across transports and subprotocols.

use anyhow::{Context as _, bail};
use quinn::Endpoint;
use quoth_protocol::Seq;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::process::ServerProcess;
use quoth_tests::websocket::{Come, Handshake, Socket};
use quoth_tests::wire::{Frames, Peer, publish};
use serde_json::{Value, json};

use crate::run;

const EVENTS: u64 = 200;

/// A message that is nothing but its body.
fn plain(body: Value) -> Value {
    json!({"message": {"body": body, "reply_to": null, "mentions": [], "expires_ms": 0}})
}

/// The bodies of the next events on a lane; whatever else comes is none.
async fn bodies(socket: &mut Socket, lane: u32, count: u64) -> anyhow::Result<Vec<(u64, String)>> {
    let mut events = Vec::new();
    while (events.len() as u64) < count {
        for come in socket.next_all().await? {
            match come {
                Come::Frame(on, ServerFrame::Event(event)) if on == lane => events.push(text(event)),
                Come::Frame(_, ServerFrame::Ack { .. }) => {}
                other => bail!("{other:?}"),
            }
        }
    }
    Ok(events)
}

fn text(event: quoth_protocol::frame::Event) -> (u64, String) {
    let body = event.kind.body().expect("only messages are published");
    (event.seq.0, String::from_utf8_lossy(body).into_owned())
}

async fn bodies_of_stream(frames: &mut Frames, count: u64) -> anyhow::Result<Vec<(u64, String)>> {
    let mut events = Vec::new();
    while (events.len() as u64) < count {
        match frames.next().await?.context("the stream has ended")? {
            ServerFrame::Event(event) => events.push(text(event)),
            ServerFrame::Ack { .. } => {}
            other => bail!("{other:?}"),
        }
    }
    Ok(events)
}

#[test]
fn everybody_sees_the_same_order_whatever_carries_it() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let ca = server.ca_file();
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let quic = Peer::connect(&endpoint, server.address(), &ca, server.token()).await?;
        let (mut stream, _) = quic.open("room", 1, Some(Start::Live)).await?;
        let with_tls = Handshake { ca_file: Some(&ca), ..Handshake::PLAIN };
        let (mut secure, _) = Socket::sign_in(server.address(), with_tls, server.token()).await?;
        secure.open(1, "room", 2, Some(Start::Live)).await?;
        let (mut plain, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        plain.open(1, "room", 3, Some(Start::Live)).await?;
        for n in 1..=EVENTS {
            stream.write(&publish(n, format!("quic {n}"))).await?;
            secure.send(1, &[publish(n, format!("secure {n}"))]).await?;
            plain.send(1, &[publish(2 * n, format!("plain {n}")), publish(2 * n + 1, "second")]).await?;
        }
        let over_quic = bodies_of_stream(&mut stream, 4 * EVENTS).await?;
        let seqs: Vec<u64> = over_quic.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=4 * EVENTS).collect::<Vec<_>>());
        assert_eq!(bodies(&mut secure, 1, 4 * EVENTS).await?, over_quic);
        assert_eq!(bodies(&mut plain, 1, 4 * EVENTS).await?, over_quic);
        quic.close(&endpoint).await;
        server.stop()
    })
}

#[test]
fn a_client_in_json_has_the_same_conversation() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let ca = server.ca_file();
        let (mut binary, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        binary.open(1, "room", 1, Some(Start::Live)).await?;
        let with_tls = Handshake { ca_file: Some(&ca), ..Handshake::JSON };
        let mut json = Socket::connect(server.address(), with_tls).await?.expect("it is granted");
        let hello = json!({"version": 1, "features": 0, "token": server.token(), "device": "d", "generation": 1, "platform": "", "client": ""});
        json.send_json(json!({ "lane": 0, "hello": hello })).await?;
        let welcome = json.next_json().await?;
        assert_eq!(welcome["welcome"]["user"], "alice");
        json.send_json(json!({"lane": 1, "open": {"conversation": "room", "producer": 2, "from": "live"}}))
            .await?;
        let opened = json.next_json().await?;
        assert_eq!((&opened["lane"], &opened["opened"]["head"]), (&json!(1), &json!(0)));
        assert_eq!(opened["opened"]["floor"], 1);
        assert!(opened["opened"]["store"].as_u64().is_some_and(|store| store > 0), "{opened}");
        json.send_json(json!({"lane": 1, "publish": {"n": 1, "body": "grüße"}})).await?;
        let (mut ack, mut event) = (json.next_json().await?, json.next_json().await?);
        if ack.get("ack").is_none() {
            std::mem::swap(&mut ack, &mut event);
        }
        assert_eq!((&ack["ack"]["n"], &ack["ack"]["seq"]), (&json!(1), &json!(1)));
        assert_eq!(event["event"]["kind"], plain(json!("grüße")));
        binary.send(1, &[publish(1, vec![0xFF, 0])]).await?;
        let event = json.next_json().await?;
        assert_eq!(event["event"]["kind"], plain(json!({"base64": "/wA="})));
        assert_eq!(bodies(&mut binary, 1, 2).await?[0], (1, "grüße".to_owned()));
        let reply = json!({"n": 2, "body": "@bob", "reply_to": 1, "mentions": ["bob", "bob"], "expires_in_ms": 60_000});
        json.send_json(json!({"lane": 1, "publish": reply})).await?;
        let (mut ack, mut event) = (json.next_json().await?, json.next_json().await?);
        if ack.get("ack").is_none() {
            std::mem::swap(&mut ack, &mut event);
        }
        let expires_ms = ack["ack"]["time_ms"].as_u64().context("a time")? + 60_000;
        let message = json!({"body": "@bob", "reply_to": 1, "mentions": ["bob"], "expires_ms": expires_ms});
        assert_eq!(event["event"]["kind"], json!({ "message": message }));
        json.send_json(json!({"lane": 2, "fetch": {"conversation": "room", "range": "latest", "limit": 1}}))
            .await?;
        json.send_json(json!({"lane": 2, "finish": {}})).await?;
        assert_eq!(json.next_json().await?["event"], event["event"], "history has the same");
        let end = json!({"lane": 2, "page_end": {"head": 3, "floor": 1, "from": 3, "to": 3, "more_before": true, "more_after": false}});
        assert_eq!(json.next_json().await?, end);
        assert_eq!(json.next_json().await?, json!({"lane": 2, "finish": {}}));
        server.stop()
    })
}

#[test]
fn a_client_goes_on_behind_a_crash_where_it_was() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let server = ServerProcess::start(&data_dir)?;
    let (address, token) = (server.address(), server.token("alice")?);
    run(async {
        let (mut before, _) = Socket::sign_in(address, Handshake::PLAIN, &token).await?;
        before.open(1, "room", 7, Some(Start::Live)).await?;
        for n in 1..=EVENTS {
            before.send(1, &[publish(n, format!("message {n}"))]).await?;
        }
        // Acked and seen is as much as there is; the rest has an unknown outcome.
        let seen = bodies(&mut before, 1, EVENTS / 2).await?;
        server.kill()?;
        let gone = loop {
            if let Err(error) = before.next_all().await {
                break error;
            }
        };
        drop((before, gone));
        let server = ServerProcess::start_with(&data_dir, &address.to_string(), &[])?;
        let (mut after, _) = Socket::sign_in(address, Handshake::PLAIN, &server.token("alice")?).await?;
        let cursor = Seq(seen.len() as u64);
        after.open(1, "room", 7, Some(Start::After(cursor))).await?;
        for n in 1..=EVENTS {
            after.send(1, &[publish(n, format!("message {n}"))]).await?;
        }
        let mut all = seen;
        all.extend(bodies(&mut after, 1, EVENTS - cursor.0).await?);
        let expected: Vec<_> = (1..=EVENTS).map(|n| (n, format!("message {n}"))).collect();
        assert_eq!(all, expected, "each once, in order, and none left out");
        assert!(server.terminate()?.success());
        Ok(())
    })
}
