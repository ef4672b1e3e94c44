//! Requests: who may connect, and what else is served.

use std::net::SocketAddr;
use std::path::Path;

use quinn::Endpoint;
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::websocket::{Handshake, Refused, Socket, dial};
use quoth_tests::wire::Peer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::run;

/// The status, head and body of the answer to a GET.
async fn get(
    server: SocketAddr,
    ca_file: Option<&Path>,
    path: &str,
    headers: &str,
) -> anyhow::Result<(u16, String, String)> {
    let mut io = dial(server, ca_file).await?;
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {server}\r\n") };
    io.write_all(format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    io.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    let status = head.split(' ').nth(1).expect("a status").parse()?;
    Ok((status, head.to_ascii_lowercase(), body.to_owned()))
}

#[test]
fn who_may_not_connect_is_told_why() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| {
        config.allowed_origins = vec!["https://app.example".parse().expect("an origin")];
    })?;
    run(async {
        let own = format!("http://{}", server.address());
        let connect = |subprotocols, origin| {
            let with = Handshake { subprotocols, origin, ..Handshake::PLAIN };
            Socket::connect(server.address(), with)
        };
        for origin in [None, Some(own.as_str()), Some("https://app.example")] {
            connect("quoth.v1.postcard", origin).await?.expect("it is granted");
        }
        let refused = connect("quoth.v1.postcard", Some("https://evil.example")).await?.unwrap_err();
        assert!(refused.status == 403 && refused.text.contains("server.allowed_origins"), "{refused:?}");
        for subprotocols in ["", "quoth.v2.postcard"] {
            let refused = connect(subprotocols, None).await?.unwrap_err();
            assert!(refused.status == 400 && refused.text.contains("quoth.v1.json"), "{refused:?}");
        }
        let (status, head, _) = get(server.address(), None, "/v1/ws", "").await?;
        assert!(status == 426 && head.contains("upgrade: websocket"), "{head}");
        server.stop()
    })
}

#[test]
fn connections_over_both_transports_are_counted_together() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_with(Limits { connections_max: 2, ..Limits::default() })?;
    run(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let quic = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await?;
        let (socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        let refused = Socket::connect(server.address(), Handshake::PLAIN).await?.unwrap_err();
        assert!(matches!(&refused, Refused { status: 503, retry_after: Some(_), .. }), "{refused:?}");
        assert_eq!(get(server.address(), None, "/healthz", "").await?.0, 200, "a request needs no place");
        drop(socket);
        // The place is free when the server has noticed.
        let mut granted = Err(refused);
        while granted.is_err() {
            granted = Socket::connect(server.address(), Handshake::PLAIN).await?;
        }
        quic.close(&endpoint).await;
        server.stop()
    })
}

#[test]
fn clients_learn_where_the_transports_are() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let (address, ca) = (server.address(), server.ca_file());
        for ca in [None, Some(ca.as_path())] {
            let (status, head, body) =
                get(address, ca, "/.well-known/quoth", "Origin: https://x.example\r\n").await?;
            assert!(status == 200 && head.contains("access-control-allow-origin: *"), "{head}");
            let told: serde_json::Value = serde_json::from_str(&body)?;
            assert_eq!(told["version"], 1);
            assert_eq!(
                (&told["quic"]["port"], &told["quic"]["alpn"]),
                (&address.port().into(), &"quoth/1".into())
            );
            assert_eq!(told["websocket"]["path"], "/v1/ws");
            assert_eq!(get(address, ca, "/healthz", "").await?.2, "serving\n");
        }
        server.stop()
    })
}

#[test]
fn tokens_are_for_the_servers_own_page_only() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let address = server.address();
        let (status, head, body) =
            get(address, None, "/dev/token?user=Zo%C3%AB", "Sec-Fetch-Site: same-origin\r\n").await?;
        assert!(status == 200 && head.contains("cache-control: no-store"), "{head}");
        let told: serde_json::Value = serde_json::from_str(&body)?;
        assert_eq!(told["user"], "Zoë");
        let token = told["token"].as_str().expect("a token");
        assert_eq!(Socket::sign_in(address, Handshake::PLAIN, token).await?.1.user.as_str(), "Zoë");
        let own = format!("Origin: http://{address}\r\n");
        assert_eq!(get(address, None, "/dev/token?user=alice", &own).await?.0, 200);
        for headers in [
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Host: evil.example:4433\r\n",
            "Host: evil.example:4433\r\nOrigin: http://evil.example:4433\r\n",
        ] {
            assert_eq!(get(address, None, "/dev/token?user=alice", headers).await?.0, 403, "{headers}");
        }
        for query in ["", "?user=", "?name=alice"] {
            assert_eq!(get(address, None, &format!("/dev/token{query}"), "").await?.0, 400, "{query}");
        }
        server.stop()
    })
}

#[test]
fn a_server_may_do_without_tcp() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.websocket = false)?;
    run(async {
        assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token())
            .await?
            .close(&endpoint)
            .await;
        server.stop()
    })
}

#[test]
fn a_port_that_somebody_has_for_tcp_is_told() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let refused = EmbeddedServer::start_configured(|config| config.listen = address).unwrap_err().to_string();
    assert!(refused.contains("TCP") && refused.contains("server.websocket"), "{refused}");
    EmbeddedServer::start_configured(|config| {
        config.listen = address;
        config.websocket = false;
    })?
    .stop()
}
