//! The TCP sockets: one for each worker, all at the address of the UDP sockets.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted; the kernel drops the first packet of more, and clients repeat it.
const BACKLOG: i32 = 1_024;

/// Binds a listener for each of some workers. The kernel picks one for each new connection by its addresses.
///
/// # Errors
/// [`ErrorKind::AddrInUse`] when anybody has the address, and what else is wrong.
pub(super) fn listen(address: SocketAddr, workers: u32) -> Result<Vec<TcpListener>, Error> {
    // Without the option that lets others in, so that an address which anybody has, in whatever way, is
    // refused.
    let first = bound(address, false)?;
    if workers > 1 {
        share(&first)?;
    }
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let others = (1..workers).map(|_| bound(address, true));
    [Ok(first)].into_iter().chain(others).map(|socket| socket.map(TcpListener::from)).collect()
}

fn bound(address: SocketAddr, shares: bool) -> Result<Socket, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier server that are about to end must not keep this one out. On Windows it means
    // more.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if shares {
        share(&socket)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn share(socket: &Socket) -> Result<(), Error> {
    socket.set_reuse_port(true)
}

#[cfg(not(target_os = "linux"))]
fn share(_: &Socket) -> Result<(), Error> {
    Err(ErrorKind::Unsupported.into())
}

/// What is wrong and what to do.
pub(super) fn explain(address: SocketAddr, error: &Error) -> String {
    let whoever = "set server.websocket to false to do without WebSocket and HTTP";
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "TCP {address} is in use, though UDP is free there: stop what has it, give another address with --listen, or \
             {whoever}"
        ),
        _ => format!("TCP {address} cannot be bound: {error}; {whoever}"),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::listen;

    #[test]
    fn every_worker_gets_connections() {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (mut reached, mut open) = (HashSet::new(), Vec::new());
        let began = Instant::now();
        while reached.len() < listeners.len() {
            assert!(began.elapsed() < Duration::from_secs(10), "only {reached:?} of 3");
            open.push(TcpStream::connect(address).unwrap());
            reached.extend((0..listeners.len()).filter(|at| listeners[*at].accept().is_ok()));
        }
    }

    #[test]
    fn an_address_that_a_server_has_is_refused_whatever_number_of_workers_both_have() {
        for (here, there) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let here = listen("127.0.0.1:0".parse().unwrap(), here).unwrap();
            let error = listen(here[0].local_addr().unwrap(), there).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        }
    }
}
