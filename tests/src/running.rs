//! A command that goes on while a test looks at what it prints.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Bound of a hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command and its lines. Killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it with pipes.
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Types nothing more: the end of its standard input.
    pub fn types_no_more(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next line ends so.
    pub fn shows(&self, end: &str) {
        let line = self.lines.recv_timeout(TIMEOUT).unwrap();
        assert!(line.ends_with(end), "{line:?} in place of {end:?}");
    }

    /// Waits for a line with this text.
    pub fn hears(&self, text: &str) {
        self.comes_to(&[text], &[]);
    }

    /// Waits for a line that has all of the first ones, and nothing of the others.
    pub fn comes_to(&self, parts: &[&str], no_parts: &[&str]) {
        let mut heard = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            let has = |part: &&str| line.contains(part);
            if parts.iter().all(has) && !no_parts.iter().any(has) {
                return;
            }
            heard.push(line);
        }
        panic!("{parts:?} without {no_parts:?} did not come: {heard:?}");
    }

    /// Waits until it has ended by itself: with which code, and what it has told on standard error.
    pub fn ends(mut self) -> (Option<i32>, String) {
        // Its standard output is over then.
        while self.lines.recv_timeout(TIMEOUT).is_ok() {}
        let mut notes = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
        (self.child.wait().unwrap().code(), notes)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
