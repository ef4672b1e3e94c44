//! The fake server's WebSocket: TLS over TCP, on the port number that its QUIC has.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use quoth_client::Code;
use quoth_lanes::{Format, Lanes, Outgoing};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::connection::Connection;
use super::{World, serve};

const PROTOCOL: &str = "sec-websocket-protocol";

pub(super) async fn accept(listener: TcpListener, tls: Arc<rustls::ServerConfig>, world: Arc<World>) {
    let acceptor = TlsAcceptor::from(tls);
    while let Ok((tcp, _)) = listener.accept().await {
        if world.lock().faults.refuse_connections {
            continue;
        }
        let (acceptor, world) = (acceptor.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let lanes = Lanes::server(Format::Postcard);
            if let Some(socket) = upgrade(tls, &world).await {
                tokio::join!(pump(socket, lanes.clone()), serve(Connection::WebSocket(lanes), world));
            }
        });
    }
}

async fn upgrade(tls: TlsStream<TcpStream>, world: &World) -> Option<WebSocketStream<TlsStream<TcpStream>>> {
    #[expect(clippy::result_large_err, reason = "tungstenite's own")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri().path(), "/v1/ws");
        assert_eq!(request.headers().get(PROTOCOL).unwrap(), "quoth.v1.postcard");
        if let Some((status, retry_after)) = world.lock().faults.answer_requests {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status.try_into().unwrap();
            refusal.headers_mut().insert("retry-after", HeaderValue::from(retry_after));
            return Err(refusal);
        }
        response.headers_mut().insert(PROTOCOL, HeaderValue::from_static("quoth.v1.postcard"));
        Ok(response)
    };
    accept_hdr_async(tls, answer).await.ok()
}

async fn pump(mut socket: WebSocketStream<TlsStream<TcpStream>>, lanes: Lanes) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => lanes.receive(quoth_lanes::Message::Binary(bytes)).unwrap(),
                Some(Ok(Message::Close(Some(close)))) => {
                    lanes.closed_by_peer(Some(Code(u32::from(u16::from(close.code)) - 4_000)), &close.reason);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return lanes.closed_by_peer(None, &format!("{other:?}")),
            },
            outgoing = lanes.next_message() => match outgoing {
                Outgoing::Message(quoth_lanes::Message::Binary(bytes)) => {
                    socket.send(Message::Binary(bytes)).await.ok();
                }
                Outgoing::Message(other) => panic!("{other:?}"),
                Outgoing::Close(closed) => {
                    if let Some(code) = closed.code.filter(|_| !closed.by_peer) {
                        let code = u16::try_from(4_000 + code.0).unwrap().into();
                        let reason = closed.text.into();
                        socket.close(Some(CloseFrame { code, reason })).await.ok();
                    }
                    while let Some(Ok(_)) = socket.next().await {}
                    return;
                }
            },
        }
    }
}
