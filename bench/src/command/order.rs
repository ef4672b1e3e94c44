//! Words of a command line that stand where they do not belong: what the parser says of them names neither
//! what is wrong nor the mend.

/// What stands directly behind `bench`, as it is used, and the flags that are its own.
const COMMANDS: &[(&str, &str, &[&str])] = &[
    ("versus", "versus [OPTIONS] [PROFILE]", &["--against"]),
    ("compare", "compare BEFORE.json AFTER.json", &["--bound"]),
    ("report", "report FOUND.json REPORT.html", &[]),
    ("profiles", "profiles [NAME]", &["--reference"]),
];

/// What is wrong with a command line that the parser has refused, by the order of its words, if that is what
/// is wrong.
#[must_use]
pub fn misplaced(words: &[String]) -> Option<String> {
    let behind = words.iter().position(|word| word == "bench")? + 1;
    let words = words.get(behind..)?;
    let first = words.first()?;
    if COMMANDS.iter().any(|(name, ..)| name == first) {
        return None;
    }
    // What is behind a flag may be its value.
    let may_be_one = words.windows(2).filter(|pair| !pair[0].starts_with('-')).map(|pair| &pair[1]);
    let command = may_be_one.into_iter().find_map(|word| COMMANDS.iter().find(|(name, ..)| name == word));
    if let Some((name, usage, _)) = command {
        // A run's own flags and load go behind it; the others take nothing of a run.
        let typed = || words.iter().filter(|word| word != name).cloned().collect::<Vec<_>>().join(" ");
        let mend = if *name == "versus" { format!("versus {}", typed()) } else { (*usage).to_owned() };
        return Some(format!("`{name}` stands directly behind `bench`, before all else: quoth bench {mend}"));
    }
    COMMANDS.iter().find_map(|(name, usage, flags)| {
        let is_its = |word: &&String| flags.contains(&word.split('=').next().unwrap_or_default());
        let flag = words.iter().find(is_its)?.split('=').next()?;
        Some(format!(
            "{flag} is a flag of `quoth bench {name}`, and `{name}` is missing: quoth bench {usage}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Option<String> {
        misplaced(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_behind_its_words_is_told_with_the_right_order() {
        for (line, mend) in [
            (
                "quoth bench throughput versus --against jetstream",
                "`versus` stands directly behind `bench`, before all else: quoth bench versus throughput --against jetstream",
            ),
            (
                "quoth bench --rounds 3 versus throughput",
                "before all else: quoth bench versus --rounds 3 throughput",
            ),
            (
                "quoth bench latency compare a.json b.json",
                "all else: quoth bench compare BEFORE.json AFTER.json",
            ),
            ("quoth bench --dir . report a b", "quoth bench report FOUND.json REPORT.html"),
            (
                "quoth bench throughput --against=jetstream",
                "--against is a flag of `quoth bench versus`, and `versus` is missing: quoth bench versus [OPTIONS] [PROFILE]",
            ),
            ("quoth bench chat --reference", "`profiles` is missing: quoth bench profiles [NAME]"),
        ] {
            let told = told(line).unwrap_or_else(|| panic!("{line}"));
            assert!(told.ends_with(mend), "{line}: {told}");
        }
    }

    #[test]
    fn what_else_is_wrong_is_the_parsers_to_tell() {
        for line in [
            "quoth bench compare a",
            "quoth bench latency --nonsense",
            "quoth bench",
            "quoth send a versus",
            "quoth bench latency --html report --nonsense",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
