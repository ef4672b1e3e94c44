//! The API's own port, and the thread that serves it.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::requests::Requests;
use super::visitors::{Stay, Visitor, Visitors};
use super::{ApiConfig, ApiLimits, Erasures, Keys, router};
use crate::http::Stream;
use crate::outbox::Progress;
use crate::session::{PhaseReceiver, Service, log_panic};

/// How long a connection may say nothing, between requests and within the head of one: backends keep
/// connections for a while.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a request's head: paths with names in percent-encoding are long.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long nothing is accepted after the system could give no more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits for requests: less than the 10 s in which the process must end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Said to what comes without TLS where it must not.
const USE_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: 118\r\n\
                       Connection: close\r\n\r\n\
                       {\"title\":\"Bad Request\",\"status\":400,\"code\":\"tls_wanted\",\"detail\":\"this port wants TLS: use https:// with its address\"}";

/// An address that is taken and not served yet.
pub(crate) struct Bound {
    tcp: TcpListener,
    pub(crate) address: SocketAddr,
    takes_plain: bool,
}

/// Takes the API's address; `None` if it is off. Before anything is opened, so that a mistake is told at
/// once.
///
/// # Errors
/// When it is in use, or is none of this machine.
pub(crate) fn bind(
    config: &ApiConfig,
    development: bool,
    clients: SocketAddr,
) -> Result<Option<Bound>, String> {
    let addresses = config.addresses(development, clients);
    let mut failed = None;
    for address in addresses {
        match TcpListener::bind(address).and_then(|tcp| tcp.set_nonblocking(true).map(|()| tcp)) {
            Ok(tcp) => {
                let address = tcp.local_addr().unwrap_or(address);
                let takes_plain = address.ip().is_loopback() || config.plain_http;
                return Ok(Some(Bound { tcp, address, takes_plain }));
            }
            Err(error) => failed = Some((address, error)),
        }
    }
    match failed {
        None => Ok(None),
        Some((address, error)) => Err(format!(
            "the server API cannot listen on {address}: {error}; give another address in api.listen, or off"
        )),
    }
}

/// An API that is served.
#[derive(Debug)]
pub(crate) struct Running {
    address: SocketAddr,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its end, which comes with the service's drain. Blocks.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the server API panicked: its message is in the log");
        }
    }
}

/// Serves the API on a thread of its own, so that no request holds up clients. Where it is off, what was asked
/// of it before a stop goes on all the same, on the current runtime.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn serve(
    bound: Option<Bound>,
    service: &Service,
    keys: Arc<Keys>,
    limits: ApiLimits,
    tls: rustls::ServerConfig,
    store_dir: PathBuf,
    outbox: Option<Arc<Progress>>,
) -> io::Result<Option<Running>> {
    let Some(Bound { tcp, address, takes_plain }) = bound else {
        Erasures::resume(service.clone());
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = runtime.enter();
    let service = service.for_another_worker();
    let router = router(service.clone(), keys, limits, store_dir, outbox);
    drop(within);
    let visitors = Visitors::new(limits.requests_max);
    let requests = Requests::new(router, limits);
    let shared = Arc::new(Shared { requests, tls: TlsAcceptor::from(Arc::new(tls)), takes_plain });
    let thread = std::thread::Builder::new().name("api".to_owned());
    let thread = thread.spawn(move || runtime.block_on(accept(tcp, shared, service, visitors)))?;
    Ok(Some(Running { address, thread }))
}

struct Shared {
    requests: Requests,
    tls: TlsAcceptor,
    takes_plain: bool,
}

async fn accept(tcp: TcpListener, shared: Arc<Shared>, service: Service, visitors: Arc<Visitors>) {
    let tcp = match tokio::net::TcpListener::from_std(tcp) {
        Ok(tcp) => tcp,
        Err(error) => return tracing::error!(%error, "the runtime does not take a listener"),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = service.phase.next(false) => break,
            Some(ended) = connections.join_next() => log_panic(&ended),
            accepted = tcp.accept() => match accepted {
                Ok((tcp, peer)) => {
                    let Some((visitor, stay)) = visitors.come(peer.ip()) else { continue };
                    let (phase, shared) = (service.phase.clone(), Arc::clone(&shared));
                    connections.spawn(serve_connection(shared, tcp, peer, visitor, stay, phase));
                }
                Err(error) => {
                    tracing::warn!(%error, "the server API accepts no connection for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(tcp);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, finish).await.is_err() {
        tracing::warn!("requests of the server API were cut off by the stop");
    }
}

/// Serves a connection until it ends, or has to go: one with a key not within a request.
async fn serve_connection(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    visitor: Visitor,
    stay: Stay,
    phase: PhaseReceiver,
) {
    let mut served = pin!(connection(&shared, tcp, peer, &visitor, phase));
    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => ended,
        () = stay.ends() => {
            if !visitor.is_known() {
                tracing::debug!(%peer, "a connection of the server API has shown no key");
                return;
            }
            visitor.leave();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection of the server API ended");
    }
}

async fn connection(
    shared: &Shared,
    tcp: TcpStream,
    peer: SocketAddr,
    visitor: &Visitor,
    phase: PhaseReceiver,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(stream) = tokio::time::timeout(HANDSHAKE_TIMEOUT, open(shared, tcp)).await?? else {
        return Ok(());
    };
    let answers = service_fn(|mut request: Request<Incoming>| {
        // For the log, and for whoever looks at the request's key.
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(visitor.clone());
        async move {
            let answer = shared.requests.answer(request.map(Body::new)).await;
            visitor.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let serves = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answers);
    let mut serves = pin!(serves);
    tokio::select! {
        served = serves.as_mut() => return Ok(served?),
        _ = phase.next(false) => {}
        () = visitor.leaves() => {}
    }
    serves.as_mut().graceful_shutdown();
    Ok(serves.await?)
}

/// What a connection's bytes are read from and written to, or `None` if it is refused.
async fn open(shared: &Shared, tcp: TcpStream) -> io::Result<Option<Stream>> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] == TLS_HANDSHAKE {
        return Ok(Some(Stream::Tls(Box::new(shared.tls.accept(crate::http::Counted::new(tcp)).await?))));
    }
    if shared.takes_plain {
        return Ok(Some(Stream::plain(tcp)));
    }
    let mut tcp = tcp;
    tcp.write_all(USE_TLS.as_bytes()).await?;
    tcp.shutdown().await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::USE_TLS;

    #[test]
    fn the_answer_without_tls_is_as_long_as_it_says() {
        let (head, body) = USE_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
