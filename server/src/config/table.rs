//! The table of settings.

mod retention;
mod store;
mod users;

use super::settings::{
    Kind, Setting, array, list, listen, number, optional, optional_value, parse, path, quoted, texts,
};
use super::{LogFormat, LoginPolicy, ranges};
use crate::outbox::KINDS;
use crate::session::CongestionControl;

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
    users::NAMES_FREELY,
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
    store::LOG_SEGMENT_BYTES,
    store::VIEW_CACHE_BYTES,
    store::RESERVE_BYTES,
    Setting {
        key: "limits.connections_max",
        doc: "connections at once; more are refused",
        kind: Kind::Number(ranges::CONNECTIONS_MAX),
        set: |c, t| number(&mut c.limits.connections_max, t),
        get: |c| c.limits.connections_max.to_string(),
    },
    Setting {
        key: "limits.handshakes_max",
        doc: "handshakes at once, and as many TCP connections that are no WebSocket yet; for one more the network that has most loses its oldest",
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
        key: "limits.edit_within_ms",
        doc: "for how long its sender may edit a message, in milliseconds; 0: for ever",
        kind: Kind::Number(ranges::ALTER_WITHIN_MS),
        set: |c, t| number(&mut c.rules.edit_within_ms, t),
        get: |c| c.rules.edit_within_ms.to_string(),
    },
    Setting {
        key: "limits.revoke_within_ms",
        doc: "for how long its sender may revoke a message, in milliseconds; 0: for ever. Who may delete others' always may",
        kind: Kind::Number(ranges::ALTER_WITHIN_MS),
        set: |c, t| number(&mut c.rules.revoke_within_ms, t),
        get: |c| c.rules.revoke_within_ms.to_string(),
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
    users::USER_REQUESTS_PER_SECOND_MAX,
    users::USER_ADDS_PER_HOUR_MAX,
    users::USER_REMOVALS_PER_HOUR_MAX,
    Setting {
        key: "limits.request_timeout_ms",
        doc: "time for a request of a client, in milliseconds; then it is answered with TIMED_OUT",
        kind: Kind::Number(ranges::REQUEST_TIMEOUT_MS),
        set: |c, t| number(&mut c.limits.request_timeout_ms, t),
        get: |c| c.limits.request_timeout_ms.to_string(),
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
        key: "limits.segmentation_offload_connections_max",
        doc: "connections below which a new one sends several packets with one system call: faster for who catches up, 13 KB more for each; 0: none",
        kind: Kind::Number(ranges::CONNECTIONS_OF_ONE_MAX),
        set: |c, t| number(&mut c.limits.segmentation_offload_connections_max, t),
        get: |c| c.limits.segmentation_offload_connections_max.to_string(),
    },
    Setting {
        key: "api.listen",
        doc: "address of the server API: auto (127.0.0.1:4434 when api.keys is set, beside server.listen in development), off, or ADDRESS:PORT; \
              with TLS, as clients have it, unless that is loopback",
        kind: Kind::Text,
        set: |c, t| {
            c.api.listen = t.parse()?;
            Ok(())
        },
        get: |c| quoted(c.api.listen),
    },
    Setting {
        key: "api.keys",
        doc: "keys of backends: [\"NAME=SCOPE+SCOPE:FILE\"] with the scopes publish, conversations, history, sessions, stats, admin (all)",
        kind: Kind::ApiKeys,
        set: |c, t| list(&mut c.api.keys, t),
        get: |c| array(&c.api.keys),
    },
    Setting {
        key: "api.plain_http",
        doc: "serve the API without TLS on an address that is not loopback, too, on a network that nobody else is on",
        kind: Kind::Boolean,
        set: |c, t| parse(&mut c.api.plain_http, t, "true or false"),
        get: |c| c.api.plain_http.to_string(),
    },
    Setting {
        key: "api.body_bytes_max",
        doc: "a request's body, in bytes; larger ones are refused",
        kind: Kind::Number(ranges::API_BODY_BYTES_MAX),
        set: |c, t| number(&mut c.api.limits.body_bytes_max, t),
        get: |c| c.api.limits.body_bytes_max.to_string(),
    },
    Setting {
        key: "api.request_timeout_ms",
        doc: "time for a request, in milliseconds; then it is answered with 504",
        kind: Kind::Number(ranges::API_REQUEST_TIMEOUT_MS),
        set: |c, t| number(&mut c.api.limits.request_timeout_ms, t),
        get: |c| c.api.limits.request_timeout_ms.to_string(),
    },
    Setting {
        key: "api.requests_max",
        doc: "requests at once; more are answered with 503",
        kind: Kind::Number(ranges::API_REQUESTS_MAX),
        set: |c, t| number(&mut c.api.limits.requests_max, t),
        get: |c| c.api.limits.requests_max.to_string(),
    },
    Setting {
        key: "hooks.connect",
        doc: "URL that is asked before a client is signed in; none when it is empty",
        kind: Kind::Text,
        set: |c, t| optional_value(&mut c.hooks.connect.url, t),
        get: |c| quoted(c.hooks.connect.url.as_ref().map(ToString::to_string).unwrap_or_default()),
    },
    Setting {
        key: "hooks.connect_on_failure",
        doc: "what holds when it does not answer: allow or deny",
        kind: Kind::Text,
        set: |c, t| {
            c.hooks.connect.on_failure = t.parse()?;
            Ok(())
        },
        get: |c| quoted(c.hooks.connect.on_failure),
    },
    Setting {
        key: "hooks.join",
        doc: "URL that is asked before a user joins a conversation; none when it is empty",
        kind: Kind::Text,
        set: |c, t| optional_value(&mut c.hooks.join.url, t),
        get: |c| quoted(c.hooks.join.url.as_ref().map(ToString::to_string).unwrap_or_default()),
    },
    Setting {
        key: "hooks.join_on_failure",
        doc: "what holds when it does not answer: allow or deny",
        kind: Kind::Text,
        set: |c, t| {
            c.hooks.join.on_failure = t.parse()?;
            Ok(())
        },
        get: |c| quoted(c.hooks.join.on_failure),
    },
    Setting {
        key: "hooks.publish",
        doc: "URL that is asked before a client's message is stored, and may change it; none when it is empty",
        kind: Kind::Text,
        set: |c, t| optional_value(&mut c.hooks.publish.url, t),
        get: |c| quoted(c.hooks.publish.url.as_ref().map(ToString::to_string).unwrap_or_default()),
    },
    Setting {
        key: "hooks.publish_on_failure",
        doc: "what holds when it does not answer: allow or deny",
        kind: Kind::Text,
        set: |c, t| {
            c.hooks.publish.on_failure = t.parse()?;
            Ok(())
        },
        get: |c| quoted(c.hooks.publish.on_failure),
    },
    Setting {
        key: "hooks.timeout_ms",
        doc: "time for an answer of these hooks, in milliseconds",
        kind: Kind::Number(ranges::HOOKS_TIMEOUT_MS),
        set: |c, t| number(&mut c.hooks.timeout_ms, t),
        get: |c| c.hooks.timeout_ms.to_string(),
    },
    Setting {
        key: "hooks.requests_max",
        doc: "questions of each hook at once; more wait",
        kind: Kind::Number(ranges::HOOKS_REQUESTS_MAX),
        set: |c, t| number(&mut c.hooks.requests_max, t),
        get: |c| c.hooks.requests_max.to_string(),
    },
    Setting {
        key: "hooks.secret_file",
        doc: "file with the secret that hooks and events are signed with: whsec_ and base64. Made by itself in development",
        kind: Kind::Path,
        set: |c, t| path(&mut c.hooks.secret_file, t),
        get: |c| optional(c.hooks.secret_file.as_ref()),
    },
    Setting {
        key: "hooks.ca_file",
        doc: "PEM file of a CA that backends' certificates may be signed by besides the machine's own ones",
        kind: Kind::Path,
        set: |c, t| path(&mut c.hooks.ca_file, t),
        get: |c| optional(c.hooks.ca_file.as_ref()),
    },
    Setting {
        key: "hooks.events_url",
        doc: "URL that what happens is sent to, in order and at least once; none when it is empty",
        kind: Kind::Text,
        set: |c, t| optional_value(&mut c.hooks.events_url, t),
        get: |c| quoted(c.hooks.events_url.as_ref().map(ToString::to_string).unwrap_or_default()),
    },
    Setting {
        key: "hooks.events_timeout_ms",
        doc: "time for a batch of events to be taken, in milliseconds",
        kind: Kind::Number(ranges::HOOKS_EVENTS_TIMEOUT_MS),
        set: |c, t| number(&mut c.hooks.events_timeout_ms, t),
        get: |c| c.hooks.events_timeout_ms.to_string(),
    },
    Setting {
        key: "hooks.events_kinds",
        doc: "kinds of events that are sent, as in [\"message\", \"member_set\", \"member_gone\", \"online\", \"offline\"]; all when it is empty",
        kind: Kind::Texts("[\"message\", \"online\"]"),
        set: |c, t| {
            let mut kinds: Vec<String> = Vec::new();
            texts(&mut kinds, t);
            if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
                return Err(format!(
                    "expected kinds of events (any of {}) in place of {unknown:?}",
                    KINDS.join(", ")
                ));
            }
            c.hooks.events_kinds = kinds;
            Ok(())
        },
        get: |c| array(&c.hooks.events_kinds),
    },
    Setting {
        key: "hooks.events_conversations",
        doc: "conversations whose events are sent, where * stands for any characters; all when it is empty",
        kind: Kind::Texts("[\"support-*\"]"),
        set: |c, t| {
            texts(&mut c.hooks.events_conversations, t);
            Ok(())
        },
        get: |c| array(&c.hooks.events_conversations),
    },
    Setting {
        key: "hooks.outbox_bytes_max",
        doc: "what of the log is kept for events that nobody has taken, in bytes; beyond it the oldest half is dropped, and a gap is told",
        kind: Kind::Number(ranges::HOOKS_OUTBOX_BYTES_MAX),
        set: |c, t| number(&mut c.hooks.outbox_bytes_max, t),
        get: |c| c.hooks.outbox_bytes_max.to_string(),
    },
    retention::CLASSES,
    retention::INTERVAL_S,
    retention::ERASURE_MAX_S,
    retention::REWRITE_BYTES_PER_S,
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
