//! What a setting is, and how its value is read and shown.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use quoth_core::retention::{CLASSES_MAX, ClassError, RetentionClass, check_names};
use quoth_protocol::DEFAULT_PORT;

use super::{Config, SETTINGS};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the TOML file: `section.name`.
    pub key: &'static str,
    /// What it is, with its unit.
    pub doc: &'static str,
    /// What values it takes.
    pub kind: Kind,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    pub(super) get: fn(&Config) -> String,
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
    /// An array of texts, as in this one.
    Texts(&'static str),
    /// An array of keys of the server API, each with a path as of [`Kind::Path`].
    ApiKeys,
    /// An array of networks.
    Networks,
    /// An array of retention classes.
    Classes,
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
            Self::Texts(example) => format!("an array of texts, as in {example}"),
            Self::ApiKeys => "an array of texts, as in [\"shop=publish+conversations:FILE\"]".to_owned(),
            Self::Classes => "an array of tables, as in [[retention.classes]] with name = \"short\", conversations = [\"team-*\"], \
                              age_s = 604800, count = 10000 and bytes = 1000000"
                .to_owned(),
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

    /// Whether it takes several values.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        !matches!(self.kind, Kind::Text | Kind::Path | Kind::Number(_) | Kind::Boolean)
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

pub(super) fn parse<T: FromStr>(slot: &mut T, text: &str, expected: &str) -> Result<(), String> {
    *slot = text.parse().map_err(|_| format!("expected {expected}"))?;
    Ok(())
}

pub(super) fn number<T: FromStr>(slot: &mut T, text: &str) -> Result<(), String> {
    parse(slot, text, "a whole number")
}

pub(super) fn path(slot: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
    *slot = (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(())
}

pub(super) fn optional_value<T: FromStr<Err = String>>(
    slot: &mut Option<T>,
    text: &str,
) -> Result<(), String> {
    *slot = if text.is_empty() { None } else { Some(text.parse()?) };
    Ok(())
}

/// The elements of a list, as it stands in the environment.
pub(super) fn list<T: FromStr<Err = String>>(slot: &mut Vec<T>, text: &str) -> Result<(), String> {
    // Flags and environment variables have them with commas between them, or as a configuration file has
    // them.
    *slot = elements(text).map(str::parse).collect::<Result<_, String>>()?;
    Ok(())
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let elements = text.split(',').map(|element| element.trim().trim_matches('"'));
    elements.filter(|element| !element.is_empty())
}

/// The same for any texts.
pub(super) fn texts(slot: &mut Vec<String>, text: &str) {
    *slot = elements(text).map(str::to_owned).collect();
}

pub(super) fn classes(slot: &mut Vec<RetentionClass>, text: &str) -> Result<(), String> {
    let parse = |text: &str| text.parse().map_err(|error: ClassError| error.to_string());
    let classes = elements(text).map(parse).collect::<Result<Vec<_>, String>>()?;
    if classes.len() > CLASSES_MAX {
        return Err(format!("{} classes are too many: at most {CLASSES_MAX}", classes.len()));
    }
    check_names(&classes).map_err(|error| error.to_string())?;
    *slot = classes;
    Ok(())
}

pub(super) fn array(elements: &[impl Display]) -> String {
    format!("[{}]", elements.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

pub(super) fn listen(slot: &mut SocketAddr, text: &str) -> Result<(), String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return Err(format!("expected a port as well, as in {}", SocketAddr::new(ip, DEFAULT_PORT)));
    }
    parse(slot, text, "an address with a port, as in 127.0.0.1:4433")
}

pub(super) fn quoted(text: impl Display) -> String {
    format!("{:?}", text.to_string())
}

pub(super) fn optional(path: Option<&PathBuf>) -> String {
    quoted(path.map(|path| path.display().to_string()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use quoth_core::retention::CLASSES_MAX;

    use crate::config::{Config, SETTINGS};

    #[test]
    fn classes_have_a_number() {
        let set = |count: usize| {
            let classes: Vec<_> = (0..count).map(|n| format!("class-{n}:room-{n}:count=1")).collect();
            super::classes(&mut Vec::new(), &classes.join(","))
        };
        assert_eq!(set(CLASSES_MAX), Ok(()));
        assert!(set(CLASSES_MAX + 1).unwrap_err().contains("at most 1000"));
    }

    #[test]
    fn every_number_has_a_range_that_holds_its_default_and_is_kept() {
        let numbers =
            SETTINGS.iter().filter(|setting| setting.get(&Config::default()).parse::<u64>().is_ok());
        assert_eq!(numbers.clone().count(), 48);
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
