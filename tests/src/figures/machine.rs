//! Memory and CPU time of a process, as Linux tells them, and a socket that does not drop bursts.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;

/// Bytes of a socket's buffers, as the server asks for: with the usual default of 208 KiB a fan-out measures what is lost.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// A socket on a free port of loopback with large buffers.
///
/// # Errors
/// When there is none.
pub(super) fn socket() -> std::io::Result<UdpSocket> {
    socket_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// The same at an address of loopback, of which there are many.
///
/// # Errors
/// When there is none.
pub(super) fn socket_at(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

/// Resident memory of a process, in KiB.
///
/// # Errors
/// When there is no such process.
pub(super) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// CPU time that a process has used, in seconds.
///
/// # Errors
/// When there is no such process.
pub(super) fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    /// `USER_HZ`, which Linux has fixed at 100 for what it tells in /proc.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").context("no command in stat")?.1;
    let ticks: Vec<f64> =
        fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>().context("no times")?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
