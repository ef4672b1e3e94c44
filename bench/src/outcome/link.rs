//! What lies between a system and its clients.

use serde::{Deserialize, Serialize};

/// What a system speaks with its clients, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// As in `QUIC`, `WebSocket over TCP`.
    pub protocol: String,
    /// Whether it is encrypted. QUIC always is.
    pub tls: bool,
    /// The system's own congestion control, in small letters as in `bbr`; `None` where it is not known.
    pub congestion_control: Option<String>,
}

impl Link {
    /// In words, as in `QUIC with TLS, BBR`.
    #[must_use]
    pub fn told(&self) -> String {
        let tls = if self.tls { "with TLS" } else { "without TLS" };
        format!("{} {tls}, {}", self.protocol, self.control())
    }

    /// The congestion control in words.
    #[must_use]
    pub fn control(&self) -> String {
        let told = self.congestion_control.as_ref().map(|name| name.to_ascii_uppercase());
        told.unwrap_or_else(|| "congestion control unknown".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Link;

    #[test]
    fn it_is_told_whether_it_is_encrypted_and_what_is_not_known() {
        let link = |protocol: &str, tls, control: Option<&str>| {
            Link { protocol: protocol.to_owned(), tls, congestion_control: control.map(str::to_owned) }.told()
        };
        assert_eq!(link("QUIC", true, Some("bbr")), "QUIC with TLS, BBR");
        assert_eq!(
            link("NATS over TCP", false, None),
            "NATS over TCP without TLS, congestion control unknown"
        );
    }
}
