//! Where the server may send requests.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::Uri;

/// Where something is asked: `https://…`, `http://…` on loopback, or `file:///…`, which is read in place of a
/// request.
///
/// Over plain HTTP anybody on the way could answer, so it stays within the machine. User names and passwords
/// in a URL are refused, since URLs stand in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// A request over HTTP.
    Http(Uri),
    /// A file on this machine, by its absolute path.
    File(PathBuf),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file://") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::File(path))
            } else {
                Err(format!(
                    "expected an absolute path behind file://, as in file:///etc/quoth/jwks.json, in place of {text:?}"
                ))
            };
        }
        let expected =
            || format!("expected a URL, as in https://login.example/keys.json, in place of {text:?}");
        let uri: Uri = text.parse().map_err(|_| expected())?;
        let authority = uri.authority().ok_or_else(expected)?;
        if authority.as_str().contains('@') {
            return Err("expected a URL without a user name and password: URLs stand in logs".to_owned());
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self::Http(uri)),
            Some("http") if is_loopback(authority.host()) => Ok(Self::Http(uri)),
            Some("http") => Err(format!(
                "expected https:// in place of {text:?}: http:// is for 127.0.0.1, [::1] and localhost only, since anybody on \
                 the way could answer"
            )),
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(uri) => write!(f, "{uri}"),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse().map(|ip: std::net::IpAddr| ip.is_loopback());
    ip.unwrap_or_else(|_| host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn what_leaves_the_machine_is_encrypted() {
        for good in [
            "https://login.example/keys.json",
            "http://127.0.0.1:8080/keys",
            "http://[::1]:8080/",
            "http://localhost/keys",
            "file:///etc/quoth/jwks.json",
        ] {
            assert_eq!(good.parse::<Url>().unwrap().to_string(), good);
        }
        for (bad, reason) in [
            ("http://login.example/keys.json", "https://"),
            ("http://127.0.0.1.example/", "https://"),
            ("https://user:secret@login.example/", "without a user name"),
            ("file://keys.json", "absolute path"),
            ("ftp://login.example/", "expected a URL"),
            ("login.example", "expected a URL"),
            ("", "expected a URL"),
        ] {
            let error = bad.parse::<Url>().unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
    }
}
