//! One TCP connection: TLS, requests one after the other, and perhaps a WebSocket at their end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::origin::{BEHIND_PROXY, WITH_TLS, WITHOUT_TLS};
use super::routes::{Client, Granted, Routes};
use super::stream::{Counted, Stream};
use super::{Site, proxies};
use crate::session::{Handshake, Service};
use crate::websocket::Upgraded;

/// How long the head of a request may take, from when the connection is ready for it: so this ends
/// connections that do nothing, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1_024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long a connection serves requests, and then how long the last of them may take.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(30);
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes that are sent to the kernel and not to the network yet: more would wait there where nobody sees it,
/// and cost memory for each client that reads nothing.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 128 * 1_024;

/// Said to what comes without TLS where it must not.
const USE_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 53\r\n\
                       Connection: close\r\n\r\nthis port wants TLS: use https:// and wss:// with it\n";

/// What the connections of a worker share.
pub(super) struct Worker {
    site: Arc<Site>,
    service: Service,
    routes: Routes,
    /// A TLS handshake's first step is its dearest. One is taken at a time, and everything else has its turn
    /// between two.
    turns: Semaphore,
}

impl Worker {
    pub(super) fn new(site: Arc<Site>, service: Service) -> Self {
        let routes = Routes::new(Arc::clone(&site), service.clone());
        Self { site, service, routes, turns: Semaphore::new(1) }
    }

    /// Whether what comes from here is a proxy's, which has the requests of many.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        proxies::is_trusted(peer, &self.site.trusted_proxies)
    }
}

/// Serves a connection until it ends, becomes a WebSocket, or has to make room for others.
pub(super) async fn serve(
    worker: Arc<Worker>,
    tcp: TcpStream,
    peer: SocketAddr,
    mut counts_as: Handshake,
) -> Option<Upgraded> {
    tokio::select! {
        biased;
        upgraded = serve_all(&worker, tcp, peer) => upgraded,
        () = counts_as.gives_way() => {
            tracing::debug!(%peer, "a connection over TCP has made room for others");
            None
        }
    }
}

async fn serve_all(worker: &Worker, tcp: TcpStream, peer: SocketAddr) -> Option<Upgraded> {
    let handshake_timeout = Duration::from_millis(worker.service.limits.handshake_timeout_ms);
    let stream = match timeout(handshake_timeout, open(worker, tcp)).await {
        Ok(Ok(Some(stream))) => stream,
        Ok(Ok(None)) => return None,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "no handshake over TCP");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "no handshake over TCP in time");
            return None;
        }
    };
    let Granted { on_upgrade, format, address, place } = requests(worker, stream, peer).await?;
    // Of a client behind a proxy no port is known.
    let peer = if address == peer.ip() { peer } else { SocketAddr::new(address, 0) };
    let upgraded = on_upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Some(Upgraded { stream, read, format, peer, place })
}

/// What a connection's bytes are read from and written to, or `None` if it is refused.
async fn open(worker: &Worker, tcp: TcpStream) -> io::Result<Option<Stream>> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    // Where a system has no such bound, its own is in force.
    let _more_waits = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] == TLS_HANDSHAKE {
        let turn = worker.turns.acquire().await;
        let mut accepts = pin!(worker.site.tls.accept(Counted::new(tcp)));
        let first_step = std::future::poll_fn(|task| Poll::Ready(accepts.as_mut().poll(task))).await;
        tokio::task::yield_now().await;
        drop(turn);
        let tls = match first_step {
            Poll::Ready(accepted) => accepted?,
            Poll::Pending => accepts.await?,
        };
        return Ok(Some(Stream::Tls(Box::new(tls))));
    }
    if worker.site.takes_plain {
        return Ok(Some(Stream::plain(tcp)));
    }
    refuse(tcp).await?;
    Ok(None)
}

/// Says what is wrong, and reads what comes so that the client gets to hear it.
async fn refuse(mut tcp: TcpStream) -> io::Result<()> {
    tcp.write_all(USE_TLS.as_bytes()).await?;
    tcp.shutdown().await?;
    let mut dropped = [0; 512];
    for _ in 0..HEAD_BYTES_MAX / dropped.len() {
        if tcp.read(&mut dropped).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Answers requests. Returns the WebSocket that the last of them has asked for.
async fn requests(worker: &Worker, stream: Stream, peer: SocketAddr) -> Option<Granted> {
    let granted = Arc::new(Mutex::new(None));
    let schemes = match stream {
        Stream::Tls(_) => WITH_TLS,
        Stream::Plain(_) if worker.site.is_behind_proxy => BEHIND_PROXY,
        Stream::Plain(_) => WITHOUT_TLS,
    };
    let client = Client { peer: peer.ip(), schemes, granted: Arc::clone(&granted) };
    let answers = service_fn(|request: Request<Incoming>| {
        let (routes, client) = (worker.routes.clone(), client.clone());
        async move {
            let mut answer = routes.answer(client, request.map(Body::new)).await;
            // Where others wait for a place, who has an answer leaves its own.
            if worker.service.admission.is_crowded() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serves = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), answers)
        .with_upgrades();
    let mut serves = pin!(serves);
    let served = tokio::select! {
        served = serves.as_mut() => Ok(served),
        _ = worker.service.phase.next(false) => Err(()),
        () = tokio::time::sleep(REQUESTS_TIMEOUT) => Err(()),
    };
    let served = match served {
        Ok(served) => served,
        Err(()) => {
            serves.as_mut().graceful_shutdown();
            timeout(LAST_REQUEST_TIMEOUT, serves).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a request could not be served");
    }
    granted.lock().take()
}
