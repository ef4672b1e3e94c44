//! The report: one page that needs nothing besides itself. Rust writes all text and numbers into it, so they
//! are there without scripts too; the script draws the charts from the data in the page.
//!
//! What comes from outside, as names and commands, is escaped wherever it goes.

mod data;
mod escape;
mod facts;
mod figures;

use crate::outcome::{Outcome, Role, System};
use crate::promises::{MEANING, history};
use crate::unit::moment;
use crate::warning::warnings;
use escape::{for_script, text};

/// The report as an HTML document.
#[must_use]
pub fn render(outcome: &Outcome) -> String {
    fill(include_str!("report.html"), |part| match part {
        "style" => include_str!("report.css").to_owned(),
        "script" => {
            concat!(include_str!("axes.js"), include_str!("charts.js"), include_str!("page.js")).to_owned()
        }
        "data" => for_script(&data::Data::of(outcome)),
        "name" => text(&outcome.profile_name),
        "about" => text(&outcome.profile_about),
        "begun" => moment(outcome.started_unix_ms),
        "summary" => facts::summary(outcome),
        "notices" => notices(outcome),
        "subject" => text(figures::subject(outcome).map_or("", |subject| &subject.name)),
        "headline" => figures::headline(outcome),
        "legend" => figures::legend(outcome),
        "numbers" => figures::numbers(outcome),
        "ratios" => figures::ratios(outcome),
        "checked" => text(MEANING),
        "promises" => facts::promises(outcome),
        "systems" => facts::systems(outcome),
        "setup" => facts::setup(outcome),
        "command" => text(&outcome.command_text()),
        "profile" => text(&serde_json::to_string_pretty(&outcome.profile).unwrap_or_default()),
        unknown => unreachable!("the template names {unknown}"),
    })
}

/// Puts its parts into a template. In one pass, so that nothing in a part is taken for a part's name.
fn fill(template: &str, part: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").unwrap_or((behind, ""));
        filled.push_str(before);
        filled.push_str(&part(name));
        rest = behind;
    }
    filled + rest
}

/// What the history checker has found, and the warnings.
fn notices(outcome: &Outcome) -> String {
    let history = history(outcome);
    let rivals = outcome.systems.iter().filter(|system| system.role == Role::Rival);
    let class = match (outcome.is_clean(), rivals.map(System::check).all(|check| check.is_clean())) {
        (false, _) => "bad",
        (true, false) => "warning",
        (true, true) => "good",
    };
    let mut notices = format!("<p class=\"notice {class}\">{}</p>\n", text(&history));
    if let Some(failure) = &outcome.failure {
        notices.push_str(&format!("<p class=\"notice bad\">FAILED: {}</p>\n", text(&failure.to_string())));
    }
    for warning in warnings(outcome) {
        notices.push_str(&format!("<p class=\"notice warning\">Warning: {}</p>\n", text(&warning)));
    }
    notices
}

#[cfg(test)]
mod tests;
