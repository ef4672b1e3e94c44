//! A server on one side of a network, and clients on the other.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use quoth_client::Client;
use quoth_network::{Network, Side};
use quoth_protocol::DEFAULT_PORT;
use quoth_server::config::Config;
use quoth_server::development;
use quoth_tests::process::binary;

/// Bound of a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A `quoth-server` on the server's side, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    ca_file: PathBuf,
    token: String,
}

impl Server {
    /// Starts one with its data in `dir`. A client that connects waits for it.
    pub(crate) fn start(network: &Network, dir: &Path) -> anyhow::Result<Self> {
        // Development mode serves loopback only; what it makes does elsewhere too.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let address = std::net::SocketAddr::new(network.server_address(), DEFAULT_PORT);
        let config = Config { data_dir: dir.join("made"), ..Config::default() };
        let made = development::prepare(&config, address, None, now_s).map_err(|error| anyhow!(error))?;
        let key = format!("HS256:{}", made.token_key.file.display());
        let settings = format!(
            "[server]\nlisten = {:?}\ndata_dir = {:?}\n[tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}\n\
             [auth]\ntoken_keys = [{key:?}]\n",
            address.to_string(),
            dir.join("data"),
            made.certificate_file,
            made.private_key_file
        );
        std::fs::write(dir.join("quoth.toml"), settings)?;
        let child = network
            .command_in(Side::Server, binary("quoth-server"))
            .arg("--config")
            .arg(dir.join("quoth.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            address: address.to_string(),
            token: made.token().to_owned(),
            ca_file: made.ca_file,
        })
    }

    /// A client's settings.
    pub(crate) fn client(&self) -> quoth_client::Builder {
        Client::builder(&self.address)
            .server_name("localhost")
            .ca_file(&self.ca_file)
            .token(&self.token)
            .connect_timeout(PATIENCE)
            .send_timeout(PATIENCE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Runs something on the client's side, in a thread of its own.
pub(crate) fn on_clients_side<T: Send, F: Future<Output = anyhow::Result<T>>>(
    network: &Network,
    run: impl FnOnce() -> F + Send,
) -> anyhow::Result<T> {
    let within = || {
        network.enter(Side::Client)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
    };
    std::thread::scope(|scope| scope.spawn(within).join()).map_err(|_| anyhow!("it panicked"))?
}
