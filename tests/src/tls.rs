//! TLS in front of a backend, with a certificate authority that only this test knows.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use quoth_certs::{CertStore, development, server_config};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Passes on what comes over TLS. Its certificate names `localhost`, `127.0.0.1` and `::1`. Ends when it is
/// dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    ca_file: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _dir: TempDir,
}

impl TlsFront {
    /// One at a free port of this address, in front of `backend`.
    ///
    /// # Errors
    /// When it cannot listen, or make its certificate.
    pub fn start(at: impl Into<IpAddr>, backend: SocketAddr) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let files = development(dir.path(), &[], now_unix_s)?;
        let store = CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path)?;
        let acceptor = TlsAcceptor::from(Arc::new(server_config(Arc::new(store), &[b"http/1.1"])?));
        let at: IpAddr = at.into();
        let listener = std::net::TcpListener::bind((at, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _gone = accept(listener, acceptor, backend) => {}
                    _dropped = stopped => {}
                }
            });
        });
        Ok(Self { address, ca_file: files.ca_pem_path, stop: Some(stop), thread: Some(thread), _dir: dir })
    }

    /// Who has signed its certificate.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A URL there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    backend: SocketAddr,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut tls = acceptor.accept(tcp).await?;
            let mut behind = TcpStream::connect(backend).await?;
            tokio::io::copy_bidirectional(&mut tls, &mut behind).await
        });
    }
}
