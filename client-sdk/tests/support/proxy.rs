//! A middlebox between client and server: it knows flows by their addresses, and a flow must begin with a handshake.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;

/// The first bit of a QUIC packet's first byte: set in those of a handshake.
const LONG_HEADER: u8 = 0x80;

/// Passes packets on, but drops those of a connection that has migrated to a new address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let address = socket.local_addr().unwrap();
        tokio::spawn(relay(socket, server));
        Self { address }
    }
}

async fn relay(socket: Arc<UdpSocket>, server: SocketAddr) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut datagram = vec![0; 65_536];
    while let Ok((len, client)) = socket.recv_from(&mut datagram).await {
        if !flows.contains_key(&client) && datagram[0] & LONG_HEADER != 0 {
            let flow = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
            flow.connect(server).await.unwrap();
            tokio::spawn(relay_back(Arc::clone(&flow), Arc::clone(&socket), client));
            flows.insert(client, flow);
        }
        if let Some(flow) = flows.get(&client) {
            flow.send(&datagram[..len]).await.unwrap();
        }
    }
}

async fn relay_back(flow: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut datagram = vec![0; 65_536];
    while let Ok(len) = flow.recv(&mut datagram).await {
        socket.send_to(&datagram[..len], client).await.unwrap();
    }
}
