//! The one socket option that no crate sets.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use super::program::Instruction;

/// Has the kernel pick one of the sockets that share an address by what a program gives for a packet's
/// payload: their places in the order in which they were bound.
///
/// # Errors
/// When the kernel refuses the program, or the socket shares its address with nobody.
#[allow(unsafe_code, reason = "SO_ATTACH_REUSEPORT_CBPF is offered by no crate in use")]
pub(super) fn attach(socket: &UdpSocket, program: &[Instruction]) -> std::io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|step| libc::sock_filter { code: step.code, jt: step.if_true, jf: step.if_false, k: step.k })
        .collect();
    let length = u16::try_from(instructions.len()).map_err(std::io::Error::other)?;
    let program_len =
        libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(std::io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    // SAFETY: the kernel copies the program within the call, whose pointers are to locals of the types that
    // the option has, with their lengths.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            program_len,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
