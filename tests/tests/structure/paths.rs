//! The paths that documents name: each of them must lead somewhere, so that a file which is moved takes its name
//! along in the texts.

/// The folders at the repository's root. A word that begins otherwise is no path of the repository: a route, a folder
/// of a server's data, a conversation.
const ROOTS: &[&str] =
    &["bench/", "build/", "certs/", "client-sdk/", "docs/", "protocol/", "server/", "tests/"];

/// What a document's words in backticks name and is not there. `exists` is asked with paths from the root.
pub(crate) fn leading_nowhere(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    let paths = words.filter(|word| is_path(word)).flat_map(expanded);
    paths
        .filter(|path| !exists(path))
        .map(|path| format!("{document} names {path}, which is not there"))
        .collect()
}

fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-{},".contains(c);
    ROOTS.iter().any(|root| word.starts_with(root)) && word.chars().all(plain)
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    let braces = path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (names, after))) = braces else { return vec![path.to_owned()] };
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

#[cfg(test)]
mod tests {
    use super::leading_nowhere;

    #[test]
    fn a_path_that_leads_nowhere_is_caught() {
        let exists = |path: &str| path == "server/src/a.rs" || path == "docs/";
        let nowhere = |text: &str| leading_nowhere("x.md", text, exists).len();
        assert_eq!(nowhere("`server/src/a.rs`, below `docs/`, is no `/v1/route` and no `server/src/…`"), 0);
        assert_eq!(nowhere("see `server/src/b.rs`"), 1);
        assert_eq!(nowhere("see `server/src/{a,b,c}.rs`"), 2);
    }
}
