//! A profile's text. What is wrong in it is told with its line, with what may stand there and with what to
//! do, in the words of profiles: those of the library that reads it are of types that nobody sees.

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::goals::LOAD_OF;
use super::keys::{OF_ALL, OF_SOME, OF_VARIANTS, takers, takes};
use super::reference::{inline, values};
use super::{Kind, Profile, Variant};
use crate::outcome::Goal;

/// The least that is a profile.
const LEAST: &str = "about = \"\"\nkind = \"open\"\nconversations = 1\nconnections = 1\n";

/// The least that is a variant.
const LEAST_VARIANT: &str = "name = \"\"\n";

/// A text that is TOML.
#[derive(Debug)]
pub(super) struct File<'a> {
    text: &'a str,
    places: DeTable<'a>,
    values: Table,
}

/// A key with its value, and where it stands.
struct Entry<'a> {
    key: &'a str,
    value: &'a Value,
    place: &'a Spanned<DeValue<'a>>,
    line: usize,
}

impl<'a> File<'a> {
    /// Reads it.
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let told = |error: &toml::de::Error| {
            let line = error.span().map(|span| format!("line {}: ", line_at(text, span.start)));
            anyhow::anyhow!("{}this is no TOML: {}", line.unwrap_or_default(), error.message())
        };
        let places = DeTable::parse(text).map_err(|error| told(&error))?.into_inner();
        Ok(Self { text, places, values: toml::from_str(text).map_err(|error| told(&error))? })
    }

    /// Whether each key is one of profiles, stands in its table, means something for the kind of load, and
    /// has a value of its own.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let kind = self.values.get("kind").and_then(|kind| kind.clone().try_into::<Kind>().ok());
        for entry in self.entries(&self.places, &self.values) {
            let Entry { key, line, .. } = entry;
            if !OF_ALL.contains(&key) && OF_SOME.iter().all(|(known, _)| *known != key) {
                anyhow::bail!("line {line}: {}", unknown(key));
            }
            check_kind(kind, &entry)?;
            match key {
                "goals" => self.check_goals(&entry)?,
                "variant" => self.check_variants(kind, &entry)?,
                _ => check_value::<Profile>(LEAST, &entry)?,
            }
        }
        for key in ["about", "kind", "conversations", "connections"] {
            anyhow::ensure!(
                self.values.contains_key(key),
                "`{key}` is missing, and it must be given: {}",
                values(key)
            );
        }
        Ok(())
    }

    fn check_goals(&self, goals: &Entry<'_>) -> anyhow::Result<()> {
        let (DeValue::Table(places), Value::Table(values)) = (goals.place.get_ref(), goals.value) else {
            anyhow::bail!("line {}: `goals` is a table: begin it with [goals]", goals.line);
        };
        for Entry { key, value, line, .. } in self.entries(places, values) {
            if key == LOAD_OF {
                anyhow::ensure!(
                    value.is_str(),
                    "line {line}: `{LOAD_OF}` is the name of a built-in profile in quotes, and not {}",
                    told(value)
                );
                continue;
            }
            let is_elsewhere = OF_ALL.contains(&key) || OF_SOME.iter().any(|(known, _)| *known == key);
            anyhow::ensure!(
                !is_elsewhere,
                "line {line}: `{key}` stands in the table [goals], which begins above it: put it above that table"
            );
            anyhow::ensure!(
                value.clone().try_into::<Goal>().is_ok(),
                "line {line}: the goal `{key}` is {}: give {{ at_most = NUMBER }} or {{ at_least = NUMBER }}",
                told(value)
            );
        }
        Ok(())
    }

    fn check_variants(&self, kind: Option<Kind>, variants: &Entry<'_>) -> anyhow::Result<()> {
        let (DeValue::Array(places), Value::Array(values)) = (variants.place.get_ref(), variants.value)
        else {
            anyhow::bail!("line {}: begin each variant with [[variant]], in two brackets", variants.line);
        };
        for (place, value) in places.iter().zip(values) {
            let line = self.line(place);
            let (DeValue::Table(places), Value::Table(values)) = (place.get_ref(), value) else {
                anyhow::bail!("line {line}: begin each variant with [[variant]], in two brackets");
            };
            for entry in self.entries(places, values) {
                let Entry { key, line, .. } = entry;
                let of_profile = OF_ALL.contains(&key) || OF_SOME.iter().any(|(known, _)| *known == key);
                if !OF_VARIANTS.contains(&key) && of_profile {
                    anyhow::bail!(
                        "line {line}: `{key}` is nothing that a variant may give, which are {}; for the whole profile it stands above \
                         the first [[variant]]",
                        OF_VARIANTS.join(", ")
                    );
                }
                if !OF_VARIANTS.contains(&key) {
                    anyhow::bail!("line {line}: {}", unknown_among(key, OF_VARIANTS));
                }
                check_kind(kind, &entry)?;
                check_value::<Variant>(LEAST_VARIANT, &entry)?;
            }
            anyhow::ensure!(
                values.contains_key("name"),
                "line {line}: a variant has a name, by which it is called in tables: name = \"more readers\""
            );
        }
        Ok(())
    }

    /// What it says, with the defaults for what it does not.
    pub(super) fn profile(&self) -> anyhow::Result<Profile> {
        self.values
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.message()))
    }

    /// Whether it says anything of a key.
    pub(super) fn gives(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Puts the line before what is wrong with a profile as a whole: that of the first key of the file that
    /// the text names.
    pub(super) fn place(&self, error: &anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        let line = if text.starts_with("goals: ") {
            let goals = self.places.get("goals").and_then(|goals| goals.get_ref().as_table());
            let mut goals = goals.into_iter().flatten();
            let is_named =
                |key: &str| text.contains(&format!("`{key}`")) || text.contains(&format!("{key} = "));
            goals.find(|(key, _)| is_named(key.get_ref())).map(|(key, _)| self.line(key))
        } else {
            let of_variant = |variant| {
                let name = DeTable::get(variant, "name")?.get_ref().as_str()?;
                Some((variant, text.strip_prefix(&format!("variant {name}: "))?))
            };
            let (variant, said) = self.variants().find_map(of_variant).unzip();
            let words = said.unwrap_or(&text).split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let tables = || variant.into_iter().chain([&self.places]);
            words
                .flat_map(|word| tables().filter_map(move |table| table.get_key_value(word)))
                .next()
                .map(|(key, _)| self.line(key))
        };
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        anyhow::anyhow!("{line}{text}")
    }

    fn variants(&self) -> impl Iterator<Item = &DeTable<'a>> {
        let variants = self.places.get("variant").and_then(|variants| variants.get_ref().as_array());
        variants
            .into_iter()
            .flat_map(|variants| variants.iter())
            .filter_map(|variant| variant.get_ref().as_table())
    }

    /// What stands in a table, in the order of its lines.
    fn entries<'b>(&self, places: &'b DeTable<'a>, values: &'b Table) -> Vec<Entry<'b>>
    where
        'a: 'b,
    {
        let entry = |(key, place): (&'b Spanned<_>, &'b Spanned<DeValue<'a>>)| {
            let line = self.line(key);
            let key: &'b std::borrow::Cow<'a, str> = key.get_ref();
            Some(Entry { key, value: values.get(&**key)?, place, line })
        };
        let mut entries: Vec<Entry<'b>> = places.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.line);
        entries
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_at(self.text, at.span().start)
    }
}

/// The line of a place, from 1. Behind the last line it is that one.
fn line_at(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text).matches('\n').count();
    (before + 1).min(text.lines().count().max(1))
}

/// A key that nobody knows, with the one that may be meant.
fn unknown(key: &str) -> String {
    if key == LOAD_OF {
        return format!("`{key}` stands in the table [goals], below that line");
    }
    let known: Vec<&str> = OF_ALL.iter().copied().chain(OF_SOME.iter().map(|(key, _)| *key)).collect();
    unknown_among(key, &known)
}

fn unknown_among(key: &str, known: &[&str]) -> String {
    const NEAR: f64 = 0.7;
    if key == LOAD_OF {
        return format!("`{key}` stands in the table [goals], and nowhere else");
    }
    let similarity = |known: &str| strsim::jaro_winkler(key, known);
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let hint = nearest.filter(|near| similarity(near) > NEAR).map_or_else(
        || format!("there are {}", known.join(", ")),
        |nearest| format!("do you mean `{nearest}`?"),
    );
    format!("`{key}` is unknown here: {hint}")
}

/// Refuses a key that means nothing for the kind of load: whoever has written it expects something of it.
fn check_kind(kind: Option<Kind>, entry: &Entry<'_>) -> anyhow::Result<()> {
    let Entry { key, line, .. } = entry;
    match kind {
        Some(kind) if !takes(kind, key) => anyhow::bail!(
            "line {line}: `{key}` means nothing for kind \"{}\"; it is for {}",
            kind.name(),
            takers(key)
        ),
        _ => Ok(()),
    }
}

/// Refuses a value with which the least that is whole would be nothing any more.
fn check_value<T: DeserializeOwned>(least: &str, entry: &Entry<'_>) -> anyhow::Result<()> {
    let Entry { key, value, line, .. } = entry;
    let mut table: Table = toml::from_str(least)?;
    table.insert((*key).to_owned(), (*value).clone());
    if table.try_into::<T>().is_ok() {
        return Ok(());
    }
    let takes = if *key == "name" { "text, by which it is called in tables".to_owned() } else { values(key) };
    let whole = if value.is_float() && takes.contains("or more") { ", a whole number" } else { "" };
    let most = match value {
        Value::Integer(number) if *number > u32::MAX.into() => ", and not so many",
        _ => "",
    };
    anyhow::bail!("line {line}: `{key}` is {}, and it takes {takes}{whole}{most}", told(value));
}

/// A value as it may stand in a file, cut where it is long.
fn told(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = inline(value);
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str =
        "about = \"\"\nkind = \"open\"\nconversations = 1\nmembers = 2\nconnections = 2\nrate_per_s = 10\n";

    fn refused(text: &str) -> String {
        format!("{:#}", Profile::parse(text).expect_err(text))
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_may_stand_there() {
        for (more, told) in [
            (
                "payload = -1",
                "line 7: `payload` is -1, and it takes bytes as in 200, or a range as in [40, 400]; at most 65536",
            ),
            ("\n\npayload = [1]\n", "line 9: `payload` is [1], and it takes bytes"),
            ("payload = [5, 4]", "line 7: payload: 5 is more than 4"),
            ("rounds = 1.5", "line 7: `rounds` is 1.5, and it takes 1 or more, a whole number"),
            (
                "rounds = 5000000000",
                "line 7: `rounds` is 5000000000, and it takes 1 or more, and not so many",
            ),
            ("rounds = 0", "line 7: rounds = 0 measures nothing"),
            ("arrival = \"evn\"", "line 7: `arrival` is \"evn\", and it takes even, poisson, burst"),
            ("floors = [\"rely\"]", "line 7: `floors` is [\"rely\"], and it takes a list of \"relay\", "),
            ("publishers_read = 1", "line 7: `publishers_read` is 1, and it takes true or false"),
            ("warm_up_s = -1", "line 7: warm_up_s must be 0 to 1000000, and it is -1"),
            ("duration_s = 0.1", "line 7: duration_s must be 0.2 to 1000000, and it is 0.1"),
            ("publishers = 3", "line 7: publishers (3) are members"),
            ("duration_s = \"long\"", "line 7: `duration_s` is \"long\", and it takes seconds, 0.2 or more"),
            ("network = [", "line 7: this is no TOML: "),
            ("network = 7\n", "line 7: `network` is 7, and it takes lan, home"),
            ("load_of = \"latency\"", "line 7: `load_of` stands in the table [goals]"),
            ("window = 5", "line 7: `window` means nothing for kind \"open\""),
            ("goals = 5", "line 7: `goals` is a table: begin it with [goals]"),
            (
                "\n[goals]\nload_of = 5",
                "line 9: `load_of` is the name of a built-in profile in quotes, and not 5",
            ),
            ("[goals]\nload_of = \"chats\"", "line 8: goals: load_of = \"chats\" is none of the built-in"),
            (
                "[goals]\n# why\n\"delivery p50: quoth over quinn relay\" = { at_mots = 1 }",
                "line 9: the goal `delivery p50: quoth over quinn relay` is { at_mots = 1 }: give { at_most = NUMBER } or",
            ),
            (
                "[goals]\n\"delivery p50: quoth over quinn relay\" = { at_most = 1 }\n\"delivery p5\" = { at_most = 1 }",
                "line 9: goals: no run of this profile has a figure called `delivery p5`",
            ),
            ("[goals]\nrounds = 3", "line 8: `rounds` stands in the table [goals], which begins above it"),
            ("[variant]\nname = \"x\"", "line 7: begin each variant with [[variant]], in two brackets"),
            ("[[variant]]\nmembers = 1", "line 7: a variant has a name"),
            ("[[variant]]\nname = 5", "line 8: `name` is 5, and it takes text"),
            ("[[variant]]\nname = \"x\"\nmembers = -1", "line 9: `members` is -1, and it takes 1 or more"),
            (
                "[[variant]]\nname = \"x\"\nmembers = 3",
                "line 9: variant x: members (3) must not be more than",
            ),
            (
                "[[variant]]\nname = \"x\"\nload_of = \"chat\"",
                "line 9: `load_of` stands in the table [goals], and",
            ),
            (
                "[[variant]]\nname = \"x\"\nrounds = 9",
                "line 9: `rounds` is nothing that a variant may give, which are name, ",
            ),
        ] {
            let text = format!("{PAIR}{more}");
            assert!(refused(&text).starts_with(told), "{more}: {}", refused(&text));
        }
        assert!(refused("kind = \"idle\"").starts_with("`about` is missing, and it must be given: text"));
        let long = format!("{PAIR}about = \"\"");
        assert!(refused(&long).starts_with("line 7: this is no TOML: duplicate key"), "{}", refused(&long));
        let long = PAIR.replace("about = \"\"", &format!("about = [{}]", "1, ".repeat(500)));
        assert!(refused(&long).starts_with("line 1: `about` is [1, 1") && refused(&long).len() < 120);
    }

    #[test]
    fn a_place_behind_the_end_is_in_the_last_line() {
        assert_eq!([0, 1, 2, 3, 4, 9].map(|at| line_at("a\nb\n", at)), [1, 1, 2, 2, 2, 2]);
        assert_eq!(line_at("", 0), 1);
    }
}
