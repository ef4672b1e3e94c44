//! What a network is like, as TOML.
//!
//! ```
//! let profile = quoth_network::Profile::parse(
//!     "
//!     [both]        # what both directions share
//!     delay_ms = 10
//!     [up]          # client to server
//!     rate_kbit_s = 10_000
//!     [down]        # server to client
//!     rate_kbit_s = 50_000
//!     ",
//! )?;
//! assert_eq!((profile.up.delay_ms, profile.down.rate_kbit_s), (10.0, Some(50_000.0)));
//! # Ok::<(), quoth_network::ProfileError>(())
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The profiles that come with the crate, by name and text, from the best network to the worst.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("lan", include_str!("../profiles/lan.toml")),
    ("home", include_str!("../profiles/home.toml")),
    ("mobile", include_str!("../profiles/mobile.toml")),
    ("bad", include_str!("../profiles/bad.toml")),
];

const SECTIONS: &[&str] = &["both", "up", "down"];

const KEYS: &[&str] = &[
    "delay_ms",
    "jitter_ms",
    "loss_percent",
    "loss_burst_packets",
    "duplicate_percent",
    "reorder_percent",
    "reorder_ms",
    "rate_kbit_s",
    "queue_ms",
    "mtu_bytes",
];

/// A network: what each direction does to packets.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Profile {
    /// Client to server.
    pub up: Conditions,
    /// Server to client.
    pub down: Conditions,
}

/// What one direction does to packets. By default it carries them at once and whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// How long a packet is on its way when it waits for no other, without the jitter. Default 0.
    pub delay_ms: f64,
    /// The standard deviation of the delay, which is normally distributed, as the sum of many small waits is.
    /// It is cut at three times this and at a delay of 0. It wanders, with a memory of 100 ms, since queues
    /// on the way change more slowly than packets come. Independent values would make the delay of dense
    /// traffic a running maximum, because packets keep their order. Default 0.
    pub jitter_ms: f64,
    /// How many of a hundred packets are lost. Default 0.
    pub loss_percent: f64,
    /// How many packets a loss takes in the mean (Gilbert-Elliott: a bad state loses all, a good state none);
    /// 1 stands for losses that know nothing of each other. Default 1.
    pub loss_burst_packets: f64,
    /// How many of a hundred packets come twice. Default 0.
    pub duplicate_percent: f64,
    /// How many of a hundred packets are held back, so that later ones come before them. No others change
    /// their order. Default 0.
    pub reorder_percent: f64,
    /// For how long those packets are held back. Default 10.
    pub reorder_ms: f64,
    /// How fast packets go onto the line, in 1000 bits per second of whole IP packets. None, the default, is
    /// without limit.
    pub rate_kbit_s: Option<f64>,
    /// How long a packet may wait for those before it to go onto the line; one that would wait longer is
    /// dropped. Default 100.
    pub queue_ms: f64,
    /// The largest IP packet. The sending side's interface has it when the network starts, so programs know
    /// it; when a change of the profile makes it smaller, larger packets vanish as in a path that tells
    /// nothing. Default 1500.
    pub mtu_bytes: u16,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay_ms: 0.0,
            jitter_ms: 0.0,
            loss_percent: 0.0,
            loss_burst_packets: 1.0,
            duplicate_percent: 0.0,
            reorder_percent: 0.0,
            reorder_ms: 10.0,
            rate_kbit_s: None,
            queue_ms: 100.0,
            mtu_bytes: 1_500,
        }
    }
}

/// Why a profile cannot be used, with the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("{} cannot be read; a network is a TOML file or one of {}", path.display(), names())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is no TOML.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A section or key that does not exist.
    #[error("{0}")]
    Unknown(String),
    /// A value that is of the wrong type or out of range.
    #[error("[{section}] {message}")]
    Value {
        /// `up` or `down`, with what it has of `both`.
        section: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl Profile {
    /// A profile of [`BUILT_IN`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(text).expect("a test parses each of them"))
    }

    /// A built-in profile by its name, or else the file of that path.
    ///
    /// # Errors
    /// When it is neither, or the file is no profile.
    pub fn open(name_or_path: &str) -> Result<Self, ProfileError> {
        if let Some(profile) = Self::named(name_or_path) {
            return Ok(profile);
        }
        let path = Path::new(name_or_path);
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProfileError::File { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// A profile from its text.
    ///
    /// # Errors
    /// When it is no TOML, has an unknown key, or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let sections: Table = text.parse()?;
        for (name, section) in &sections {
            let Value::Table(section) = section else {
                return Err(ProfileError::Unknown(format!(
                    "{name} is outside of a section; the sections are [both], [up] and [down]"
                )));
            };
            known("section", name, SECTIONS)?;
            for (key, value) in section {
                known(&format!("key in [{name}]"), key, KEYS)?;
                if !value.is_integer() && !value.is_float() {
                    return Err(ProfileError::Unknown(format!(
                        "[{name}] {key} is a {}: give a number",
                        value.type_str()
                    )));
                }
            }
        }
        Ok(Self { up: conditions(&sections, "up")?, down: conditions(&sections, "down")? })
    }
}

impl Conditions {
    /// What makes no sense, with what would.
    ///
    /// # Errors
    /// When something does not.
    pub fn check(&self) -> Result<(), String> {
        for (key, ms) in [
            ("delay_ms", self.delay_ms),
            ("jitter_ms", self.jitter_ms),
            ("reorder_ms", self.reorder_ms),
            ("queue_ms", self.queue_ms),
        ] {
            if !(0.0..=60_000.0).contains(&ms) {
                return Err(format!("{key} is {ms}: give 0 to 60000"));
            }
        }
        for (key, percent) in [
            ("loss_percent", self.loss_percent),
            ("duplicate_percent", self.duplicate_percent),
            ("reorder_percent", self.reorder_percent),
        ] {
            if !(0.0..=100.0).contains(&percent) {
                return Err(format!("{key} is {percent}: give 0 to 100"));
            }
        }
        if !(1.0..=1e6).contains(&self.loss_burst_packets) {
            return Err(format!("loss_burst_packets is {}: give 1 to 1000000", self.loss_burst_packets));
        }
        let loss = self.loss_percent / 100.0;
        // Between two bursts is at least one packet.
        if self.loss_burst_packets > 1.0 && loss * (self.loss_burst_packets + 1.0) > self.loss_burst_packets {
            let most = 100.0 * self.loss_burst_packets / (self.loss_burst_packets + 1.0);
            return Err(format!(
                "loss_percent is {}: bursts of {} packets are at most {most:.1} % of all",
                self.loss_percent, self.loss_burst_packets
            ));
        }
        if self.rate_kbit_s.is_some_and(|rate| !(1.0..=1e8).contains(&rate)) {
            return Err("rate_kbit_s: give 1 to 100000000, or leave it out for no limit".to_owned());
        }
        // Every host must take 576 bytes (RFC 791), and the relay's devices give no more than 9000.
        if !(576..=9_000).contains(&self.mtu_bytes) {
            return Err(format!("mtu_bytes is {}: give 576 to 9000", self.mtu_bytes));
        }
        Ok(())
    }
}

/// One direction: what both share, written over by what it has of its own.
fn conditions(sections: &Table, section: &'static str) -> Result<Conditions, ProfileError> {
    let tables = ["both", section].into_iter().filter_map(|name| sections.get(name)?.as_table());
    let merged: Table = tables.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let value = |message| ProfileError::Value { section, message };
    // All are numbers, and of those one alone is not any number.
    let number = |value: &Value| value.as_float().or_else(|| Some(value.as_integer()? as f64));
    let mtu = merged.get("mtu_bytes").and_then(number).unwrap_or_default();
    let conditions: Conditions =
        merged.try_into().map_err(|_| value(format!("mtu_bytes is {mtu}: give 576 to 9000")))?;
    conditions.check().map_err(value)?;
    Ok(conditions)
}

fn known(what: &str, name: &str, names: &[&str]) -> Result<(), ProfileError> {
    if names.contains(&name) {
        return Ok(());
    }
    let near = names.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let near = near.copied().unwrap_or_default();
    Err(ProfileError::Unknown(format!("no {what} is {name}; the nearest is {near}")))
}

fn names() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, Conditions, KEYS, Profile};

    fn error(text: &str) -> String {
        Profile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_profiles_are_profiles() {
        for (name, text) in BUILT_IN {
            Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(Profile::named("mobile").is_some_and(|mobile| mobile.up.loss_percent > 0.0));
        assert!(Profile::named("nowhere").is_none());
    }

    #[test]
    fn a_direction_has_what_both_share_and_its_own() {
        let text =
            "[both]\ndelay_ms = 5\nloss_percent = 1\n[up]\nloss_percent = 2.5\n[down]\nmtu_bytes = 1280";
        let profile = Profile::parse(text).unwrap();
        let shared = Conditions { delay_ms: 5.0, loss_percent: 1.0, ..Conditions::default() };
        assert_eq!(profile.up, Conditions { loss_percent: 2.5, ..shared.clone() });
        assert_eq!(profile.down, Conditions { mtu_bytes: 1_280, ..shared });
        assert_eq!(Profile::parse("").unwrap(), Profile::default());
    }

    #[test]
    fn every_key_is_known() {
        for key in KEYS {
            let text = format!("[up]\n{key} = \"words\"");
            let error = error(&text);
            assert!(error.contains("[up]") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest() {
        assert_eq!(error("[up]\ndealy_ms = 1"), "no key in [up] is dealy_ms; the nearest is delay_ms");
        assert_eq!(error("[downs]\n"), "no section is downs; the nearest is down");
        assert!(error("delay_ms = 1").contains("[both], [up] and [down]"));
    }

    #[test]
    fn values_that_make_no_sense_are_told_what_does() {
        assert_eq!(error("[both]\nloss_percent = 120"), "[up] loss_percent is 120: give 0 to 100");
        assert_eq!(error("[down]\nmtu_bytes = 100"), "[down] mtu_bytes is 100: give 576 to 9000");
        for text in ["delay_ms = -1", "delay_ms = nan", "rate_kbit_s = 0", "loss_burst_packets = 0.5"] {
            assert!(error(&format!("[both]\n{text}")).contains("give"), "{text}");
        }
        assert_eq!(error("[up]\nloss_percent = \"much\""), "[up] loss_percent is a string: give a number");
        assert_eq!(error("[both]\nmtu_bytes = 1500.5"), "[up] mtu_bytes is 1500.5: give 576 to 9000");
        assert_eq!(error("[down]\nmtu_bytes = 70000"), "[down] mtu_bytes is 70000: give 576 to 9000");
        let bursts = error("[both]\nloss_percent = 90\nloss_burst_packets = 2");
        assert!(bursts.contains("at most 66.7 %"), "{bursts}");
    }

    #[test]
    fn a_file_that_is_not_there_names_the_built_in_ones() {
        let error = Profile::open("mobil").unwrap_err().to_string();
        assert!(error.contains("lan, home, mobile, bad"), "{error}");
    }
}
