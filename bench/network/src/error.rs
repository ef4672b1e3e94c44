//! What keeps a network from running, with the mend.

/// Why a network does not start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The process may not make namespaces or devices.
    #[error("a network needs root for namespaces and TUN devices: run it with sudo")]
    NotRoot,
    /// The kernel has no TUN devices, or the container hides them.
    #[error(
        "no /dev/net/tun: load it with `modprobe tun`, or give it to the container with `--device /dev/net/tun`"
    )]
    NoTun,
    /// A program that is needed is not there.
    #[error("no program `{program}`: apt install {package}")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A step of setting up failed.
    #[error("{step}: {message}")]
    SetUp {
        /// What was tried.
        step: &'static str,
        /// What the system says.
        message: String,
    },
    /// The relay has ended, and with it the network.
    #[error("the relay has ended: {0}")]
    Relay(String),
}

impl NetworkError {
    /// What a step of setting up says, where being root is what most often lacks.
    pub(crate) fn set_up(step: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::NotRoot,
            _ => Self::SetUp { step, message: error.to_string() },
        }
    }
}
