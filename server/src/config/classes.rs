//! Retention classes as a configuration file has them: tables, or the texts that these come to.

use std::borrow::Cow;

use quoth_core::retention::RetentionClass;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::near;

/// What a class may have.
const KEYS: [&str; 5] = ["name", "conversations", "age_s", "count", "bytes"];

/// Classes as they would stand in the environment.
///
/// # Errors
/// The first mistake, with the class that has it.
pub(super) fn texts(items: &[Spanned<DeValue<'_>>]) -> Result<String, String> {
    let texts = items.iter().enumerate().map(|(at, item)| match item.get_ref() {
        DeValue::Table(table) => class(at + 1, table),
        // What is wrong with a text is told when it is set.
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err(format!(
            "class {} is no table: write [[retention.classes]] and below it name = \"teams\", conversations = [\"team-*\"] and bounds",
            at + 1
        )),
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
}

/// The class at a place, counted from 1.
fn class(at: usize, table: &DeTable<'_>) -> Result<String, String> {
    let value = |key: &str| table.get(key).map(Spanned::get_ref);
    let name = match value("name") {
        Some(DeValue::String(name)) => name.as_ref(),
        Some(_) => return Err(format!("class {at}: expected a text in quotes for name, as in \"teams\"")),
        None => return Err(format!("class {at} has no name: give one, as in name = \"teams\"")),
    };
    let is_unknown = |key: &&str| !KEYS.contains(key);
    if let Some(unknown) = table.keys().map(|key| key.get_ref().as_ref()).find(is_unknown) {
        let meant = match near(unknown, KEYS.into_iter()).or_else(|| (unknown == "age").then_some("age_s")) {
            Some(near) => format!("the nearest is {near}"),
            None => format!("it may have {}", KEYS.join(", ")),
        };
        return Err(format!("class {at} ({name:?}) has {unknown}, which is none of its keys; {meant}"));
    }
    let patterns = match value("conversations") {
        Some(DeValue::Array(patterns)) => patterns.iter().map(|pattern| pattern.get_ref().as_str()).collect(),
        Some(_) => None,
        None => Some(Vec::new()),
    };
    let patterns: Vec<_> = patterns.ok_or_else(|| {
        format!("class {at} ({name:?}): expected an array of texts for conversations, as in [\"team-*\"]")
    })?;
    let patterns = patterns.into_iter().map(str::to_owned).collect();
    let of_class = |error| format!("class {at}: {error}");
    let mut class = RetentionClass::new(name, patterns).map_err(of_class)?;
    for key in &KEYS[2..] {
        let Some(value) = value(key) else { continue };
        let text: Cow<'_, str> = match value {
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                let number = i128::from_str_radix(&digits, number.radix());
                number.map_or(digits, |number| number.to_string()).into()
            }
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Float(number) => number.as_str().to_owned().into(),
            other => other.type_str().into(),
        };
        class.bound(key, &text).map_err(of_class)?;
    }
    Ok(class.to_string())
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    /// What is wrong with a class that has these lines.
    fn mistake(lines: &str) -> String {
        let text = format!("[server]\ndevelopment = true\n[[retention.classes]]\n{lines}\n");
        let file = Some(("q.toml".into(), text));
        load(&Sources { file, ..Sources::default() })
            .map_or_else(|mistakes| mistakes.join("; "), |_| String::new())
    }

    #[test]
    fn a_mistake_in_a_class_is_told_with_its_key_and_what_is_allowed() {
        let class = |rest: &str| mistake(&format!("name = \"a\"\nconversations = [\"a-*\"]\n{rest}"));
        assert_eq!(class("age_s = 2_592_000\ncount = 0x10"), "");
        assert_eq!(class(""), "", "it keeps for ever what a later class would not");
        for (mistake, expected) in [
            (
                class("age = \"30d\""),
                "class 1 (\"a\") has age, which is none of its keys; the nearest is age_s",
            ),
            (class("color = 1"), "it may have name, conversations, age_s, count, bytes"),
            (class("age_s = \"30d\""), "age_s is a whole number of seconds: 30d is age_s=2592000"),
            (class("age_s = 0"), "age_s=0, which is no bound: leave age_s out"),
            (class("bytes = 1.5"), "bytes=1.5, and bytes is a whole number"),
            (class("count = [1]"), "count is a whole number of events"),
            (class("count = -1"), "count is a whole number of events"),
            (mistake("conversations = [\"a\"]"), "class 1 has no name"),
            (mistake("name = 1"), "expected a text in quotes for name"),
            (mistake("name = \"a\""), "is of no conversations"),
            (mistake("name = \"a\"\nconversations = \"a\""), "expected an array of texts for conversations"),
        ] {
            assert!(mistake.contains(expected) && mistake.ends_with("for retention.classes"), "{mistake}");
            assert!(mistake.starts_with("q.toml:3:"), "{mistake}");
        }
    }
}
