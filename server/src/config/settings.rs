//! The table of settings.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use quoth_protocol::DEFAULT_PORT;

use super::{Config, LogFormat, ranges};
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
    /// An array of networks.
    Networks,
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
            Self::Networks => "an array of texts, as in [\"10.0.0.0/8\"]".to_owned(),
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
        key: "server.trusted_proxies",
        doc: "proxies whose X-Forwarded-For says who a client is, for limits of addresses: [\"10.0.0.2\", \"10.1.0.0/16\"]",
        kind: Kind::Networks,
        set: |c, t| list(&mut c.trusted_proxies, t),
        get: |c| array(&c.trusted_proxies),
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
        doc: "keys that tokens may be signed with: [\"EdDSA:FILE\", \"KEY-ID=ES256:FILE\", \"HS256:FILE\"]",
        kind: Kind::Keys,
        set: |c, t| list(&mut c.token_keys, t),
        get: |c| array(&c.token_keys),
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
        key: "limits.open_conversations_max",
        doc: "conversations that one connection may have open; one whose token has publish_as may always have 224",
        kind: Kind::Number(ranges::OPEN_CONVERSATIONS_MAX),
        set: |c, t| number(&mut c.limits.open_conversations_max, t),
        get: |c| c.limits.open_conversations_max.to_string(),
    },
    Setting {
        key: "limits.connections_per_address_max",
        doc: "connections at once of one address (IPv6: of one /64 network); 0: no limit. Unless set: 1000, in development 0",
        kind: Kind::Number(ranges::CONNECTIONS_OF_ONE_MAX),
        set: |c, t| number(&mut c.limits.connections_per_address_max, t),
        get: |c| c.limits.connections_per_address_max.to_string(),
    },
    Setting {
        key: "limits.connections_per_user_max",
        doc: "connections at once of one user whose token has no publish_as; 0: no limit. Unless set: 100, in development 0",
        kind: Kind::Number(ranges::CONNECTIONS_OF_ONE_MAX),
        set: |c, t| number(&mut c.limits.connections_per_user_max, t),
        get: |c| c.limits.connections_per_user_max.to_string(),
    },
    Setting {
        key: "limits.frames_per_second_max",
        doc: "frames of one connection in a second, three seconds' worth at once; it is read no faster. 0: no limit. Unless set: 2000, in development 0",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.frames_per_second_max, t),
        get: |c| c.limits.frames_per_second_max.to_string(),
    },
    Setting {
        key: "limits.bytes_per_second_max",
        doc: "the same in bytes. Unless set: 4194304, in development 0",
        kind: Kind::Number(ranges::BYTES_PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.bytes_per_second_max, t),
        get: |c| c.limits.bytes_per_second_max.to_string(),
    },
    Setting {
        key: "limits.user_publishes_per_second_max",
        doc: "the same for publishes of one user, over all connections. Unless set: 100, in development 0",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.user_publishes_per_second_max, t),
        get: |c| c.limits.user_publishes_per_second_max.to_string(),
    },
    Setting {
        key: "limits.conversation_publishes_per_second_max",
        doc: "the same for publishes to one conversation. Unless set: 1000, in development 0",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.conversation_publishes_per_second_max, t),
        get: |c| c.limits.conversation_publishes_per_second_max.to_string(),
    },
    Setting {
        key: "limits.streams_per_second_max",
        doc: "streams of one connection in a second; the next ones wait. 0: no limit",
        kind: Kind::Number(ranges::STREAMS_PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.streams_per_second_max, t),
        get: |c| c.limits.streams_per_second_max.to_string(),
    },
    Setting {
        key: "limits.resets_per_second_max",
        doc: "streams that one client resets in a second, three seconds' worth at once; more close it. 0: no limit",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.resets_per_second_max, t),
        get: |c| c.limits.resets_per_second_max.to_string(),
    },
    Setting {
        key: "limits.datagrams_per_second_max",
        doc: "the same for datagrams of one connection",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.datagrams_per_second_max, t),
        get: |c| c.limits.datagrams_per_second_max.to_string(),
    },
    Setting {
        key: "limits.control_frames_per_second_max",
        doc: "the same for pings and pongs of one WebSocket",
        kind: Kind::Number(ranges::PER_SECOND_MAX),
        set: |c, t| number(&mut c.limits.control_frames_per_second_max, t),
        get: |c| c.limits.control_frames_per_second_max.to_string(),
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
        assert_eq!(numbers.clone().count(), 22);
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
        for key in ["server.allowed_origins", "server.trusted_proxies", "auth.token_keys"] {
            let setting = super::Setting::find(key).unwrap();
            let elements = if key.starts_with("auth") {
                ["EdDSA:a.pem", "k=HS256:b"]
            } else if key.ends_with("proxies") {
                ["10.0.0.0/8", "::1/128"]
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
