//! A server on a thread of its own, which can end without a goodbye.

use std::thread::JoinHandle;

use quoth_client::Transport;
use tokio::sync::oneshot;

use super::{FakeServer, Identity};

pub(crate) struct Machine {
    server: oneshot::Receiver<FakeServer>,
    crash: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Machine {
    pub(crate) fn start(identity: Identity) -> Self {
        let (started, server) = oneshot::channel();
        let (crash, crashed) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                started.send(FakeServer::start_as(&identity, 0)).ok();
                crashed.await.ok();
            });
        });
        Self { server, crash, thread }
    }

    /// For clients that use this transport.
    pub(crate) async fn server(&mut self, transport: Transport) -> FakeServer {
        let mut server = (&mut self.server).await.unwrap();
        server.transport = transport;
        server
    }

    /// Drops all tasks of the server where they are, so that nothing is sent, and frees its port.
    pub(crate) async fn crash(self, server: FakeServer) {
        drop(self.crash);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
        drop(server);
    }
}
