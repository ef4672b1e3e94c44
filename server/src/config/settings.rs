//! The table of settings.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Config, LogFormat};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the TOML file: `section.name`.
    pub key: &'static str,
    /// What it is, with its unit.
    pub doc: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
    get: fn(&Config) -> String,
}

impl Setting {
    /// The setting with this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
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

fn at_least<T: FromStr + PartialOrd + Display>(slot: &mut T, text: &str, least: T) -> Result<(), String> {
    let value: T = text.parse().map_err(|_| "expected a whole number".to_owned())?;
    if value < least {
        return Err(format!("expected at least {least}"));
    }
    *slot = value;
    Ok(())
}

fn path(slot: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
    *slot = (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(())
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
        doc: "UDP address for QUIC",
        set: |c, t| parse(&mut c.listen, t, "an address with a port, as in 127.0.0.1:4433"),
        get: |c| quoted(c.listen),
    },
    Setting {
        key: "server.data_dir",
        doc: "folder of the store, and in development of keys and certificates",
        set: |c, t| parse(&mut c.data_dir, t, "a path"),
        get: |c| quoted(c.data_dir.display()),
    },
    Setting {
        key: "server.development",
        doc: "make certificate, signing key and tokens by itself; loopback only. True when no configuration file is given",
        set: |c, t| parse(&mut c.development, t, "true or false"),
        get: |c| c.development.to_string(),
    },
    Setting {
        key: "server.drain_retry_after_ms",
        doc: "what clients are told to wait when the server drains, in milliseconds",
        set: |c, t| parse(&mut c.drain_retry_after_ms, t, "a whole number"),
        get: |c| c.drain_retry_after_ms.to_string(),
    },
    Setting {
        key: "tls.certificate_file",
        doc: "PEM file of the certificate chain, leaf first",
        set: |c, t| path(&mut c.certificate_file, t),
        get: |c| optional(c.certificate_file.as_ref()),
    },
    Setting {
        key: "tls.private_key_file",
        doc: "PEM file of the certificate's private key",
        set: |c, t| path(&mut c.private_key_file, t),
        get: |c| optional(c.private_key_file.as_ref()),
    },
    Setting {
        key: "auth.audience",
        doc: "the `aud` that tokens must have",
        set: |c, t| parse(&mut c.audience, t, "a text"),
        get: |c| quoted(&c.audience),
    },
    Setting {
        key: "auth.token_keys",
        doc: "keys that tokens may be signed with: [\"EdDSA:FILE\", \"KEY-ID=ES256:FILE\", \"HS256:FILE\"]",
        set: |c, t| {
            let specs = t.split(',').map(str::trim).filter(|spec| !spec.is_empty());
            c.token_keys = specs.map(str::parse).collect::<Result<_, String>>()?;
            Ok(())
        },
        get: |c| format!("[{}]", c.token_keys.iter().map(quoted).collect::<Vec<_>>().join(", ")),
    },
    Setting {
        key: "store.log_segment_bytes",
        doc: "size of a log segment, in bytes; the log keeps two or three",
        set: |c, t| at_least(&mut c.log_segment_bytes, t, 4 * 1024 * 1024),
        get: |c| c.log_segment_bytes.to_string(),
    },
    Setting {
        key: "store.view_cache_bytes",
        doc: "memory for the view's block cache, in bytes",
        set: |c, t| at_least(&mut c.view_cache_bytes, t, 1024 * 1024),
        get: |c| c.view_cache_bytes.to_string(),
    },
    Setting {
        key: "limits.connections_max",
        doc: "connections at once; more are refused",
        set: |c, t| at_least(&mut c.limits.connections_max, t, 1),
        get: |c| c.limits.connections_max.to_string(),
    },
    Setting {
        key: "limits.handshakes_max",
        doc: "handshakes at once; more are refused",
        set: |c, t| at_least(&mut c.limits.handshakes_max, t, 1),
        get: |c| c.limits.handshakes_max.to_string(),
    },
    Setting {
        key: "limits.handshakes_per_address_max",
        doc: "handshakes at once of one address (IPv6: of one /64 network); more are ignored, and their clients try again",
        set: |c, t| at_least(&mut c.limits.handshakes_per_address_max, t, 1),
        get: |c| c.limits.handshakes_per_address_max.to_string(),
    },
    Setting {
        key: "limits.retry_above_handshakes",
        doc: "handshakes at once from which on an address must be validated first (QUIC Retry)",
        set: |c, t| parse(&mut c.limits.retry_above_handshakes, t, "a whole number"),
        get: |c| c.limits.retry_above_handshakes.to_string(),
    },
    Setting {
        key: "limits.handshake_timeout_ms",
        doc: "time for a handshake, in milliseconds",
        set: |c, t| at_least(&mut c.limits.handshake_timeout_ms, t, 1),
        get: |c| c.limits.handshake_timeout_ms.to_string(),
    },
    Setting {
        key: "limits.idle_timeout_ms",
        doc: "silence after which a connection is dropped, in milliseconds",
        set: |c, t| at_least(&mut c.limits.idle_timeout_ms, t, 1_000),
        get: |c| c.limits.idle_timeout_ms.to_string(),
    },
    Setting {
        key: "limits.keep_alive_interval_ms",
        doc: "silence after which the server sends a PING, in milliseconds; 0: never, clients keep alive",
        set: |c, t| parse(&mut c.limits.keep_alive_interval_ms, t, "a whole number"),
        get: |c| c.limits.keep_alive_interval_ms.to_string(),
    },
    Setting {
        key: "limits.open_conversations_max",
        doc: "conversations that one connection may have open",
        set: |c, t| at_least(&mut c.limits.open_conversations_max, t, 1),
        get: |c| c.limits.open_conversations_max.to_string(),
    },
    Setting {
        key: "limits.segmentation_offload",
        doc: "send several packets with one system call: faster for few fast readers, 10 KB more for each connection",
        set: |c, t| parse(&mut c.limits.segmentation_offload, t, "true or false"),
        get: |c| c.limits.segmentation_offload.to_string(),
    },
    Setting {
        key: "log.filter",
        doc: "which log lines are written, as in info,quoth_server=debug",
        set: |c, t| parse(&mut c.log_filter, t, "a filter"),
        get: |c| quoted(&c.log_filter),
    },
    Setting {
        key: "log.format",
        doc: "auto (text on a terminal, JSON otherwise), text or json",
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
