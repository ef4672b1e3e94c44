//! The parts of the page that have figures.

use super::escape::text;
use crate::figure::{self, Figure, PUBLISH, Quantile, Spread, TIMER};
use crate::lateness::is_most_of;
use crate::outcome::{Outcome, Role, System};
use crate::table::{network, not_judged};
use crate::unit::{Scale, number};

/// The class of a system: a letter for its role and a number, which together give it a colour and dashes.
pub(super) fn style(outcome: &Outcome, i: usize) -> String {
    const STYLES_OF_A_ROLE: usize = 4;
    let role = outcome.systems[i].role;
    let letter = match role {
        Role::Subject => 's',
        Role::Floor => 'f',
        Role::Rival => 'r',
    };
    let before = outcome.systems[..i].iter().filter(|system| system.role == role).count();
    format!("{letter}{}", before % STYLES_OF_A_ROLE)
}

/// A switch for each system, with a piece of its line.
pub(super) fn legend(outcome: &Outcome) -> String {
    let switches = outcome.systems.iter().enumerate().map(|(i, system)| {
        format!(
            "<label class=\"{}\"><input type=\"checkbox\" checked data-system=\"{i}\"><svg class=\"swatch\" viewBox=\"0 0 30 10\" \
             aria-hidden=\"true\"><line x1=\"1\" y1=\"5\" x2=\"29\" y2=\"5\"/></svg>{}</label>\n",
            style(outcome, i),
            text(&system.name)
        )
    });
    switches.collect()
}

/// The server that is measured; the first one, where several shapes of a load are.
pub(super) fn subject(outcome: &Outcome) -> Option<&System> {
    outcome.systems.iter().find(|system| system.role == Role::Subject)
}

/// What there is to see at a glance: the server's figures with their ratios to floors.
pub(super) fn headline(outcome: &Outcome) -> String {
    let Some(subject) = subject(outcome) else { return String::new() };
    let mut panels: String = figure::latencies_of_systems(outcome)
        .map(|name| {
            let figures = Quantile::ALL.map(|quantile| Figure::Latency(name.clone(), quantile));
            panel(outcome, subject, &name, &figures)
        })
        .collect();
    panels.push_str(&panel(outcome, subject, "server", &figure::values(outcome)));
    panels
}

fn panel(outcome: &Outcome, subject: &System, title: &str, figures: &[Figure]) -> String {
    let cards: String = figures.iter().filter_map(|figure| card(outcome, subject, figure)).collect();
    if cards.is_empty() {
        return String::new();
    }
    format!("<div class=\"panel\"><h3>{}</h3><dl>\n{cards}</dl></div>\n", text(title))
}

fn card(outcome: &Outcome, subject: &System, figure: &Figure) -> Option<String> {
    let spread = figure.spread(subject)?;
    let scale = figure.scale(spread.median);
    let written = scale.write(spread.median);
    let (value, unit) = written.split_once(' ').unwrap_or((&written, ""));
    let floors = outcome.systems.iter().filter(|system| system.role == Role::Floor);
    let floors: String = floors
        .filter_map(|floor| {
            let ratio = Spread::of(&figure.ratios(subject, floor))?;
            let quantile = if let Figure::Latency(_, quantile) = figure { *quantile } else { Quantile::P50 };
            let is_doubtful = outcome.doubt(floor, quantile).is_some() || is_most_of(floor, figure);
            let doubtful = if is_doubtful { " <em class=\"doubt\">doubtful</em>" } else { "" };
            Some(format!("<span><b>{}×</b> {}{doubtful}</span>", number(ratio.median), text(&floor.name)))
        })
        .collect();
    let range = spread.range(scale);
    Some(format!(
        "<div><dt>{}</dt><dd><span class=\"value\">{value}<small>{unit}</small></span><span class=\"range\">{range}</span>\
         <span class=\"floors\">{floors}</span></dd></div>\n",
        text(&figure.head())
    ))
}

/// All figures of all systems.
pub(super) fn numbers(outcome: &Outcome) -> String {
    let mut tables = String::new();
    for latency in figure::latencies(outcome) {
        let caption = match latency.as_str() {
            PUBLISH => "publish: how late the bench was",
            TIMER => "timer: its timer's part of that",
            latency => latency,
        };
        let figures = Quantile::ALL.map(|quantile| Figure::Latency(latency.clone(), quantile));
        tables.push_str(&numbers_of(outcome, caption, &figures));
    }
    tables.push_str(&numbers_of(outcome, "single figures", &figure::values(outcome)));
    if let Some(told) = network(outcome) {
        tables.push_str(&format!("<p class=\"hint\">{}</p>\n", text(&told)));
    }
    let cpu = ["clients_cpu", "clients_cpu_busiest"].map(|name| Figure::Value(name.to_owned()));
    tables + &numbers_of(outcome, "the bench's own clients", &cpu)
}

fn numbers_of(outcome: &Outcome, caption: &str, figures: &[Figure]) -> String {
    /// With ranges below them, beside another table at 1,280 pixels.
    const COLUMNS_OF_HALF: usize = 5;
    let has_any = |figure: &Figure| outcome.systems.iter().any(|system| figure.spread(system).is_some());
    if !figures.iter().any(has_any) {
        return String::new();
    }
    let heads: String =
        figures.iter().map(|figure| format!("<th scope=\"col\">{}</th>", text(&figure.head()))).collect();
    let rows = outcome.systems.iter().filter_map(|system| {
        let spreads: Vec<_> = figures.iter().map(|figure| figure.spread(system)).collect();
        spreads.iter().any(Option::is_some).then(|| {
            let cells = figures.iter().zip(spreads).map(|(figure, spread)| cell(figure, spread));
            format!("<tr><th scope=\"row\">{}</th>{}</tr>\n", text(&system.name), cells.collect::<String>())
        })
    });
    let rows: String = rows.collect();
    let wide = if figures.len() > COLUMNS_OF_HALF { " wide" } else { "" };
    format!(
        "<div class=\"scroll{wide}\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption>\
         <thead><tr><td></td>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>\n",
        caption = text(caption)
    )
}

fn cell(figure: &Figure, spread: Option<Spread>) -> String {
    let Some(spread) = spread else { return "<td>–</td>".to_owned() };
    let scale = figure.scale(spread.median);
    format!("<td>{}<span class=\"range\">{}</span></td>", scale.write(spread.median), spread.range(scale))
}

/// The ratios of the run.
pub(super) fn ratios(outcome: &Outcome) -> String {
    if outcome.ratios.is_empty() {
        return "<p>The run has none.</p>".to_owned();
    }
    let why =
        not_judged(outcome).map_or_else(String::new, |why| format!("<p class=\"hint\">{}</p>", text(&why)));
    let rows = outcome.ratios.iter().map(|ratio| {
        let range = Spread::of(&ratio.rounds).map_or(String::new(), |spread| spread.range(Scale::NONE));
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}<span class=\"range\">{range}</span></td><td>{}</td></tr>\n",
            text(&ratio.what),
            number(ratio.median),
            ratio.aim()
        )
    });
    format!(
        "<div>{why}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"ratios\"><table><thead><tr><th scope=\"col\">\
         within a round</th><th scope=\"col\">median</th><th scope=\"col\">better</th></tr></thead><tbody>\n{}</tbody></table>\
         </div></div>",
        rows.collect::<String>()
    )
}
