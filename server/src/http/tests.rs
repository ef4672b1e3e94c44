//! What comes over TCP that is no good request, against a listener on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quoth_certs::CertStore;
use quoth_protocol::Code;
use quoth_protocol::frame::Durability;
use quoth_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ALPN_HTTP, Site, serve};
use crate::config::Config;
use crate::engine::{Engine, Execution, SystemClock};
use crate::session::{Limits, Phase, PhaseSender, Service, Verification, Verify};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

struct Nobody;

impl Verify for Nobody {
    fn verify(&self, _: &str, _: u64) -> Verification {
        Err(Code::TOKEN_REJECTED).into()
    }
}

/// A listener, which ends with it.
struct Served {
    address: SocketAddr,
    phase: PhaseSender,
    serves: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// One of a development server.
fn served(limits: Limits) -> Served {
    served_as(Config { development: true, ..Config::default() }, limits)
}

fn served_as(config: Config, limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let made = quoth_certs::development(dir.path(), &[], 1_700_000_000).unwrap();
    let certificates = CertStore::open(&made.leaf_pem_path, &made.leaf_key_pem_path).unwrap();
    let tls = quoth_certs::server_config(Arc::new(certificates), &[ALPN_HTTP]).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let site = Arc::new(Site::new(&config, address, tls, None));
    let (engine, _stopper) =
        Engine::start(Store::memory(), Durability::Memory, Arc::new(SystemClock), Execution::Threads);
    let phase = PhaseSender::new();
    let service = Service::new(engine, Arc::new(Nobody), limits, phase.subscribe());
    Served { address, phase, serves: tokio::spawn(serve(listener, site, service)), _dir: dir }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All that is answered to these bytes until the server closes.
    async fn answer(&self, bytes: &[u8]) -> String {
        let mut tcp = self.connect().await;
        // A server that has said what is wrong need not read the rest.
        let _not_read = tcp.write_all(bytes).await;
        rest(&mut tcp).await
    }
}

async fn rest(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _until_a_reset = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn without_tls_outside_of_development_the_answer_says_what_to_use() {
    let served = served_as(Config::default(), Limits::default());
    let answer = served.answer(b"GET /healthz HTTP/1.1\r\nHost: chat.example\r\n\r\n").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && text.contains("https://"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", text.len())), "{answer}");
    assert_eq!(served.answer(&[]).await, "", "nothing is said to who says nothing");
}

#[tokio::test]
async fn heads_are_bounded() {
    let served = served(Limits::default());
    let head = |headers: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let close = "Connection: close\r\n";
    assert!(served.answer(head(close).as_bytes()).await.starts_with("HTTP/1.1 200 "));
    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    assert!(served.answer(head(&many).as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let large = format!("X: {}\r\n", "y".repeat(20_000));
    assert!(served.answer(head(&large).as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert!(served.answer(b"no request\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn who_does_nothing_is_closed_whatever_has_begun() {
    // Long enough for a request on a machine that stands still for a moment.
    let served = served(Limits { handshake_timeout_ms: 3_000, ..Limits::default() });
    let answer = async |bytes: &[u8]| {
        let mut tcp = served.connect().await;
        tcp.write_all(bytes).await.unwrap();
        rest(&mut tcp).await
    };
    let whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let (nothing, half, slow, idle) =
        tokio::join!(answer(b""), answer(&[0x16, 3, 1]), answer(b"GET / HTTP/1.1\r\n"), answer(whole));
    assert_eq!(nothing, "", "not a byte");
    assert_eq!(half, "", "half a handshake");
    assert_eq!(slow, "", "half a head");
    assert!(idle.ends_with("serving\n"), "a request, and then nothing");
}

/// What a health check is answered with; nothing when the connection is closed.
async fn health(tcp: &mut TcpStream) -> String {
    let (mut answer, mut read) = (Vec::new(), [0; 1_024]);
    let _closed = tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    while !answer.ends_with(b"serving\n") {
        let count =
            tokio::time::timeout(PATIENCE, tcp.read(&mut read)).await.expect("it is answered or closed");
        match count {
            Ok(count) if count > 0 => answer.extend_from_slice(&read[..count]),
            _ => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_connection_has_its_time_for_requests_however_many_they_are() {
    let served = served(Limits::default());
    let mut tcp = served.connect().await;
    // Far from the time that the next head may take.
    let later = async || {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(2)).await;
        tokio::time::resume();
    };
    for _ in 0..14 {
        assert!(health(&mut tcp).await.ends_with("serving\n"));
        later().await;
    }
    later().await;
    assert_eq!(rest(&mut tcp).await, "", "it is closed");
    assert!(health(&mut served.connect().await).await.ends_with("serving\n"), "another one is not");
}

#[tokio::test]
async fn an_address_has_its_share_of_connections_without_a_websocket() {
    let served = served(Limits { handshakes_per_address_max: 2, ..Limits::default() });
    let held = [served.connect().await, served.connect().await];
    // They are accepted in order, so they have their places when the third is closed.
    assert_eq!(served.answer(b"").await, "");
    let health = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(served.answer(health).await, "");
    drop(held);
    while !served.answer(health).await.ends_with("serving\n") {}
}

#[tokio::test]
async fn a_drain_ends_requests_and_the_listener() {
    let served = served(Limits::default());
    let mut idle = served.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 17];
    idle.read_exact(&mut first).await.unwrap();
    served.phase.set(Phase::Draining { retry_after_ms: 1 });
    assert!(rest(&mut idle).await.ends_with("serving\n"));
    tokio::time::timeout(PATIENCE, served.serves).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn the_page_is_there_in_development_and_where_it_is_wanted() {
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
    let plain = Config { plain_http: true, ..Config::default() };
    let demo = Config { demo_page: true, ..plain.clone() };
    let development = Config { development: true, ..Config::default() };
    for (config, has_page) in [(plain, false), (demo, true), (development, true)] {
        let served = served_as(config, Limits::default());
        let status = if has_page { "HTTP/1.1 200 " } else { "HTTP/1.1 404 " };
        let page = served.answer(&get("/")).await;
        assert!(page.starts_with(status), "{page}");
        assert_eq!(page.contains("content-security-policy: default-src 'self'"), has_page, "{page}");
        assert!(served.answer(&get("/no-such-file.js")).await.starts_with("HTTP/1.1 404 "));
        let post = get("/").into_iter().skip(3);
        let post: Vec<u8> = b"POST".iter().copied().chain(post).collect();
        assert_eq!(served.answer(&post).await.starts_with("HTTP/1.1 405 "), has_page);
        // Nobody made tokens here.
        assert!(served.answer(&get("/dev/token?user=alice")).await.starts_with("HTTP/1.1 404 "));
    }
}
