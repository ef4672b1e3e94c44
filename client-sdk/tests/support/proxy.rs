//! A middlebox between client and server: it knows flows of UDP by their addresses, and a flow must begin
//! with a handshake. It can be told to let nothing through.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use super::bind;

/// The first bit of a QUIC packet's first byte: set in those of a handshake.
const LONG_HEADER: u8 = 0x80;

/// What a middlebox lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
}

/// Passes everything on, but drops packets of a QUIC connection that has migrated to a new address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    passes: watch::Sender<Passes>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        Self::start_with(server, Passes { udp: true, tcp: true })
    }

    pub(crate) fn start_with(server: SocketAddr, passes: Passes) -> Self {
        let (udp, tcp) = bind(0);
        udp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        let passes = watch::Sender::new(passes);
        tokio::spawn(relay(Arc::new(UdpSocket::from_std(udp).unwrap()), server, passes.subscribe()));
        tokio::spawn(relay_tcp(tcp, server, passes.subscribe()));
        Self { address, passes }
    }

    pub(crate) fn pass(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

async fn relay(socket: Arc<UdpSocket>, server: SocketAddr, passes: watch::Receiver<Passes>) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut datagram = vec![0; 65_536];
    while let Ok((len, client)) = socket.recv_from(&mut datagram).await {
        if !passes.borrow().udp {
            continue;
        }
        if !flows.contains_key(&client) && datagram[0] & LONG_HEADER != 0 {
            let flow = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
            flow.connect(server).await.unwrap();
            tokio::spawn(relay_back(Arc::clone(&flow), Arc::clone(&socket), client, passes.clone()));
            flows.insert(client, flow);
        }
        if let Some(flow) = flows.get(&client) {
            flow.send(&datagram[..len]).await.unwrap();
        }
    }
}

async fn relay_back(
    flow: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    passes: watch::Receiver<Passes>,
) {
    let mut datagram = vec![0; 65_536];
    while let Ok(len) = flow.recv(&mut datagram).await {
        if passes.borrow().udp {
            socket.send_to(&datagram[..len], client).await.unwrap();
        }
    }
}

async fn relay_tcp(listener: TcpListener, server: SocketAddr, passes: watch::Receiver<Passes>) {
    while let Ok((client, _)) = listener.accept().await {
        let passes = passes.clone();
        tokio::spawn(async move {
            let server = TcpStream::connect(server).await.unwrap();
            let (client, server) = (client.into_split(), server.into_split());
            tokio::join!(copy(client.0, server.1, passes.clone()), copy(server.0, client.1, passes));
        });
    }
}

/// Until one side ends. What is not let through waits, as TCP would repeat it.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passes: watch::Receiver<Passes>) {
    let mut bytes = vec![0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        if passes.wait_for(|passes| passes.tcp).await.is_err() || to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}
