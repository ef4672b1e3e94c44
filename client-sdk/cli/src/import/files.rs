//! Which files are imported, and as what.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{ConversationName, ProducerId};

use super::irc::{self, Line};
use crate::args::ImportArgs;

/// Endings of the names of logs, taken off for the conversation's name; the longest that fits.
const ENDINGS: &[&str] = &[".raw.txt", ".txt", ".log"];

/// A log to import.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) conversation: ConversationName,
    pub(super) producer: ProducerId,
    /// Days since 1970, from its name.
    pub(super) day: Option<u64>,
    pub(super) text: Vec<u8>,
}

impl LogFile {
    /// Every line without its line feed. What ends without one is a line as well.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        text.split(|byte| *byte == b'\n').filter(|_| !self.text.is_empty())
    }

    /// Lines whose time of day is lost, since no day is known.
    pub(super) fn undated(&self) -> usize {
        match self.day {
            Some(_) => 0,
            None => self.lines().filter(|line| Line::parse(line).minutes.is_some()).count(),
        }
    }
}

/// What the paths of the command line name.
#[derive(Debug)]
pub(super) struct Found {
    /// In the order of their names.
    pub(super) logs: Vec<LogFile>,
    /// What lies in the folders and is no log, and why not.
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
}

/// Reads all logs.
pub(super) fn find(args: &ImportArgs) -> anyhow::Result<Found> {
    let mut found = Found { logs: Vec::new(), skipped: Vec::new() };
    for path in &args.paths {
        if path.is_dir() {
            add_folder(&mut found, path, args)?;
        } else {
            let text = read(path)?;
            ensure!(!text.is_empty(), "{} is empty", path.display());
            ensure!(
                irc::is_log(&text),
                "{} is no IRC log: its lines do not begin with `[HH:MM] ` or `=== `",
                path.display()
            );
            found.logs.push(log_file(path, text, args)?);
        }
    }
    if args.conversation.is_some() && found.logs.len() > 1 {
        bail!("--conversation takes a single log, and there are {}", found.logs.len());
    }
    let mut by_name: Vec<&LogFile> = found.logs.iter().collect();
    by_name.sort_by(|a, b| a.conversation.cmp(&b.conversation));
    if let Some([a, b]) = by_name.windows(2).find(|pair| pair[0].conversation == pair[1].conversation) {
        let (a, b) = (a.path.display(), b.path.display());
        bail!(
            "{a} and {b} would become the same conversation; import them apart, with --prefix or --conversation"
        );
    }
    Ok(found)
}

fn add_folder(found: &mut Found, folder: &Path, args: &ImportArgs) -> anyhow::Result<()> {
    let cannot_read = || format!("cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            found.skipped.push((path, "a folder within a folder; name it to import its logs"));
            continue;
        }
        let has_ending = ENDINGS.iter().any(|ending| file_name(&path).ends_with(ending));
        let text = if has_ending && path.is_file() {
            Some(read(&path)?).filter(|text| irc::is_log(text))
        } else {
            None
        };
        match text {
            Some(text) => found.logs.push(log_file(&path, text, args)?),
            None => found.skipped.push((path, "no IRC log")),
        }
    }
    Ok(())
}

fn log_file(path: &Path, text: Vec<u8>, args: &ImportArgs) -> anyhow::Result<LogFile> {
    let name = file_name(path);
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let conversation = match &args.conversation {
        Some(conversation) => conversation.clone(),
        None => {
            let conversation = format!("{}{stem}", args.prefix);
            ConversationName::new(&conversation)
                .with_context(|| format!("{} cannot become {conversation:?}", path.display()))?
        }
    };
    let producer = producer(&conversation, &name, &text);
    let log = LogFile { path: path.to_owned(), conversation, producer, day: irc::day_in(&name), text };
    // Before anything is written: a message that is left out cannot be put in its place later.
    let is_too_long =
        |line: &[u8]| line.len() > BODY_BYTES_MAX && Line::parse(line).body.len() > BODY_BYTES_MAX;
    if let Some((number, _)) = (1..).zip(log.lines()).find(|(_, line)| is_too_long(line)) {
        bail!(
            "{}, line {number}: over {BODY_BYTES_MAX} bytes, the limit of a message; nothing was imported",
            path.display()
        );
    }
    Ok(log)
}

/// The same for every import of the same log, also when it has grown; another one for other logs that are
/// imported into the same conversation.
fn producer(conversation: &ConversationName, name: &str, text: &[u8]) -> ProducerId {
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    crate::producer::producer(&[
        b"quoth import",
        conversation.as_str().as_bytes(),
        name.as_bytes(),
        first_line,
    ])
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(paths: Vec<PathBuf>) -> ImportArgs {
        ImportArgs { paths, conversation: None, prefix: "irc/".to_owned() }
    }

    #[test]
    fn a_folder_gives_its_logs_and_says_what_it_skips() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("2004-12-25.b.raw.txt", "[00:00] <a> hi\n\nbye");
        write("a.log", "=== a joins\n[00:00] <a> hi\n");
        write("LICENSE.txt", "Creative Commons\n");
        write("notes.md", "[00:00] <a> hi\n");
        std::fs::create_dir(folder.path().join("older")).unwrap();
        let found = find(&args(vec![folder.path().to_owned()])).unwrap();
        let names: Vec<&str> = found.logs.iter().map(|log| log.conversation.as_str()).collect();
        assert_eq!(names, ["irc/2004-12-25.b", "irc/a"]);
        let skipped: Vec<String> = found.skipped.iter().map(|(path, _)| file_name(path)).collect();
        assert_eq!(skipped, ["LICENSE.txt", "notes.md", "older"]);
        let lines: Vec<&[u8]> = found.logs[0].lines().collect();
        assert_eq!(lines, [&b"[00:00] <a> hi"[..], b"", b"bye"]);
        assert_eq!((found.logs[0].day, found.logs[1].day), (Some(12_777), None));
        assert_eq!((found.logs[0].undated(), found.logs[1].undated()), (0, 1));

        let licence = find(&args(vec![folder.path().join("LICENSE.txt")])).unwrap_err();
        assert!(licence.to_string().contains("is no IRC log"), "{licence}");
        let twice = args(vec![folder.path().join("a.log"), folder.path().join("a.log")]);
        assert!(find(&twice).unwrap_err().to_string().contains("the same conversation"));
    }

    #[test]
    fn a_log_with_a_line_that_is_no_message_is_refused_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let log = |body_len: usize| {
            let path = folder.path().join("a.log");
            std::fs::write(&path, format!("[00:00] <a> hi\n[00:00] <a> {}\n", "x".repeat(body_len))).unwrap();
            find(&args(vec![path]))
        };
        assert_eq!(log(BODY_BYTES_MAX).unwrap().logs.len(), 1);
        let error = log(BODY_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("line 2: over 65536 bytes"), "{error}");
    }

    #[test]
    fn a_log_that_grows_keeps_its_producer_and_others_have_another() {
        let name = |name: &str| ConversationName::new(name).unwrap();
        let first = producer(&name("a"), "a.txt", b"one\n");
        assert_eq!(producer(&name("a"), "a.txt", b"one\ntwo\n"), first);
        assert_ne!(producer(&name("a"), "a.txt", b"two\n"), first);
        assert_ne!(producer(&name("a"), "b.txt", b"one\n"), first);
        assert_ne!(producer(&name("b"), "a.txt", b"one\n"), first);
    }
}
