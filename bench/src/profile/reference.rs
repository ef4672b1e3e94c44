//! Every key of a profile: what it is, which values it takes, what it is without being given, and for which
//! kinds of load.

use std::fmt::Write as _;

use anyhow::Context as _;
use toml::{Table, Value};

use super::Profile;
use super::keys::{OF_VARIANTS, kinds, takes};

/// A key. Its default and the kinds of load that take it are not told here: they are what the program has.
struct Field {
    name: &'static str,
    /// Which values it takes, with the unit.
    values: &'static str,
    /// The words it takes, where it takes only some.
    words: &'static [&'static str],
    about: &'static str,
}

const fn field(name: &'static str, values: &'static str, about: &'static str) -> Field {
    Field { name, values, words: &[], about }
}

const fn words(name: &'static str, words: &'static [&'static str], about: &'static str) -> Field {
    Field { name, values: "", words, about }
}

/// The default of what has none.
const MUST_BE_GIVEN: &str = "none, it must be given";

/// All, in the order in which they are told.
const FIELDS: &[Field] = &[
    field("about", "text", "What the load is for, in one sentence."),
    words(
        "kind",
        &["open", "closed", "catchup", "storm", "idle", "connect"],
        "What is done. open: messages come at a rate, whatever has become of those before them. closed: so many messages are on \
         their way. catchup: readers come back to a backlog. storm: all clients come back after a restart of the server. idle: \
         connections that do nothing. connect: from nothing to the first message.",
    ),
    field("conversations", "1 or more", "How many conversations there are."),
    field(
        "connections",
        "1 or more, not fewer than members",
        "Connections of all clients. Member m of conversation c is on connection (c x members + m) modulo connections.",
    ),
    field("members", "1 or more", "Members of each conversation."),
    field("publishers", "1 or more, not more than members", "How many of a conversation's members publish."),
    field("publishers_read", "true or false", "Whether those read as well."),
    field(
        "publishers_near",
        "true or false",
        "Whether connections on which everybody publishes are on the servers' side of the network.",
    ),
    field(
        "stalled",
        "0 or more, fewer than conversations",
        "How many conversations, the last ones, have readers that never read.",
    ),
    words(
        "transport",
        &["quic", "websocket", "websocket_plain"],
        "What the server's clients speak. websocket is with TLS, websocket_plain without.",
    ),
    field(
        "rate_per_s",
        "messages per second, above 0",
        "How many are due, of all publishers together, in turn.",
    ),
    words(
        "arrival",
        &["even", "poisson", "burst"],
        "How they come. even: evenly. poisson: at random, independent of each other. burst: one of each publisher at once, then a \
         pause.",
    ),
    field("window", "messages, 1 or more", "How many are on their way."),
    words(
        "window_of",
        &["publisher", "connection"],
        "Whose: each publisher's, or those of all publishers on a connection.",
    ),
    words(
        "window_until",
        &["acked", "delivered"],
        "Until when a message is on its way: its ack, or its deliveries to all readers.",
    ),
    field(
        "backlog",
        "messages, 0 or more",
        "How many there are in each conversation that readers come back to.",
    ),
    field("at_once", "1 or more", "Handshakes that are under way at once."),
    field(
        "tickets",
        "true or false",
        "Whether clients have kept what lets them come back with a shorter handshake.",
    ),
    field(
        "payload",
        "bytes as in 200, or a range as in [40, 400]; at most 65536",
        "What a message is: of a range all sizes come equally often.",
    ),
    field("warm_up_s", "seconds, 0 or more", "How long the load is played before what counts."),
    field("duration_s", "seconds, 0.2 or more", "How long what counts is."),
    field("rounds", "1 or more", "How often each system is measured, in turn with the others."),
    field(
        "network",
        "lan, home, mobile, bad, or a TOML file",
        "The network between clients and servers. Needs root.",
    ),
    field(
        "floors",
        "a list of \"relay\", \"websocket\" and \"append\", or [] for none",
        "What is measured beside the server: a relay over bare QUIC, one over bare WebSocket, a file with fdatasync. Open and \
         closed loops have all of them, other kinds the relay.",
    ),
    field(
        "goals",
        "a table",
        "What ratios of the run should be, by their names in the table, as in \"delivery p50: quoth over quinn relay\" = { at_most \
         = 1.5 } or { at_least = 2.0 }. With load_of = \"NAME\" in it they are for the load of that built-in profile, and judged \
         only where this one has the same; without it they are for the load that this file has.",
    ),
    field(
        "variant",
        "tables [[variant]]",
        "The same server under the same load in another shape, measured beside it. Each has a name, and what it does not give is as \
         in the profile.",
    ),
];

impl Field {
    fn values(&self) -> String {
        if self.words.is_empty() { self.values.to_owned() } else { self.words.join(", ") }
    }

    /// What it is without being given.
    fn default(&self) -> anyhow::Result<String> {
        const GIVEN_ALWAYS: &[&str] = &["about", "kind", "conversations", "connections", "members"];
        if GIVEN_ALWAYS.contains(&self.name) {
            return Ok(MUST_BE_GIVEN.to_owned());
        }
        if self.name == "floors" {
            return Ok("all that the kind has".to_owned());
        }
        let least = "about = \"\"\nkind = \"open\"\nconversations = 1\nconnections = 1\n";
        let table = table(&toml::from_str(least)?)?;
        Ok(match table.get(self.name) {
            None => "none".to_owned(),
            Some(Value::Table(empty)) if empty.is_empty() => "none".to_owned(),
            Some(Value::Array(empty)) if empty.is_empty() => "none".to_owned(),
            Some(Value::Float(none)) if *none == 0.0 && self.name == "rate_per_s" => MUST_BE_GIVEN.to_owned(),
            Some(Value::String(word)) => word.clone(),
            Some(value) => inline(value),
        })
    }

    fn kinds(&self) -> String {
        let names = kinds(self.name).map(|kinds| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>());
        names.map_or_else(|| "every kind".to_owned(), |names| names.join(", "))
    }
}

/// Which values a key takes; nothing of one that is none.
pub(super) fn values(key: &str) -> String {
    FIELDS.iter().find(|field| field.name == key).map_or_else(String::new, Field::values)
}

/// As it would stand in a file. Keys that it does not give are not there.
fn table(profile: &Profile) -> anyhow::Result<Table> {
    Table::try_from(profile).context("a profile is no TOML")
}

/// Every key in a few lines each.
///
/// # Errors
/// Never: it tells of what is built in.
pub fn reference() -> anyhow::Result<String> {
    const COLUMNS: usize = 100;
    const INDENT: &str = "    ";
    let mut text = String::new();
    for field in FIELDS {
        let _ = writeln!(text, "{}", field.name);
        for told in [
            field.about.to_owned(),
            format!("values: {}; default: {}; for: {}", field.values(), field.default()?, field.kinds()),
        ] {
            for line in crate::grid::wrapped(&told, COLUMNS - INDENT.len(), 0).lines() {
                let _ = writeln!(text, "{INDENT}{line}");
            }
        }
    }
    let _ = writeln!(text, "\nA variant may give: {}.", OF_VARIANTS.join(", "));
    Ok(text)
}

/// A profile with every key that its kind of load takes, each below what it is: to change it and to play it.
///
/// # Errors
/// Never for one that could be read.
pub fn explained(profile: &Profile) -> anyhow::Result<String> {
    let table = table(profile)?;
    let mut text = String::new();
    for field in FIELDS.iter().filter(|field| takes(profile.kind, field.name)) {
        for line in crate::grid::wrapped(field.about, 98, 0).lines() {
            let _ = writeln!(text, "# {line}");
        }
        let default = field.default()?;
        let _ = writeln!(text, "# values: {}; default: {default}", field.values());
        match table.get(field.name) {
            Some(Value::Array(variants)) if field.name == "variant" => {
                variants.iter().filter_map(Value::as_table).for_each(|variant| {
                    let _ = write!(text, "[[variant]]\n{}", lines(variant));
                });
            }
            Some(Value::Table(goals)) if goals.is_empty() => {}
            Some(Value::Table(goals)) => {
                let _ = write!(text, "[{}]\n{}", field.name, lines(goals));
            }
            Some(value) => {
                let _ = writeln!(text, "{} = {}", field.name, inline(value));
            }
            None => {
                let _ = writeln!(text, "# {} = …", field.name);
            }
        }
        text.push('\n');
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// A key and its value in a line each.
fn lines(table: &Table) -> String {
    table.iter().map(|(name, value)| format!("{} = {}\n", key(name), inline(value))).collect()
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// A value in one line of TOML.
pub(super) fn inline(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        // With a point, which makes it one.
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(is) => is.to_string(),
        Value::Datetime(at) => at.to_string(),
        Value::Array(items) => format!("[{}]", list(items.iter().map(inline).collect())),
        Value::Table(table) => {
            let pairs = table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", list(pairs.collect()))
        }
    }
}

/// As a string of TOML, which takes those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BUILT_IN;
    use crate::profile::keys::{OF_ALL, OF_SOME};

    #[test]
    fn every_key_is_told_and_no_other() {
        let mut told: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        let mut known: Vec<_> = OF_ALL.iter().copied().chain(OF_SOME.iter().map(|(key, _)| *key)).collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }

    #[test]
    fn the_words_that_a_key_takes_are_all_told() {
        for field in FIELDS.iter().filter(|field| !field.words.is_empty()) {
            let mut table: Table =
                toml::from_str("about = \"\"\nkind = \"open\"\nconversations = 1\nconnections = 1").unwrap();
            table.insert(field.name.to_owned(), "nothing".into());
            let error = table.try_into::<Profile>().expect_err(field.name).to_string();
            let expected =
                error.lines().next().and_then(|line| line.split_once("expected ")).expect(&error).1;
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            assert_eq!(field.words, known, "{}", field.name);
        }
    }

    #[test]
    fn a_default_is_what_the_program_takes() {
        let default = |name: &str| {
            let field = FIELDS.iter().find(|field| field.name == name).expect(name);
            field.default().expect(name)
        };
        for (name, value) in [
            ("rounds", "3"),
            ("warm_up_s", "1.0"),
            ("duration_s", "5.0"),
            ("payload", "200"),
            ("arrival", "even"),
            ("window", "64"),
            ("publishers_read", "false"),
            ("network", "none"),
            ("goals", "none"),
            ("rate_per_s", MUST_BE_GIVEN),
        ] {
            assert_eq!(default(name), value, "{name}");
        }
    }

    #[test]
    fn a_profile_that_explains_itself_is_the_same_profile() {
        for (name, _) in BUILT_IN {
            let profile = Profile::find(name).expect(name);
            let text = explained(&profile).expect(name);
            assert_eq!(Profile::parse(&text).unwrap_or_else(|error| panic!("{error:#}\n{text}")), profile);
            for field in FIELDS {
                let line = format!("\n# {}", field.about.split(' ').next().unwrap_or_default());
                assert!(!takes(profile.kind, field.name) || format!("\n{text}").contains(&line), "{name}");
            }
        }
    }

    #[test]
    fn the_page_tells_what_the_program_does() {
        let page = include_str!("../../../docs/BENCH.md");
        assert!(
            page.contains(&format!("\n```text\n{}```\n", reference().expect("a text"))),
            "run `quoth bench profiles --reference`"
        );
    }
}
