//! A process that writes until it is killed: a test of the same program, which does nothing unless it is
//! asked.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Names the folder to the process that writes.
pub(crate) const DIR_VARIABLE: &str = "STORE_TO_WRITE";

/// Lets the process of a test write until it has said so often that something is stored, and kills it. Gives
/// the last one that it told.
pub(crate) fn write_and_be_killed(test: &str, dir: &Path, times: u64) -> u64 {
    let mut writer = Killed(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(DIR_VARIABLE, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let lines = BufReader::new(writer.0.stdout.take().unwrap()).lines();
    let stored = lines.filter_map(|line| line.unwrap().split_once("stored ")?.1.parse().ok());
    let mut last = 0;
    for (position, count) in stored.zip(1..) {
        last = position;
        // What it has told until then is in the pipe and counts too.
        if count == times {
            writer.0.kill().unwrap();
        }
    }
    last
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}
