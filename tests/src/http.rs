//! HTTP by hand, for tests: requests to the server API, and a backend that hooks and events are sent to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use tokio::net::TcpSocket;

/// A bound of a hang. Longer than the longest pause between two tries to tell a backend something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request or an answer, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// A header's value, empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON, null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The status of an answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The next one of a connection.
    ///
    /// # Errors
    /// When there is none.
    pub fn next(tcp: &TcpStream) -> anyhow::Result<Self> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        Self::read(&mut BufReader::new(tcp.try_clone()?))?.context("the other side has closed")
    }

    /// The next one, `None` when the other side has closed.
    fn read(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Option<Self>> {
        let mut line = || -> anyhow::Result<String> {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            Ok(line.trim_end().to_owned())
        };
        let start = line()?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { start, headers, body: Vec::new() };
        let length = message.header("content-length").parse().unwrap_or_default();
        message.body = vec![0; length];
        reader.read_exact(&mut message.body)?;
        Ok(Some(message))
    }
}

/// A server API, and a key of it.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key.
    pub key: String,
}

impl Api {
    /// The one that a development server has told in its file for clients.
    ///
    /// # Errors
    /// When it has told none.
    pub fn told(client_file: &Value) -> anyhow::Result<Self> {
        let url = client_file["api"].as_str().context("no api")?;
        let address = url.trim_start_matches("http://").parse()?;
        Ok(Self { address, key: client_file["api_key"].as_str().context("no api_key")?.to_owned() })
    }

    /// Sends a request with a body of JSON, and reads the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Message> {
        self.send_with(method, path, &[], body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    /// The same with further headers and any body.
    ///
    /// # Errors
    /// When there is none.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Message> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if !self.key.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.key));
        }
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut writer = &tcp;
        writer.write_all(head.as_bytes())?;
        // A server that has said what is wrong need not read the rest.
        let _not_read = writer.write_all(body);
        Message::read(&mut BufReader::new(tcp.try_clone()?))?.context("no answer")
    }

    /// Sends a request that is to succeed, and gives the answer's JSON.
    ///
    /// # Errors
    /// When it does not.
    pub fn done(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.send(method, path, body)?;
        anyhow::ensure!(answer.status() == 200, "{method} {path}: {}: {}", answer.start, answer.json());
        Ok(answer.json())
    }
}

/// A backend: takes requests, which it keeps, and answers each as it was told.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepts: Option<std::thread::JoinHandle<()>>,
}

/// What has come to a backend.
#[derive(Default)]
struct Requests {
    all: Vec<Message>,
    /// Those that are answered with success, set down before the answer is sent.
    taken: Vec<Message>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Requests>,
    came: Condvar,
    is_gone: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What is answered: a status, and a body of JSON.
pub type Answer = (u16, String);

/// An address of loopback that the system gives nobody else, whether a backend is
/// [there](Backend::start_at) or not.
#[derive(Debug)]
pub struct HeldAddress {
    address: SocketAddr,
    /// Bound, and never listening: so others may bind the address, if they name it.
    _socket: TcpSocket,
}

impl HeldAddress {
    /// One that is free.
    ///
    /// # Errors
    /// When there is none.
    pub fn free() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Backend {
    /// One at a free port of loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(answer: impl Fn(&Message) -> Answer + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer)
    }

    /// The same at an address that another one had before.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Message) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (shared, answer) = (Arc::new(Shared::default()), Arc::new(answer));
        let accepts = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if accepts.is_gone.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(tcp), shared, answer) = (tcp, Arc::clone(&accepts), Arc::clone(&answer)) else {
                    return;
                };
                if let Ok(other) = tcp.try_clone() {
                    shared.connections.lock().push(other);
                }
                std::thread::spawn(move || serve(tcp, &shared, &*answer));
            }
        });
        Ok(Self { address, shared, accepts: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has come until now.
    #[must_use]
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().all.clone()
    }

    /// Waits until what has come is enough.
    ///
    /// # Panics
    /// When it is not, and nothing comes for a minute.
    pub fn wait_until(&self, is_enough: impl Fn(&[Message]) -> bool) {
        let _all = self.wait(|requests| &requests.all, is_enough);
    }

    /// Waits until what was answered with success is enough, and gives it.
    ///
    /// # Panics
    /// When it is not, and nothing comes for a minute.
    pub fn wait_until_taken(&self, is_enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        self.wait(|requests| &requests.taken, is_enough)
    }

    fn wait(
        &self,
        of: impl Fn(&Requests) -> &Vec<Message>,
        is_enough: impl Fn(&[Message]) -> bool,
    ) -> Vec<Message> {
        let mut requests = self.shared.requests.lock();
        while !is_enough(of(&requests)) {
            let waited = self.shared.came.wait_for(&mut requests, PATIENCE);
            let count = of(&requests).len();
            assert!(!waited.timed_out(), "{count} requests have come, and that is not enough");
        }
        of(&requests).clone()
    }

    /// Closes everything at once; what has come remains.
    pub fn stop(self) -> Vec<Message> {
        self.requests()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.is_gone.store(true, Ordering::Release);
        self.shared.connections.lock().drain(..).for_each(|tcp| drop(tcp.shutdown(std::net::Shutdown::Both)));
        // Wakes the one who accepts.
        let _woken = TcpStream::connect(self.address);
        // The address is free then.
        let _ended = self.accepts.take().map(std::thread::JoinHandle::join);
    }
}

fn serve(tcp: TcpStream, shared: &Shared, answer: &(dyn Fn(&Message) -> Answer + Send + Sync)) {
    let Ok(reads) = tcp.try_clone() else { return };
    let mut reader = BufReader::new(reads);
    while let Ok(Some(request)) = Message::read(&mut reader) {
        shared.requests.lock().all.push(request.clone());
        shared.came.notify_all();
        let (status, body) = answer(&request);
        if shared.is_gone.load(Ordering::Acquire) {
            return;
        }
        if (200..300).contains(&status) {
            shared.requests.lock().taken.push(request);
            shared.came.notify_all();
        }
        let head = format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if (&tcp).write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}
