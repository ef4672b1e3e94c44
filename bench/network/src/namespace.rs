//! Network namespaces and their TUN devices.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::error::NetworkError;

/// The TUN device of each namespace.
pub(crate) const DEVICE: &str = "quoth";

/// How many packets a device holds for the relay. Many, so that none is dropped when the relay gets no turn
/// for a while; those that are, are counted.
const DEVICE_QUEUE_PACKETS: u32 = 4_096;

/// A network namespace, which is there as long as a clone of this or a process within. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// A new namespace that has loopback and a TUN device with this address, and the device's packets.
    pub(crate) fn with_device(
        address: Ipv4Addr,
        prefix_bits: u8,
        mtu_bytes: u16,
    ) -> Result<(Self, SyncDevice), NetworkError> {
        // A thread of its own goes into the namespace, and ends there.
        let made = std::thread::spawn(move || {
            let namespace = Self::new().map_err(NetworkError::set_up("a network namespace"))?;
            let device = DeviceBuilder::new().name(DEVICE).enable(false).build_sync();
            let device = device.map_err(NetworkError::set_up("a TUN device"))?;
            device.set_nonblocking(true).map_err(NetworkError::set_up("a TUN device"))?;
            // Without addresses of IPv6 the kernel sends nothing by itself.
            ip(&format!(
                "link set dev lo up\n\
                 link set dev {DEVICE} addrgenmode none\n\
                 link set dev {DEVICE} mtu {mtu_bytes} txqueuelen {DEVICE_QUEUE_PACKETS}\n\
                 address add {address}/{prefix_bits} dev {DEVICE}\n\
                 link set dev {DEVICE} up\n"
            ))?;
            Ok((namespace, device))
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A new namespace that has loopback and nothing else.
    ///
    /// # Errors
    /// What it takes is not there, root's rights in particular.
    pub fn with_loopback() -> Result<Self, NetworkError> {
        let made = std::thread::spawn(|| {
            let namespace = Self::new().map_err(NetworkError::set_up("a network namespace"))?;
            ip("link set dev lo up\n")?;
            Ok(namespace)
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread into a new namespace.
    fn new() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(Self { file: Arc::new(File::open("/proc/thread-self/ns/net")?) })
    }

    /// A file that stands for it, as `nsenter --net=` takes it; there as long as this process keeps the
    /// namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Moves the calling thread into it, and no other: sockets that the thread makes from now on are inside,
    /// and so are the threads and processes that it starts. A runtime with threads of its own does this on
    /// each thread's start.
    ///
    /// # Errors
    /// When the process has lost the right to.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&*self.file, CloneFlags::CLONE_NEWNET)?)
    }

    /// An unmodified program inside. Its process is the program's own: what it is sent and how it ends is the
    /// program's. To be started while the namespace is there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }
}

/// Whether what a network needs is there.
pub(crate) fn check_tools() -> Result<(), NetworkError> {
    if !Path::new("/dev/net/tun").exists() {
        return Err(NetworkError::NoTun);
    }
    for (program, package, version) in [("ip", "iproute2", "-V"), ("nsenter", "util-linux", "--version")] {
        Command::new(program)
            .arg(version)
            .stdout(Stdio::null())
            .status()
            .map_err(|_| NetworkError::NoProgram { program, package })?;
    }
    Ok(())
}

/// Runs lines of `ip` in the namespace of the calling thread.
fn ip(lines: &str) -> Result<(), NetworkError> {
    let set_up = NetworkError::set_up("`ip`");
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(&set_up)?;
    let written = ip.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(lines.as_bytes()));
    let ended = ip.wait_with_output().map_err(&set_up)?;
    if !ended.status.success() {
        let message = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        return Err(NetworkError::SetUp { step: "`ip`", message });
    }
    written.map_err(set_up)
}
