//! The sockets: for each worker one for UDP and one for TCP, all at the same address.

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod program;
mod tcp;

use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::SockRef;

/// Bytes of the kernel's buffers of a socket that are asked for: the usual default of 208 KiB drops bursts.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Ports that are tried when any free one will do.
const TRIES: usize = 64;

/// Whether the kernel can pick a worker's socket by connection id.
pub(crate) const CAN_STEER: bool = cfg!(target_os = "linux");

/// The sockets of a server's workers, in their order.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// For QUIC. When they are several, the kernel picks the one that a packet is for by its connection id,
    /// until the last of them is closed: one that is closed before leaves its place to another one.
    pub(crate) udp: Vec<UdpSocket>,
    /// For HTTP, at the same port; as many, or none.
    pub(crate) tcp: Vec<TcpListener>,
}

/// Binds the sockets of some workers, those of TCP if they are wanted.
///
/// # Errors
/// What is wrong and what to do.
pub(crate) fn bind(address: SocketAddr, workers: u32, with_tcp: bool) -> Result<Sockets, String> {
    let mut tries = TRIES;
    loop {
        let udp = bind_udp(address, workers)?;
        if !with_tcp {
            return Ok(Sockets { udp, tcp: Vec::new() });
        }
        let chosen = udp[0].local_addr().map_err(|error| format!("the socket has no address: {error}"))?;
        tries -= 1;
        match tcp::listen(chosen, workers) {
            Ok(tcp) => return Ok(Sockets { udp, tcp }),
            // The port was any that is free for UDP, and somebody has it for TCP.
            Err(error)
                if address.port() == 0 && tries > 0 && error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(tcp::explain(chosen, &error)),
        }
    }
}

fn bind_udp(address: SocketAddr, workers: u32) -> Result<Vec<UdpSocket>, String> {
    // Without the option that lets others in, so that an address which anybody has, in whatever way, is
    // refused.
    let first = UdpSocket::bind(address).map_err(|error| explain(address, &error))?;
    enlarge_buffers(&first);
    let mut sockets = vec![first];
    if workers > 1 {
        share(&mut sockets, workers).map_err(|error| {
            format!(
                "{address} cannot be shared by {workers} sockets, one for each worker: {error}; set server.workers to 1"
            )
        })?;
    }
    Ok(sockets)
}

fn explain(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{address} is in use, perhaps by another quoth-server: stop it, or give another address with --listen"
        ),
        _ => format!("{address} cannot be bound: {error}"),
    }
}

/// Adds the sockets of the other workers to the first one's.
#[cfg(target_os = "linux")]
fn share(sockets: &mut Vec<UdpSocket>, workers: u32) -> std::io::Result<()> {
    use socket2::{Domain, Protocol, Socket, Type};
    let address = sockets[0].local_addr()?;
    SockRef::from(&sockets[0]).set_reuse_port(true)?;
    for _ in 1..workers {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        enlarge_buffers(&socket);
        sockets.push(socket);
    }
    attach::attach(&sockets[0], &program::program(workers))
}

#[cfg(not(target_os = "linux"))]
fn share(_: &mut Vec<UdpSocket>, _: u32) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn enlarge_buffers(socket: &UdpSocket) {
    let options = SockRef::from(socket);
    // The kernel gives what it allows; less only drops more in a burst.
    let _less_is_enough = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _less_is_enough = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if let Ok(got) = options.recv_buffer_size()
        && got < SOCKET_BUFFER_BYTES
    {
        tracing::debug!(
            bytes = got,
            wanted = SOCKET_BUFFER_BYTES,
            "small receive buffer: raise net.core.rmem_max"
        );
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    use super::bind_udp;
    use super::program::tests::{long_header, short_header};

    /// Bound of a hang.
    const PATIENCE: Duration = Duration::from_secs(10);

    const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    /// Which socket a payload arrives at that is sent to the address of all.
    fn arrives_at(sockets: &[UdpSocket], payload: &[u8]) -> usize {
        let to = sockets[0].local_addr().unwrap();
        let client = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
        client.send_to(payload, to).unwrap();
        let arrived = |at: &usize| sockets[*at].recv(&mut [0; 64]).is_ok();
        let sent = Instant::now();
        while sent.elapsed() < PATIENCE {
            if let Some(at) = (0..sockets.len()).find(arrived) {
                return at;
            }
        }
        panic!("nothing has arrived");
    }

    #[test]
    fn the_kernel_picks_the_socket_by_the_connection_id_whatever_port_a_packet_comes_from() {
        for address in LOOPBACK {
            let sockets = bind_udp(address.parse().unwrap(), 3).unwrap();
            for socket in &sockets {
                socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            }
            for worker in [2_u8, 0, 1, 1, 0, 2, 2, 2, 1] {
                let id = [0, 0, 1, 2 + worker, 9, 9, 9, 9];
                assert_eq!(arrives_at(&sockets, &short_header(&id)), usize::from(worker));
                assert_eq!(arrives_at(&sockets, &long_header(&id)), usize::from(worker));
            }
        }
    }

    #[test]
    fn an_address_that_a_server_has_is_refused_whatever_number_of_workers_both_have() {
        for (here, there) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let here = bind_udp("127.0.0.1:0".parse().unwrap(), here).unwrap();
            let error = bind_udp(here[0].local_addr().unwrap(), there).unwrap_err();
            assert!(error.contains("in use"), "{error}");
        }
    }
}
