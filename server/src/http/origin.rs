//! Which pages may use the server: rules over `Origin` and `Host`, which browsers send and scripts cannot
//! forge.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::Uri;

/// Where a page comes from, in the form that browsers send: scheme, host, and the port unless it is the
/// scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(String);

/// Schemes that the server's own pages may have.
pub(super) type Schemes = &'static [&'static str];

/// Those of pages that come over TLS, without it, and without it from a proxy that may have it.
pub(super) const WITH_TLS: Schemes = &["https"];
pub(super) const WITHOUT_TLS: Schemes = &["http"];
pub(super) const BEHIND_PROXY: Schemes = &["https", "http"];

impl FromStr for WebOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected an origin, as in https://chat.example, in place of {text:?}");
        let uri: Uri = text.parse().map_err(|_| expected())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(expected());
        };
        // A path is an empty one when there is none.
        let is_bare = text.len() == scheme.len() + "://".len() + authority.as_str().len();
        if !is_bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(expected());
        }
        let default_port = if scheme == "https" { 443 } else { 80 };
        let host = authority.host().to_ascii_lowercase();
        Ok(Self(match authority.port_u16() {
            Some(port) if port != default_port => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }))
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a page with this `Origin` may use the server that is reached by this `Host`: one of the server's
/// own, or one that is listed. `Err` has the text for who configures the server.
pub(super) fn check(
    origin: Option<&str>,
    host: Option<&str>,
    schemes: Schemes,
    allowed: &[WebOrigin],
) -> Result<(), String> {
    // No browser, or a page that is of no other origin.
    let Some(origin) = origin else { return Ok(()) };
    let own =
        host.into_iter().flat_map(|host| schemes.iter().map(move |scheme| format!("{scheme}://{host}")));
    let mut own = own.filter_map(|own| own.parse::<WebOrigin>().ok());
    if let Ok(origin) = origin.parse::<WebOrigin>()
        && (allowed.contains(&origin) || own.any(|own| own == origin))
    {
        return Ok(());
    }
    Err(format!("pages of {origin:?} may not connect: list it in server.allowed_origins if they should\n"))
}

/// Whether a `Host` names this machine by a name that no foreign name server can have made up.
pub(super) fn is_loopback(host: &str) -> bool {
    let Ok(uri) = format!("http://{host}").parse::<Uri>() else { return false };
    let Some(name) = uri.host() else { return false };
    let address: Result<IpAddr, _> = name.trim_matches(['[', ']']).parse();
    address.map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{BEHIND_PROXY, WITH_TLS, WITHOUT_TLS, WebOrigin, check, is_loopback};

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (text, same) in [
            ("https://Chat.Example", "https://chat.example"),
            ("https://chat.example:443", "https://chat.example"),
            ("http://127.0.0.1:4433", "http://127.0.0.1:4433"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<WebOrigin>().unwrap().to_string(), same);
        }
        for text in [
            "",
            "*",
            "null",
            "chat.example",
            "https://",
            "https://chat.example/",
            "https://chat.example/path",
            "https://user@chat.example",
            "ws://chat.example",
            "file:///page.html",
        ] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn pages_of_the_server_itself_and_those_that_are_listed_may_connect() {
        let listed = ["https://app.example".parse().unwrap()];
        let may = |origin, host, schemes| check(origin, host, schemes, &listed).is_ok();
        assert!(may(None, Some("chat.example"), WITH_TLS));
        assert!(may(Some("https://chat.example"), Some("chat.example"), WITH_TLS));
        assert!(may(Some("https://chat.example"), Some("Chat.Example:443"), WITH_TLS));
        assert!(may(Some("https://chat.example:4433"), Some("chat.example:4433"), WITH_TLS));
        assert!(may(Some("http://127.0.0.1:4433"), Some("127.0.0.1:4433"), WITHOUT_TLS));
        assert!(may(Some("https://app.example"), Some("chat.example:4433"), WITH_TLS));
        for origin in [
            "https://evil.example",
            "http://chat.example",
            "https://chat.example:4434",
            "null",
            "https://app.example.evil.example",
        ] {
            assert!(!may(Some(origin), Some("chat.example"), WITH_TLS), "{origin}");
        }
        assert!(!may(Some("https://chat.example"), None, WITH_TLS));
        assert!(may(Some("https://chat.example"), Some("chat.example"), BEHIND_PROXY));
        assert!(!may(Some("https://evil.example"), Some("chat.example"), BEHIND_PROXY));
        let text = check(Some("https://evil.example"), Some("chat.example"), WITH_TLS, &[]).unwrap_err();
        assert!(text.contains("server.allowed_origins"));
    }

    #[test]
    fn loopback_has_few_names() {
        for host in ["localhost", "LOCALHOST:4433", "127.0.0.1", "127.1.2.3:80", "[::1]:4433"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
