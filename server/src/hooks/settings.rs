//! What of the configuration is about hooks.

use quoth_protocol::Pattern;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::outbound::Url;

/// What holds when a hook does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// What was asked goes on.
    Allow,
    /// It is refused.
    Deny,
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err("expected allow or deny".to_owned()),
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// Whom to ask; `None` for nobody.
    pub url: Option<Url>,
    /// What holds without an answer.
    pub on_failure: OnFailure,
}

impl HookConfig {
    const OFF: Self = Self { url: None, on_failure: OnFailure::Deny };
}

/// What is configured of hooks and of the stream of events.
#[derive(Debug, Clone)]
pub struct HooksConfig {
    /// Asked before a client is signed in.
    pub connect: HookConfig,
    /// Asked before a user joins a conversation.
    pub join: HookConfig,
    /// Asked before a message is stored.
    pub publish: HookConfig,
    /// Time for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Questions of each hook at once.
    pub requests_max: usize,
    /// File with the secret that bodies are signed with.
    pub secret_file: Option<PathBuf>,
    /// PEM file of a further CA that backends' certificates may be signed by.
    pub ca_file: Option<PathBuf>,
    /// Where events are sent; `None` for nowhere.
    pub events_url: Option<Url>,
    /// Time for a batch of events, in milliseconds.
    pub events_timeout_ms: u64,
    /// Which kinds of events are sent; all when it is empty.
    pub events_kinds: Vec<String>,
    /// Events of which conversations are sent, as patterns; of all but the server's own when it is empty.
    pub events_conversations: Vec<String>,
    /// What of the log is kept for events that were not taken yet, in bytes.
    pub outbox_bytes_max: u64,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            connect: HookConfig::OFF,
            join: HookConfig::OFF,
            publish: HookConfig::OFF,
            timeout_ms: 1_000,
            requests_max: 64,
            secret_file: None,
            ca_file: None,
            events_url: None,
            events_timeout_ms: 10_000,
            events_kinds: Vec::new(),
            events_conversations: Vec::new(),
            outbox_bytes_max: 16 * 1024 * 1024 * 1024,
        }
    }
}

impl HooksConfig {
    fn urls(&self) -> [(&'static str, Option<&Url>); 4] {
        [
            ("hooks.connect", self.connect.url.as_ref()),
            ("hooks.join", self.join.url.as_ref()),
            ("hooks.publish", self.publish.url.as_ref()),
            ("hooks.events_url", self.events_url.as_ref()),
        ]
    }

    /// Whether anything is sent to anybody.
    pub(crate) fn is_on(&self) -> bool {
        self.urls().iter().any(|(_, url)| url.is_some())
    }

    /// The patterns of [`HooksConfig::events_conversations`].
    pub(crate) fn events_patterns(&self) -> Vec<Pattern> {
        self.events_conversations.iter().map(Pattern::new).collect()
    }

    /// What does not fit together.
    pub(crate) fn problems(&self, development: bool, log_segment_bytes: u64) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, url) in self.urls() {
            if matches!(url, Some(Url::File(_))) {
                problems.push(format!("{key} is a file, and a file answers nothing: give a URL, as in https://shop.example/quoth"));
            }
        }
        if self.is_on() && self.secret_file.is_none() && !development {
            problems.push(
                "hooks are set, but hooks.secret_file is not, so a backend could not tell this server from others: give a file with \
                 what `echo \"whsec_$(openssl rand -base64 32)\"` prints"
                    .to_owned(),
            );
        }
        if self.events_url.is_some() && self.outbox_bytes_max < 2 * log_segment_bytes {
            problems.push(format!(
                "hooks.outbox_bytes_max is {}, less than two segments of the log ({log_segment_bytes} bytes each, store.log_segment_bytes): \
                 set it to {} or more",
                self.outbox_bytes_max,
                2 * log_segment_bytes
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::{HookConfig, HooksConfig, OnFailure};

    #[test]
    fn what_is_sent_is_signed_and_kept_for_long_enough() {
        let off = HooksConfig::default();
        assert!(!off.is_on() && off.problems(false, 1).is_empty());
        let url = |text: &str| Some(text.parse().unwrap());
        let publish = HookConfig { url: url("http://127.0.0.1:1/publish"), on_failure: OnFailure::Allow };
        let unsigned = HooksConfig { publish, ..off.clone() };
        assert!(unsigned.problems(false, 1)[0].contains("openssl rand"));
        assert!(unsigned.problems(true, 1).is_empty(), "in development one is made");
        let small = HooksConfig { events_url: url("https://a.example/"), outbox_bytes_max: 1, ..off.clone() };
        assert!(small.problems(true, 64)[0].contains("128 or more"));
        let file = HooksConfig { events_url: url("file:///a"), ..off };
        assert!(file.problems(true, 64)[0].contains("hooks.events_url is a file"));
    }
}
