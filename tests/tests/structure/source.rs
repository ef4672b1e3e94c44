//! Rules over the text of each source file.

/// A source file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Its path from the repository's root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

const LINES_MAX: usize = 600;

/// Marks of unfinished work. Each is put together here, so that this file does not hold it.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];

/// What only the view's module on fjall may name, and the floor that the view is measured against.
const FJALL: &[&str] = &[concat!("fjall", "::"), concat!("lsm_tree", "::")];
const FJALL_PLACES: &[&str] = &["view/fjall", "tests/src/figures/bare_fjall.rs"];

/// What a crate without IO, clock and entropy may not name.
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::net::UdpSocket",
    "std::thread",
    "rand::",
];

const PURE_FOLDERS: &[&str] = &["protocol/src/", "protocol/lanes/src/", "server/core/src/"];

/// Every rule that a file breaks, with its line.
pub(crate) fn violations(file: &SourceFile) -> Vec<String> {
    let mut violations = Vec::new();
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        violations.push(format!("{}: {lines} lines, more than {LINES_MAX}; split it by purpose", file.path));
    }
    for name in UNFINISHED {
        violations.extend(naming(file, name, "unfinished work stays out"));
    }
    if !FJALL_PLACES.iter().any(|place| file.path.contains(place)) {
        for name in FJALL {
            violations.extend(naming(file, name, "only server/store/src/view/fjall may name it"));
        }
    }
    if PURE_FOLDERS.iter().any(|folder| file.path.starts_with(folder)) {
        for name in IMPURE {
            violations.extend(naming(file, name, "this crate has no IO, clock or entropy"));
        }
    }
    violations
}

/// The lines of code, comments left out, that hold a name which is not the tail of a longer one.
fn naming(file: &SourceFile, name: &str, why: &str) -> Vec<String> {
    let holds = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':'))
        })
    };
    let code = file.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(|(_, line)| holds(line))
        .map(|(i, _)| format!("{}:{}: `{name}`: {why}", file.path, i + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FJALL, LINES_MAX, SourceFile, UNFINISHED, violations};

    fn file(path: &str, text: impl Into<String>) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.into() }
    }

    #[test]
    fn a_file_that_is_too_long_is_caught() {
        assert!(violations(&file("a.rs", "\n".repeat(LINES_MAX))).is_empty());
        assert_eq!(violations(&file("a.rs", "\n".repeat(LINES_MAX + 1))).len(), 1);
    }

    #[test]
    fn unfinished_work_is_caught_with_its_line() {
        for mark in UNFINISHED {
            let found = violations(&file("a.rs", format!("fn f() {{\n    {mark}\n}}")));
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
            assert!(violations(&file("a.rs", format!("// {mark}"))).is_empty());
        }
    }

    #[test]
    fn the_lsm_store_named_outside_its_module_is_caught() {
        for name in FJALL {
            let text = format!("use {name}Keyspace;");
            assert!(violations(&file("server/store/src/view/fjall.rs", &*text)).is_empty());
            assert!(violations(&file("server/store/src/view/fjall/read.rs", &*text)).is_empty());
            assert_eq!(violations(&file("server/store/src/view/memory.rs", &*text)).len(), 1);
        }
        assert!(violations(&file("server/store/src/lib.rs", "use my_fjall::Store;")).is_empty());
    }

    #[test]
    fn a_clock_or_entropy_in_a_pure_crate_is_caught() {
        for text in ["use std::time::Instant;", "let n = rand::random();", "std::thread::spawn(f);"] {
            for folder in ["protocol/src", "server/core/src"] {
                assert_eq!(violations(&file(&format!("{folder}/x.rs"), text)).len(), 1, "{text}");
            }
            assert!(violations(&file("server/src/x.rs", text)).is_empty());
        }
        assert!(violations(&file("protocol/src/x.rs", "use std::time::Duration; operand::x();")).is_empty());
    }
}
