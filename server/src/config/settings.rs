//! The table of settings.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use quoth_protocol::DEFAULT_PORT;

use super::{Config, LogFormat, LoginPolicy, ranges};
use crate::session::CongestionControl;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the TOML file: `section.name`.
    pub key: &'static str,
    /// What it is, with its unit.
    pub doc: &'static str,
    /// What values it takes.
    pub kind: Kind,
    set: fn(&mut Config, &str) -> Result<(), String>,
    get: fn(&Config) -> String,
}

/// What values a setting takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// The path of a file or folder, relative to the configuration file that has it.
    Path,
    /// A whole number in this range.
    Number(RangeInclusive<u64>),
    /// True or false.
    Boolean,
    /// An array of keys, each with a path as of [`Kind::Path`].
    Keys,
    /// An array of origins.
    Origins,
}

impl Kind {
    /// What is expected in a configuration file, where other kinds are refused.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a text in quotes".to_owned(),
            Self::Path => "a path in quotes".to_owned(),
            Self::Number(range) => {
                format!("a whole number from {} to {} without quotes", range.start(), range.end())
            }
            Self::Boolean => "true or false without quotes".to_owned(),
            Self::Keys => "an array of texts, as in [\"EdDSA:FILE\"]".to_owned(),
            Self::Origins => "an array of texts, as in [\"https://chat.example\"]".to_owned(),
        }
    }
}

impl Setting {
    /// The setting with this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its section in the TOML file, and its name there.
    #[must_use]
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// For a number: the least and the greatest value that it takes.
    #[must_use]
    pub fn range(&self) -> Option<&RangeInclusive<u64>> {
        match &self.kind {
            Kind::Number(range) => Some(range),
            _ => None,
        }
    }

    /// Its environment variable: `QUOTH_SECTION__NAME`.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("QUOTH_{}", self.key.replace('.', "__").to_ascii_uppercase())
    }

    /// Sets it from text.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        if let Some(range) = self.range()
            && !text.parse().is_ok_and(|value| range.contains(&value))
        {
            return Err(format!("expected a whole number from {} to {}", range.start(), range.end()));
        }
        (self.set)(config, text)
    }

    /// Its value as TOML.
    #[must_use]
    pub fn get(&self, config: &Config) -> String {
        (self.get)(config)
    }
}

fn parse<T: FromStr>(slot: &mut T, text: &str, expected: &str) -> Result<(), String> {
    *slot = text.parse().map_err(|_| format!("expected {expected}"))?;
    Ok(())
}

fn number<T: FromStr>(slot: &mut T, text: &str) -> Result<(), String> {
    parse(slot, text, "a whole number")
}

fn path(slot: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
    *slot = (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(())
}

fn optional_value<T: FromStr<Err = String>>(slot: &mut Option<T>, text: &str) -> Result<(), String> {
    *slot = if text.is_empty() { None } else { Some(text.parse()?) };
    Ok(())
}

/// The elements of a list, as it stands in the environment.
fn list<T: FromStr<Err = String>>(slot: &mut Vec<T>, text: &str) -> Result<(), String> {
    // Flags and environment variables have them with commas between them, or as a configuration file has them.
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let elements = text.split(',').map(|element| element.trim().trim_matches('"'));
    let elements = elements.filter(|element| !element.is_empty());
    *slot = elements.map(str::parse).collect::<Result<_, String>>()?;
    Ok(())
}

fn array(elements: &[impl Display]) -> String {
    format!("[{}]", elements.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn listen(slot: &mut SocketAddr, text: &str) -> Result<(), String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return Err(format!("expected a port as well, as in {}", SocketAddr::new(ip, DEFAULT_PORT)));
    }
    parse(slot, text, "an address with a port, as in 127.0.0.1:4433")
}

fn quoted(text: impl Display) -> String {
    format!("{:?}", text.to_string())
}

fn optional(path: Option<&PathBuf>) -> String {
    quoted(path.map(|path| path.display().to_string()).unwrap_or_default())
}

/// All settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server.listen",
        doc: "address: UDP for QUIC, and TCP at the same port for WebSocket and HTTP",
        kind: Kind::Text,
        set: |c, t| listen(&mut c.listen, t),
        get: |c| quoted(c.listen),
    },
    Setting {
        key: "server.workers",
        doc: "network threads, each with its own socket; more than 1 on Linux only. 0: as many as cores, at most 16; 1 elsewhere",
        kind: Kind::Number(ranges::WORKERS),
        set: |c, t| number(&mut c.workers, t),
        get: |c| c.workers.to_string(),
    },
    Setting {
        key: "server.websocket",
        doc: "listen for TCP as well: WebSocket for browsers and for networks without UDP, and /.well-known/quoth and /healthz",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.websocket, t, "true or false"),
        get: |c| c.websocket.to_string(),
    },
    Setting {
        key: "server.allowed_origins",
        doc: "origins of pages that may connect besides the server's own, as in [\"https://chat.example\"]",
        kind: Kind::Origins,
        set: |c, t| list(&mut c.allowed_origins, t),
        get: |c| array(&c.allowed_origins),
    },
    Setting {
        key: "server.plain_http",
        doc: "serve WebSocket and HTTP without TLS as well, behind a proxy that has it and on a network that nobody else is on",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.plain_http, t, "true or false"),
        get: |c| c.plain_http.to_string(),
    },
    Setting {
        key: "server.demo_page",
        doc: "serve the chat page at / as development mode does; its users sign in with a token that they paste",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.demo_page, t, "true or false"),
        get: |c| c.demo_page.to_string(),
    },
    Setting {
        key: "server.data_dir",
        doc: "folder of the store and of keys, made at the first start",
        kind: Kind::Path,
        set: |c, t| parse(&mut c.data_dir, t, "a path"),
        get: |c| quoted(c.data_dir.display()),
    },
    Setting {
        key: "server.development",
        doc: "make certificate, signing key and tokens by itself; loopback only. True when no configuration file is given",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.development, t, "true or false"),
        get: |c| c.development.to_string(),
    },
    Setting {
        key: "server.drain_retry_after_ms",
        doc: "what clients are told to wait when the server drains, in milliseconds",
        kind: Kind::Number(ranges::DRAIN_RETRY_AFTER_MS),
        set: |c, t| number(&mut c.drain_retry_after_ms, t),
        get: |c| c.drain_retry_after_ms.to_string(),
    },
    Setting {
        key: "server.congestion_control",
        doc: "bbr, which losses alone do not slow down, or cubic, which shares a full line with others more evenly",
        kind: Kind::Text,
        set: |c, t| {
            c.limits.congestion_control = match t {
                "bbr" => CongestionControl::Bbr,
                "cubic" => CongestionControl::Cubic,
                _ => return Err("expected bbr or cubic".to_owned()),
            };
            Ok(())
        },
        get: |c| quoted(format!("{:?}", c.limits.congestion_control).to_ascii_lowercase()),
    },
    Setting {
        key: "tls.certificate_file",
        doc: "PEM file of the certificate chain, leaf first",
        kind: Kind::Path,
        set: |c, t| path(&mut c.certificate_file, t),
        get: |c| optional(c.certificate_file.as_ref()),
    },
    Setting {
        key: "tls.private_key_file",
        doc: "PEM file of the certificate's private key",
        kind: Kind::Path,
        set: |c, t| path(&mut c.private_key_file, t),
        get: |c| optional(c.private_key_file.as_ref()),
    },
    Setting {
        key: "auth.audience",
        doc: "the `aud` that tokens must have",
        kind: Kind::Text,
        set: |c, t| parse(&mut c.audience, t, "a text"),
        get: |c| quoted(&c.audience),
    },
    Setting {
        key: "auth.token_keys",
        doc: "keys that tokens may be signed with: [\"EdDSA:FILE\", \"KEY-ID=ES256:FILE\", \"RS256:FILE\", \"HS256:FILE\"]",
        kind: Kind::Keys,
        set: |c, t| list(&mut c.token_keys, t),
        get: |c| array(&c.token_keys),
    },
    Setting {
        key: "auth.jwks_url",
        doc: "URL of a set of further keys (JWKS): https://…, http://… on loopback, or file:///…",
        kind: Kind::Text,
        set: |c, t| optional_value(&mut c.jwks.url, t),
        get: |c| quoted(c.jwks.url.as_ref().map(ToString::to_string).unwrap_or_default()),
    },
    Setting {
        key: "auth.jwks_ca_file",
        doc: "PEM file of certificate authorities to trust there besides the machine's",
        kind: Kind::Path,
        set: |c, t| path(&mut c.jwks.ca_file, t),
        get: |c| optional(c.jwks.ca_file.as_ref()),
    },
    Setting {
        key: "auth.jwks_refresh_s",
        doc: "how long the set is taken for good, in seconds; a token with an unknown `kid` has it read at once",
        kind: Kind::Number(ranges::JWKS_REFRESH_S),
        set: |c, t| number(&mut c.jwks.refresh_s, t),
        get: |c| c.jwks.refresh_s.to_string(),
    },
    Setting {
        key: "auth.jwks_refresh_min_s",
        doc: "the least time between two looks at the set, whoever asks and after a failed one, in seconds",
        kind: Kind::Number(ranges::JWKS_REFRESH_MIN_S),
        set: |c, t| number(&mut c.jwks.refresh_min_s, t),
        get: |c| c.jwks.refresh_min_s.to_string(),
    },
    Setting {
        key: "auth.jwks_overlap_s",
        doc: "how long a key goes on that is no longer in the set, in seconds; 0: it ends when that is noticed",
        kind: Kind::Number(ranges::JWKS_OVERLAP_S),
        set: |c, t| number(&mut c.jwks.overlap_s, t),
        get: |c| c.jwks.overlap_s.to_string(),
    },
    Setting {
        key: "auth.token_lifetime_max_s",
        doc: "how long a token may live from its `iat`, which it then must have, to its `exp`, in seconds; 0: no limit",
        kind: Kind::Number(ranges::TOKEN_LIFETIME_MAX_S),
        set: |c, t| number(&mut c.token_lifetime_max_s, t),
        get: |c| c.token_lifetime_max_s.to_string(),
    },
    Setting {
        key: "auth.revocations_max",
        doc: "revocations in force at once; a further one is refused, and none is forgotten for it",
        kind: Kind::Number(ranges::REVOCATIONS_MAX),
        set: |c, t| number(&mut c.revocations_max, t),
        get: |c| c.revocations_max.to_string(),
    },
    Setting {
        key: "login.policy",
        doc: "which devices of one user may be signed in together: all, one_per_class (one mobile, desktop, web and other each, by what \
              the client calls its platform), one_device, or newest (login.devices_max of them). Who signs in stays",
        kind: Kind::Text,
        set: |c, t| {
            c.login_policy = match t {
                "all" => LoginPolicy::All,
                "one_per_class" => LoginPolicy::OnePerClass,
                "one_device" => LoginPolicy::OneDevice,
                "newest" => LoginPolicy::Newest,
                _ => return Err("expected all, one_per_class, one_device or newest".to_owned()),
            };
            Ok(())
        },
        get: |c| {
            quoted(match c.login_policy {
                LoginPolicy::All => "all",
                LoginPolicy::OnePerClass => "one_per_class",
                LoginPolicy::OneDevice => "one_device",
                LoginPolicy::Newest => "newest",
            })
        },
    },
    Setting {
        key: "login.devices_max",
        doc: "how many devices of one user may be signed in where login.policy is newest",
        kind: Kind::Number(ranges::LOGIN_DEVICES_MAX),
        set: |c, t| number(&mut c.login_devices_max, t),
        get: |c| c.login_devices_max.to_string(),
    },
    Setting {
        key: "presence.leave_ms",
        doc: "how long a device that has gone is taken for there, in milliseconds, so that a reconnect is not told",
        kind: Kind::Number(ranges::PRESENCE_LEAVE_MS),
        set: |c, t| number(&mut c.presence_leave_ms, t),
        get: |c| c.presence_leave_ms.to_string(),
    },
    Setting {
        key: "store.log_segment_bytes",
        doc: "size of a log segment, in bytes; the log keeps two or three",
        kind: Kind::Number(ranges::LOG_SEGMENT_BYTES),
        set: |c, t| number(&mut c.log_segment_bytes, t),
        get: |c| c.log_segment_bytes.to_string(),
    },
    Setting {
        key: "store.view_cache_bytes",
        doc: "memory for the view's block cache, in bytes",
        kind: Kind::Number(ranges::VIEW_CACHE_BYTES),
        set: |c, t| number(&mut c.view_cache_bytes, t),
        get: |c| c.view_cache_bytes.to_string(),
    },
    Setting {
        key: "limits.connections_max",
        doc: "connections at once; more are refused",
        kind: Kind::Number(ranges::CONNECTIONS_MAX),
        set: |c, t| number(&mut c.limits.connections_max, t),
        get: |c| c.limits.connections_max.to_string(),
    },
    Setting {
        key: "limits.handshakes_max",
        doc: "handshakes at once, and TCP connections that are no WebSocket yet; more are refused",
        kind: Kind::Number(ranges::HANDSHAKES_MAX),
        set: |c, t| number(&mut c.limits.handshakes_max, t),
        get: |c| c.limits.handshakes_max.to_string(),
    },
    Setting {
        key: "limits.handshakes_per_address_max",
        doc: "the same of one address (IPv6: of one /64 network); more are ignored, and their clients try again",
        kind: Kind::Number(ranges::HANDSHAKES_PER_ADDRESS_MAX),
        set: |c, t| number(&mut c.limits.handshakes_per_address_max, t),
        get: |c| c.limits.handshakes_per_address_max.to_string(),
    },
    Setting {
        key: "limits.retry_above_handshakes",
        doc: "handshakes at once from which on an address must be validated first (QUIC Retry)",
        kind: Kind::Number(ranges::RETRY_ABOVE_HANDSHAKES),
        set: |c, t| number(&mut c.limits.retry_above_handshakes, t),
        get: |c| c.limits.retry_above_handshakes.to_string(),
    },
    Setting {
        key: "limits.handshake_timeout_ms",
        doc: "time for a handshake, in milliseconds",
        kind: Kind::Number(ranges::HANDSHAKE_TIMEOUT_MS),
        set: |c, t| number(&mut c.limits.handshake_timeout_ms, t),
        get: |c| c.limits.handshake_timeout_ms.to_string(),
    },
    Setting {
        key: "limits.idle_timeout_ms",
        doc: "silence after which a connection is dropped, in milliseconds; clients send something in each third of it",
        kind: Kind::Number(ranges::IDLE_TIMEOUT_MS),
        set: |c, t| number(&mut c.limits.idle_timeout_ms, t),
        get: |c| c.limits.idle_timeout_ms.to_string(),
    },
    Setting {
        key: "limits.keep_alive_interval_ms",
        doc: "silence after which the server sends a PING, in milliseconds; 0: never, clients keep alive",
        kind: Kind::Number(ranges::KEEP_ALIVE_INTERVAL_MS),
        set: |c, t| number(&mut c.limits.keep_alive_interval_ms, t),
        get: |c| c.limits.keep_alive_interval_ms.to_string(),
    },
    Setting {
        key: "limits.members_max",
        doc: "members that a conversation may have; those who are more already stay",
        kind: Kind::Number(ranges::MEMBERS_MAX),
        set: |c, t| number(&mut c.rules.members_max, t),
        get: |c| c.rules.members_max.to_string(),
    },
    Setting {
        key: "limits.open_conversations_max",
        doc: "conversations that one connection may have open; one whose token has publish_as may always have 224",
        kind: Kind::Number(ranges::OPEN_CONVERSATIONS_MAX),
        set: |c, t| number(&mut c.limits.open_conversations_max, t),
        get: |c| c.limits.open_conversations_max.to_string(),
    },
    Setting {
        key: "limits.segmentation_offload",
        doc: "send several packets with one system call: faster for few fast readers, 10 KB more for each connection",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.limits.segmentation_offload, t, "true or false"),
        get: |c| c.limits.segmentation_offload.to_string(),
    },
    Setting {
        key: "log.filter",
        doc: "which log lines are written, as in info,quoth_server=debug",
        kind: Kind::Text,
        set: |c, t| {
            let filter = tracing_subscriber::EnvFilter::try_new(t);
            filter.map_err(|error| format!("expected a filter, as in info,quoth_server=debug ({error})"))?;
            parse(&mut c.log_filter, t, "a filter")
        },
        get: |c| quoted(&c.log_filter),
    },
    Setting {
        key: "log.format",
        doc: "auto (text in development mode and on a terminal, JSON otherwise), text or json",
        kind: Kind::Text,
        set: |c, t| {
            c.log_format = match t {
                "auto" => LogFormat::Auto,
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("expected auto, text or json".to_owned()),
            };
            Ok(())
        },
        get: |c| quoted(format!("{:?}", c.log_format).to_ascii_lowercase()),
    },
];

#[cfg(test)]
mod tests {
    use super::SETTINGS;
    use crate::config::Config;

    #[test]
    fn every_number_has_a_range_that_holds_its_default_and_is_kept() {
        let numbers =
            SETTINGS.iter().filter(|setting| setting.get(&Config::default()).parse::<u64>().is_ok());
        assert_eq!(numbers.clone().count(), 20);
        for setting in numbers {
            let range = setting.range().cloned().unwrap_or_else(|| panic!("{} has no range", setting.key));
            let mut config = Config::default();
            let default: u64 = setting.get(&config).parse().unwrap();
            assert!(range.contains(&default), "{}: {default}", setting.key);
            let above = range.end().checked_add(1).unwrap();
            for outside in range.start().checked_sub(1).into_iter().chain([above, i64::MAX as u64, u64::MAX])
            {
                let error = setting.set(&mut config, &outside.to_string()).unwrap_err();
                let (least, greatest) = (range.start(), range.end());
                assert_eq!(error, format!("expected a whole number from {least} to {greatest}"));
                assert_eq!(setting.get(&config), default.to_string(), "{}", setting.key);
            }
            for inside in [*range.start(), *range.end()] {
                setting.set(&mut config, &inside.to_string()).unwrap();
                assert_eq!(setting.get(&config), inside.to_string(), "{}", setting.key);
            }
        }
    }
    #[test]
    fn a_list_is_taken_as_it_is_printed_and_with_commas_alone() {
        for key in ["server.allowed_origins", "auth.token_keys"] {
            let setting = super::Setting::find(key).unwrap();
            let elements = if key.starts_with("auth") {
                ["EdDSA:a.pem", "k=HS256:b"]
            } else {
                ["https://a.example", "http://[::1]:80"]
            };
            let mut config = Config::default();
            setting.set(&mut config, &elements.join(",")).unwrap();
            let printed = setting.get(&config);
            assert!(printed.starts_with("[\""), "{printed}");
            let mut again = Config::default();
            setting.set(&mut again, &printed).unwrap();
            assert_eq!(setting.get(&again), printed);
        }
    }
}
