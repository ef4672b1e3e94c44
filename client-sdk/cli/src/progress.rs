//! Progress on a terminal.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{
    HumanDuration, HumanFloatCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

/// Before that an estimate is a guess.
const ESTIMATE_AFTER: Duration = Duration::from_secs(3);

/// A progress bar where standard error is a terminal, and a hidden one elsewhere. Its template can say
/// `{rate}`, and `{left}` for how long it takes yet.
pub(crate) fn bar(len: Option<u64>, template: &str) -> ProgressBar {
    let is_terminal = std::io::stderr().is_terminal();
    let target =
        if is_terminal { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(len, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate).with_key("left", left)),
        Err(_) => bar,
    }
}

fn rate(state: &ProgressState, out: &mut dyn Write) {
    // What cannot be shown of a number that is shown again in a moment is no loss.
    write!(out, "{}/s", HumanFloatCount(state.per_sec().round())).ok();
}

fn left(state: &ProgressState, out: &mut dyn Write) {
    if state.elapsed() >= ESTIMATE_AFTER {
        let seconds = Duration::from_secs(state.eta().as_secs());
        write!(out, ", {} left", HumanDuration(seconds)).ok();
    }
}
