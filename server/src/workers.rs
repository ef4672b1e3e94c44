//! Network workers: each has a socket for UDP with an endpoint, one for TCP, and a runtime with one thread of
//! its own, so that a connection and its streams never change threads. The first one is the runtime that the
//! server was started on.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, ServerConfig, TokioRuntime};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http::{self, Site};
use crate::quic::{EndpointSecret, Steering, endpoint_config, serve, with_segmentation_offload};
use crate::session::{Limits, Service};
use crate::sockets::Sockets;

/// Endpoints that do not serve yet.
#[derive(Debug)]
pub(crate) struct Endpoints {
    first: Endpoint,
    others: Vec<(Endpoint, OwnRuntime)>,
    /// The configuration of the first connections.
    offloading: Option<Arc<ServerConfig>>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// Workers that serve.
#[derive(Debug)]
pub(crate) struct Workers {
    first: JoinHandle<()>,
    others: Vec<std::thread::JoinHandle<()>>,
    /// Changes when any of them ends.
    ended: watch::Receiver<()>,
    /// The order of the sockets must last until the last worker has drained.
    sockets: Vec<UdpSocket>,
}

/// A runtime that may be dropped within another one: it then waits for nothing.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tells that a worker has ended, however that came.
struct Runs(Arc<watch::Sender<()>>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.send_replace(());
    }
}

async fn guarded(_runs: Runs, task: impl Future<Output = ()>) {
    task.await;
}

/// Runs the one task here and the other one beside it, until both have ended. Panics when either has.
async fn both(here: impl Future<Output = ()>, beside: Option<impl Future<Output = ()> + Send + 'static>) {
    let beside = beside.map(tokio::spawn);
    here.await;
    if let Some(beside) = beside
        && let Err(error) = beside.await
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Endpoints {
    /// Makes an endpoint for each socket, the first one on the current tokio runtime.
    ///
    /// # Errors
    /// When the system lacks what an endpoint needs.
    pub(crate) fn open(
        sockets: Sockets,
        secret: &EndpointSecret,
        config: &ServerConfig,
        limits: &Limits,
    ) -> std::io::Result<Self> {
        let Sockets { udp, tcp } = sockets;
        let workers = u32::try_from(udp.len()).map_err(std::io::Error::other)?;
        let endpoint = |worker: u32, socket: &UdpSocket| {
            let ids = endpoint_config(secret, Steering { worker, workers });
            Endpoint::new(ids, Some(config.clone()), socket.try_clone()?, Arc::new(TokioRuntime))
        };
        let first = endpoint(0, &udp[0])?;
        let mut others = Vec::new();
        for (worker, socket) in (1..).zip(&udp[1..]) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let runtime = OwnRuntime(Some(runtime));
            let endpoint = runtime.within(|| endpoint(worker, socket))?;
            others.push((endpoint, runtime));
        }
        Ok(Self { first, others, offloading: with_segmentation_offload(config, limits), udp, tcp })
    }

    /// Begins to serve, on the current tokio runtime and on a thread for each further worker.
    pub(crate) fn serve(self, service: &Service, site: Site) -> Workers {
        let (runs, ended) = watch::channel(());
        let (runs, site) = (Arc::new(runs), Arc::new(site));
        let serves = |endpoint, tcp: Option<TcpListener>, service: Service| {
            let http = tcp.map(|tcp| {
                guarded(Runs(Arc::clone(&runs)), http::serve(tcp, Arc::clone(&site), service.clone()))
            });
            guarded(Runs(Arc::clone(&runs)), both(serve(endpoint, self.offloading.clone(), service), http))
        };
        let mut tcp = self.tcp.into_iter();
        let first = serves(self.first, tcp.next(), service.clone());
        let others = (1..).zip(self.others).map(|(worker, (endpoint, runtime)): (u32, _)| {
            let serves = serves(endpoint, tcp.next(), runtime.within(|| service.for_another_worker()));
            let thread = std::thread::Builder::new().name(format!("network-{worker}"));
            thread.spawn(move || runtime.block_on(serves)).expect("a thread can be started at start-up")
        });
        let others = others.collect();
        let first = tokio::spawn(first);
        Workers { first, others, ended, sockets: self.udp }
    }
}

impl OwnRuntime {
    fn within<T>(&self, task: impl FnOnce() -> T) -> T {
        let _entered = self.0.as_ref().map(Runtime::enter);
        task()
    }

    fn block_on(self, task: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            runtime.block_on(task);
        }
    }
}

impl Workers {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Changes when any worker ends.
    pub(crate) fn ended(&self) -> watch::Receiver<()> {
        self.ended.clone()
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// When one has panicked.
    pub(crate) async fn join(self) -> Result<(), String> {
        let first = self.first.await.map_err(|error| error.to_string());
        let join =
            || self.others.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_err).count();
        let panicked = tokio::task::spawn_blocking(join).await.map_err(|error| error.to_string())?;
        first?;
        if panicked > 0 { Err("a worker panicked: its message is in the log".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::{Runs, guarded};

    #[tokio::test]
    async fn whatever_ends_a_worker_is_told() {
        let (runs, ended) = watch::channel(());
        let runs = Arc::new(runs);
        let mut pending = ended.clone();
        tokio::spawn(guarded(Runs(Arc::clone(&runs)), std::future::pending()));
        tokio::task::yield_now().await;
        assert!(!pending.has_changed().unwrap());
        let _returned = tokio::spawn(guarded(Runs(Arc::clone(&runs)), async {})).await;
        pending.changed().await.unwrap();
        let mut panicked = ended.clone();
        panicked.mark_unchanged();
        let panics = guarded(Runs(runs), async { panic!("a mistake, for a test") });
        assert!(tokio::spawn(panics).await.is_err());
        panicked.changed().await.unwrap();
    }
}
