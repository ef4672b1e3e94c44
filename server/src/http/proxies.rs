//! Who a client is that comes through a proxy: for limits of addresses alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Once;

use axum::http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Characters of what is no address that are logged.
const TOLD_CHARS_MAX: usize = 64;

/// A network of addresses: `10.0.0.0/8`, or one address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let shared = |one: u128, other: u128, width: u8| {
            let shift = u32::from(width - self.bits);
            one.checked_shr(shift).unwrap_or_default() == other.checked_shr(shift).unwrap_or_default()
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => shared(one.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => shared(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("expected an address or a network, as in 10.0.0.2 or 10.0.0.0/8, in place of {text:?}")
        };
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| expected()))?;
        if bits > width {
            return Err(expected());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Whether this is a proxy whose word counts.
pub(super) fn is_trusted(peer: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.has(peer))
}

/// The address of the client behind a peer. Each proxy adds the one that it was reached from to the end of
/// `X-Forwarded-For`, so the last one that is no proxy of ours is the client's; whatever stands before it the
/// client may have written itself.
pub(super) fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut client = peer;
    let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
    let values: Vec<&str> = values.collect();
    let named = values.iter().rev().flat_map(|value| value.rsplit(','));
    for name in named {
        if !is_trusted(client, trusted) {
            break;
        }
        // What is no address was added by nobody whose word counts.
        let Some(address) = address(name.trim()) else {
            tell(client, name);
            break;
        };
        client = address;
    }
    client
}

/// What a proxy says: an address, in brackets or not, and perhaps a port, as some gateways write it.
fn address(text: &str) -> Option<IpAddr> {
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// Tells the operator, once: all clients behind such a proxy have one address.
fn tell(proxy: IpAddr, name: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let name: String = name.trim().chars().take(TOLD_CHARS_MAX).collect();
        tracing::warn!(
            %proxy,
            name,
            "a proxy of server.trusted_proxies names no address in X-Forwarded-For, so limits of addresses hold for the proxy: \
             have it add its client's address"
        );
    });
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::{HeaderMap, HeaderValue};

    use super::{Network, client_of};

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let peer: IpAddr = peer.parse().unwrap();
        client_of(peer, &headers, &trusted).to_string()
    }

    #[test]
    fn the_word_of_a_proxy_counts_and_nobody_elses() {
        assert_eq!(client("10.1.2.3", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(client("198.51.100.1", &["203.0.113.5"]), "198.51.100.1", "no proxy of ours");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(
            client("10.1.2.3", &["1.1.1.1, 203.0.113.5"]),
            "203.0.113.5",
            "the first is the client's own word"
        );
        assert_eq!(client("10.1.2.3", &["1.1.1.1, 203.0.113.5, 192.0.2.7"]), "203.0.113.5", "two proxies");
        assert_eq!(client("10.1.2.3", &["1.1.1.1", "203.0.113.5"]), "203.0.113.5", "two headers");
        assert_eq!(client("::ffff:10.1.2.3", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["unknown"]), "fd00::1");
        assert_eq!(client("192.0.2.8", &["1.1.1.1"]), "192.0.2.8");
    }

    #[test]
    fn an_address_may_have_a_port() {
        assert_eq!(client("10.1.2.3", &["203.0.113.5:5432"]), "203.0.113.5");
        assert_eq!(client("10.1.2.3", &["1.1.1.1, [2001:db8::1]:5432"]), "2001:db8::1");
        assert_eq!(client("10.1.2.3", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.1.2.3", &["1.1.1.1:80, 203.0.113.5:80, 10.9.9.9:80"]), "203.0.113.5");
        for no_address in ["203.0.113.5:port", "203.0.113.5:99999", "[203.0.113.5]", "host:80", ""] {
            assert_eq!(client("10.1.2.3", &[no_address]), "10.1.2.3", "{no_address}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        let read = |text: &str| text.parse::<Network>().map(|network| network.to_string());
        assert_eq!(read("10.0.0.0/8").unwrap(), "10.0.0.0/8");
        assert_eq!(read("10.0.0.1").unwrap(), "10.0.0.1/32");
        assert_eq!(read("0.0.0.0/0").unwrap(), "0.0.0.0/0");
        assert_eq!(read("::1").unwrap(), "::1/128");
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0/8"] {
            assert!(read(wrong).unwrap_err().contains("10.0.0.0/8"), "{wrong}");
        }
    }
}
