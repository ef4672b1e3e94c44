//! A server that runs already.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::load::single::Server;
use crate::process::Usage;

/// A server that runs already.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that its certificate is for.
    pub name: String,
    /// The CA of its certificate.
    pub ca_file: PathBuf,
    /// A token that may read and write anything.
    pub token: String,
    /// Its process, where it runs on this machine and is to be watched.
    pub pid: Option<u32>,
}

impl Running {
    pub(super) fn server(&self) -> Server<'_> {
        let Self { address, name, ca_file, token, pid } = self;
        Server { address: *address, name, ca_file, token, pid: *pid, stores: true }
    }

    /// An error behind which may be that its process has ended.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match self.pid {
            Some(pid) if Usage::of(pid).is_err() => {
                anyhow::anyhow!("the server (process {pid}) ended")
            }
            _ => error,
        }
    }

    /// Whether the process that is to be watched is the server: one that has a socket at its port.
    ///
    /// # Errors
    /// When there is no such process, when it is another's and cannot be looked at, or when it does not
    /// listen there.
    pub fn check_process(&self) -> anyhow::Result<()> {
        let Some(pid) = self.pid else { return Ok(()) };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .with_context(|| format!("--server-pid {pid}: there is no such process"))?;
        let name = name.trim();
        let looked =
            || format!("--server-pid {pid}: the files of `{name}` cannot be looked at; run as its user");
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).with_context(looked)?;
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let sockets: HashSet<String> = links.filter_map(|link| inode(&link.to_string_lossy())).collect();
        let port = self.address.port();
        // As the process sees its own network.
        let tables = ["udp", "udp6", "tcp", "tcp6"]
            .map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
        let listens =
            tables.iter().flat_map(|table| inodes_at(table, port)).any(|inode| sockets.contains(inode));
        anyhow::ensure!(
            listens,
            "--server-pid {pid} is `{name}`, which has no socket at port {port}: it is not the server at {}; give that one's \
             process, or leave --server-pid out",
            self.address
        );
        Ok(())
    }
}

/// The number of a socket, of a link as in `socket:[1234]`.
fn inode(link: &str) -> Option<String> {
    Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
}

/// Numbers of the sockets that have a port of their own, in a table as in /proc/net/udp.
fn inodes_at(table: &str, port: u16) -> impl Iterator<Item = &str> {
    let port = format!("{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.split_once(':')?;
        if local == port { fields.get(9).copied() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: SocketAddr, pid: u32) -> Running {
        let (name, token) = (String::new(), String::new());
        Running { address, name, ca_file: PathBuf::new(), token, pid: Some(pid) }
    }

    #[test]
    fn a_process_is_the_server_when_it_has_its_socket() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let here = std::process::id();
        for address in [udp.local_addr().expect("an address"), tcp.local_addr().expect("an address")] {
            at(address, here).check_process().expect("it listens there");
        }
        let gone = udp.local_addr().expect("an address");
        drop(udp);
        let error = at(gone, here).check_process().expect_err("nobody listens there").to_string();
        assert!(error.contains("has no socket at port") && error.contains(&gone.to_string()), "{error}");
        let error = at(gone, u32::MAX / 2).check_process().expect_err("no process").to_string();
        assert!(error.contains("there is no such process"), "{error}");
    }
}
