//! What of the configuration is about the server API.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::keys::ApiKeySpec;

/// The port of the API beside the default one of clients.
const DEFAULT_PORT: u16 = quoth_protocol::DEFAULT_PORT + 1;

/// Where the API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiListen {
    /// On loopback when there are keys, beside the clients' port in development, and else nowhere.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl FromStr for ApiListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::At).map_err(|_| {
                "expected auto, off, or an address with a port, as in 127.0.0.1:4434".to_owned()
            }),
        }
    }
}

impl fmt::Display for ApiListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// Bounds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// A request's body, in bytes.
    pub body_bytes_max: usize,
    /// Time for a request, in milliseconds.
    pub request_timeout_ms: u64,
    /// Requests at once.
    pub requests_max: usize,
}

/// What is configured of the server API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it is served.
    pub listen: ApiListen,
    /// Who may use it.
    pub keys: Vec<ApiKeySpec>,
    /// Whether it is served without TLS on an address that is not loopback.
    pub plain_http: bool,
    /// Bounds of requests.
    pub limits: ApiLimits,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: ApiListen::Auto,
            keys: Vec::new(),
            plain_http: false,
            limits: ApiLimits {
                body_bytes_max: 8 * 1024 * 1024,
                request_timeout_ms: 10_000,
                requests_max: 256,
            },
        }
    }
}

impl ApiConfig {
    /// Addresses to try in turn; none when it is off. In development the port behind the clients' is as good
    /// as any other.
    pub(crate) fn addresses(&self, development: bool, clients: SocketAddr) -> Vec<SocketAddr> {
        let on_loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        match self.listen {
            ApiListen::Off => Vec::new(),
            ApiListen::At(address) => vec![address],
            ApiListen::Auto if development => {
                let beside = clients.port().checked_add(1).filter(|_| clients.port() != 0);
                beside.into_iter().chain([0]).map(on_loopback).collect()
            }
            ApiListen::Auto if self.keys.is_empty() => Vec::new(),
            ApiListen::Auto => vec![on_loopback(DEFAULT_PORT)],
        }
    }

    /// What does not fit together.
    pub(crate) fn problems(&self, development: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let ApiListen::At(address) = self.listen else {
            if self.listen == ApiListen::Off && !self.keys.is_empty() {
                problems.push("api.keys is set, but api.listen is off: take one of them out".to_owned());
            }
            return problems;
        };
        if development && !address.ip().is_loopback() {
            problems.push(format!(
                "api.listen is {address}, but development mode serves loopback only: set it to 127.0.0.1:{}",
                address.port()
            ));
        }
        if !development && self.keys.is_empty() {
            problems.push(
                "api.listen is set, but api.keys is empty, so nobody could use it: give at least one, as in \
                 [\"shop=publish+conversations:/etc/quoth/shop.key\"]"
                    .to_owned(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiConfig, ApiListen};

    #[test]
    fn it_is_off_without_keys_and_beside_the_clients_in_development() {
        let clients = "127.0.0.1:4433".parse().unwrap();
        let ports = |config: &ApiConfig, development| -> Vec<u16> {
            config.addresses(development, clients).iter().map(std::net::SocketAddr::port).collect()
        };
        let none = ApiConfig::default();
        assert_eq!((ports(&none, false), ports(&none, true)), (vec![], vec![4434, 0]));
        let keys = ApiConfig { keys: vec!["a=admin:f".parse().unwrap()], ..none.clone() };
        assert_eq!(ports(&keys, false), [4434]);
        let off = ApiConfig { listen: ApiListen::Off, ..keys.clone() };
        assert_eq!((ports(&off, false), ports(&off, true)), (vec![], vec![]));
        assert_eq!(off.problems(false).len(), 1);
        let public = ApiConfig { listen: "0.0.0.0:4434".parse().unwrap(), ..none };
        assert!(public.problems(false)[0].contains("api.keys is empty"));
        assert!(public.problems(true)[0].contains("loopback only"));
        assert_eq!(ApiConfig { listen: public.listen, ..keys }.problems(false), Vec::<String>::new());
        for text in ["auto", "off", "127.0.0.1:1", "[::1]:2"] {
            assert_eq!(text.parse::<ApiListen>().unwrap().to_string(), text);
        }
        assert!("4434".parse::<ApiListen>().unwrap_err().contains("127.0.0.1:4434"));
    }
}
