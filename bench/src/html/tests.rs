use super::data::Data;
use super::*;
use crate::testing::sample;

const HOSTILE: &str = "</script><script>alert(1)</script><b a=\"'&{{script}}";

/// The sample with hostile text in all places that take text.
fn hostile() -> Outcome {
    let mut outcome = sample();
    outcome.command.push(HOSTILE.to_owned());
    outcome.profile[HOSTILE] = HOSTILE.into();
    outcome.network = Some(HOSTILE.into());
    let machine = &mut outcome.machine;
    let build = &mut outcome.build;
    for text in [&mut outcome.profile_name, &mut outcome.profile_about, &mut machine.cpu, &mut machine.kernel]
    {
        HOSTILE.clone_into(text);
    }
    for text in [&mut machine.system, &mut machine.filesystem, &mut build.version, &mut build.profile] {
        HOSTILE.clone_into(text);
    }
    outcome.ratios.iter_mut().for_each(|ratio| HOSTILE.clone_into(&mut ratio.what));
    for system in &mut outcome.systems {
        HOSTILE.clone_into(&mut system.name);
        HOSTILE.clone_into(&mut system.durability);
        if let Some(link) = &mut system.link {
            HOSTILE.clone_into(&mut link.protocol);
            link.congestion_control = Some(HOSTILE.to_owned());
        }
        system.version = Some(HOSTILE.to_owned());
        for round in &mut system.rounds {
            round.values.insert(HOSTILE.to_owned(), 1.0);
            let latency = round.latencies["ack"].clone();
            round.latencies.insert(HOSTILE.to_owned(), latency);
        }
        let merged = system.merged["ack"].clone();
        system.merged.insert(HOSTILE.to_owned(), merged);
    }
    outcome
}

/// What stands between two marks.
fn within<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    html.split_once(from).unwrap().1.split_once(to).unwrap().0
}

/// The data as a browser would read it.
fn embedded(html: &str) -> Data {
    serde_json::from_str(within(html, "id=\"data\">", "</script>")).unwrap()
}

/// The elements that are open where the page ends, and whatever closes something else than what is open.
fn unbalanced(html: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "link", "input"];
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, behind) = tag.split_once('>').unwrap();
        rest = behind;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
        if tag.starts_with('/') {
            if open.pop().as_ref() != Some(&name) {
                return vec![name];
            }
        } else if !tag.starts_with('!') && !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            if ["script", "style"].contains(&name.as_str()) {
                rest = rest.split_once(&format!("</{name}>")).unwrap().1;
            } else {
                open.push(name);
            }
        }
    }
    open
}

#[test]
fn the_page_needs_nothing_besides_itself() {
    let html = render(&sample());
    for outside in
        ["http:", "https:", "://", "\"//", "'//", "=//", "(//", "@import", "url(", " src=", "fetch("]
    {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("href=").count(), html.matches("href=\"data:,\"").count());
}

#[test]
fn the_page_is_balanced() {
    assert_eq!(unbalanced("<p><b></p></b>"), ["p"]);
    assert_eq!(unbalanced(&render(&sample())), Vec::<String>::new());
    assert_eq!(unbalanced(&render(&hostile())), Vec::<String>::new());
}

#[test]
fn what_is_embedded_is_what_the_charts_need() {
    assert_eq!(embedded(&render(&sample())), Data::of(&sample()));
    assert_eq!(embedded(&render(&hostile())), Data::of(&hostile()));
}

#[test]
fn no_text_from_outside_becomes_markup_or_a_part() {
    let html = render(&hostile());
    assert_eq!(html.matches("<script").count(), render(&sample()).matches("<script").count());
    assert!(!html.contains("<b a="));
    assert!(
        html.contains(
            "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;b a=&quot;&#39;&amp;{{script}}"
        )
    );
}

#[test]
fn a_report_is_small_however_long_the_run_was() {
    assert!(render(&sample()).len() < 150_000);
    let mut long = sample();
    for round in long.systems.iter_mut().flat_map(|system| &mut system.rounds) {
        round.timeline = round.timeline.iter().cycle().take(6_000).cloned().collect();
    }
    assert!(render(&long).len() < 300_000, "{}", render(&long).len());
}

#[test]
fn a_broken_promise_and_a_warning_are_seen_first() {
    let mut outcome = sample();
    outcome.systems[0].rounds[0].check.lost = 7;
    outcome.build.profile = "debug".to_owned();
    let html = render(&outcome);
    let header = within(&html, "<header>", "</header>");
    assert!(header.contains("class=\"notice bad\">FAILED: promises were broken: quoth: 7 lost"));
    assert!(header.contains("class=\"notice warning\">Warning: this is a debug build"));
    assert!(html.contains("<td class=\"bad\">7</td>"));
    assert!(within(&render(&sample()), "<header>", "</header>").contains("class=\"notice good\""));
}

#[test]
fn what_a_rival_breaks_is_told_and_fails_no_run() {
    let mut outcome = sample();
    outcome.systems[4].rounds[0].check.lost = 7;
    let html = render(&outcome);
    let header = within(&html, "<header>", "</header>");
    assert!(
        header.contains("class=\"notice warning\">") && header.contains("but by rivals: mosquitto: 7 lost")
    );
    assert!(!header.contains("FAILED") && outcome.is_clean());
    assert!(
        html.contains("what a rival did is told and fails no run")
            && html.contains("<td class=\"bad\">7</td>")
    );
}

#[test]
fn a_report_says_what_it_is_of() {
    let html = render(&sample());
    let setup = within(&html, "<dl class=\"facts\">", "</dl>");
    let known = ["0.1.0+9a3e5f5c01de", &"3f9a".repeat(16), "load average 0.120 before", "stolen: 0.100 %"];
    assert!(known.iter().all(|known| setup.contains(known)), "{setup}");
}

#[test]
fn each_system_is_told_with_its_encryption_and_durability() {
    let html = render(&sample());
    let systems = within(&html, "aria-label=\"Systems\"", "</table>");
    let row = |name: &str| within(systems, &format!("<th scope=\"row\">{name} "), "</tr>").to_owned();
    assert!(
        row("quoth").contains("<td>QUIC with TLS, BBR</td><td>stored: flushed to disk before the ack</td>")
    );
    assert!(row("append").contains("<td>no network</td><td>stored: fdatasync of each message</td>"));
    assert!(row("mosquitto").contains("<td>MQTT over TCP without TLS, CUBIC</td><td>memory"));
}

#[test]
fn acks_that_are_not_checked_are_not_counted_as_if_they_were() {
    let html = render(&sample());
    let promises = within(&html, "class=\"counts\"", "</table>");
    assert!(promises.contains("quinn relay</th><td>50,000</td><td>450,000</td><td>0</td>"), "{promises}");
    assert!(promises.contains("jetstream</th><td>–</td><td>450,000</td><td>0</td>"), "{promises}");
    assert!(promises.contains("append</th><td>–</td><td>–</td><td>–</td>"), "{promises}");
}

#[test]
fn of_a_server_that_ran_already_no_fact_of_this_machine_is_told_as_its_own() {
    let mut outcome = sample();
    outcome.server.ran_at = Some(([10, 0, 0, 7], 4433).into());
    outcome.server.binary_sha256 = None;
    let html = render(&outcome);
    let setup = within(&html, "<dl class=\"facts\">", "</dl>");
    for told in [
        "ext4 (here; the server&#39;s file system is unknown)",
        "ran already at 10.0.0.7:4433",
        "whatever network",
    ] {
        assert!(setup.contains(told), "no {told}: {setup}");
    }
    assert!(within(&html, "class=\"summary\"", "</ul>").contains("as it tells, at 10.0.0.7:4433"));
}

#[test]
fn a_doubtful_floor_is_marked_at_a_glance_and_in_all_ratios() {
    let mut outcome = sample();
    for round in &mut outcome.systems[2].rounds {
        round.values.insert(crate::outcome::doubt::QUIET_P99.to_owned(), 900.0);
    }
    outcome.ratios[0].doubt = outcome.systems[2].doubt(crate::figure::Quantile::P99);
    let html = render(&outcome);
    let headline = within(&html, "class=\"panels\"", "</section>");
    let mark = " append <em class=\"doubt\">doubtful</em>";
    // The p95, p99, p99.9 and max of acks; deliveries have no disk alone beside them.
    assert_eq!(headline.matches(mark).count(), 4, "{headline}");
    assert_eq!(html.matches("class=\"doubt\"").count(), 4);
    assert!(within(&html, "aria-label=\"ratios\"", "</table>").contains("less, doubtful"));
    assert!(within(&html, "<header>", "</header>").contains("append was held up"));
    assert!(within(&html, "id=\"data\">", "</script>").contains("quoth over quinn relay (doubtful)"));
    assert!(!render(&sample()).contains("class=\"doubt\""));
}

#[test]
fn the_figures_stand_in_the_page_without_scripts() {
    let html = render(&sample());
    let headline = within(&html, "class=\"panels\"", "</section>");
    assert!(headline.contains("<b>5.19×</b> quinn relay") && headline.contains(">1.39<small>ms</small>"));
    let numbers = within(&html, "class=\"tables\"", "</section>");
    assert!(numbers.contains("<td>13.6 MiB<span class=\"range\">13.4–13.7</span></td>"));
    assert!(html.contains("quoth bench run chat --rounds 5 --rivals jetstream,mosquitto</pre>"));
}

#[test]
fn a_run_with_next_to_nothing_is_a_page_too() {
    let mut outcome = sample();
    outcome.systems.truncate(1);
    outcome.ratios.clear();
    outcome.systems[0].merged.clear();
    outcome.systems[0].rounds.truncate(1);
    let round = &mut outcome.systems[0].rounds[0];
    round.latencies.clear();
    round.timeline.clear();
    assert_eq!(unbalanced(&render(&outcome)), Vec::<String>::new());
    outcome.systems.clear();
    assert_eq!(unbalanced(&render(&outcome)), Vec::<String>::new());
}
