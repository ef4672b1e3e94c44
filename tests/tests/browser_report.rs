//! The bench's report in Chromium: it draws its charts without an error, and its switches and arrow keys do
//! what they say.

use std::path::Path;
use std::process::Command;

use quoth_bench::outcome::{Outcome, Role};
use quoth_bench::{html, testing};
use serde_json::Value;

/// Goes through the page as a reader would and leaves what it saw in the page, as JSON.
const READER: &str = r#"<script type="module">
const seen = {};
const all = selector => [...document.querySelectorAll(selector)];
const isDrawn = line => /^M[-\d. ML]+$/.test(line.getAttribute("d"));
const shown = () => all(".plot path.line").filter(isDrawn).length;
seen.lines = shown();
seen.titles = all("figcaption").map(caption => caption.textContent.trim());
seen.overflow = document.body.scrollWidth - document.body.clientWidth;
const isCut = element => element.scrollWidth > element.clientWidth;
seen.cut = all(".tables .scroll, .legend").filter(isCut).map(element => element.getAttribute("aria-label") ?? "legend");
seen.dark = getComputedStyle(document.body).backgroundColor !== "rgb(255, 255, 255)";
const key = (element, key) => element?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const isOfDelivery = plot => plot.getAttribute("aria-label").startsWith("Percentiles of delivery");
const percentiles = all(".plot").find(isOfDelivery);
key(percentiles, "Home");
seen.read = percentiles?.querySelector(".tip").innerText.split("\n").filter(text => text);
key(percentiles, "Escape");
seen.tips = all(".tip:not([hidden])").length;
const first = all("[data-system]")[0];
first?.click();
seen.linesWithoutFirst = shown();
first?.click();
const rounds = all("[name=round]");
const timeline = () => document.getElementById("timeline").innerHTML;
const before = timeline();
rounds[1]?.click();
seen.rounds = rounds.length;
seen.roundsDiffer = timeline() !== before;
seen.hacked = "hacked" in window;
document.body.replaceChildren(JSON.stringify(seen));
</script>"#;

/// What the reader saw. Anything on the browser's console fails.
fn read(outcome: &Outcome, width: u32, dark: bool) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    // Chromium's window is at least 500 wide.
    let narrow = format!("<style>html {{ max-width: {width}px }}</style></head>");
    let html =
        html::render(outcome).replace("</head>", &narrow).replace("</body>", &format!("{READER}</body>"));
    std::fs::write(&page, html).unwrap();
    let output = chromium(dir.path(), &page, width, dark).output().expect("timeout(1) of coreutils");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let told: Vec<_> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(told.is_empty(), "{told:?}");
    let dom = String::from_utf8(output.stdout).unwrap();
    let body = dom.split_once("<body>").unwrap().1.split_once("</body>").unwrap().0;
    serde_json::from_str(body).unwrap()
}

fn chromium(profile: &Path, page: &Path, width: u32, dark: bool) -> Command {
    // Chromium's own limit on virtual time does not end a page that hangs.
    let mut command = Command::new("timeout");
    command.args([
        "120",
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
    ]);
    command.arg(format!("--user-data-dir={}", profile.join("profile").display()));
    command.arg(format!("--window-size={width},1000"));
    command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)));
    command.arg("--dump-dom").arg(format!("file://{}", page.display()));
    command
}

#[test]
fn a_report_draws_all_of_its_charts() {
    let seen = read(&testing::sample(), 1400, false);
    // Distributions twice: four systems have deliveries, five have acks, and the bench was late with four.
    // Six figures over time, of four systems.
    assert_eq!(seen["lines"], 2 * (4 + 5 + 4 + 4) + 6 * 4, "{seen}");
    assert_eq!(seen["linesWithoutFirst"], 2 * (3 + 4 + 3 + 3) + 6 * 3, "{seen}");
    for title in
        ["p50", "p99", "max", "deliveries/s", "processors busy", "memory", "delivery p50", "cpu/delivery"]
    {
        assert!(seen["titles"].as_array().unwrap().contains(&title.into()), "no {title}: {seen}");
    }
    assert_eq!((&seen["rounds"], &seen["roundsDiffer"]), (&5.into(), &true.into()), "{seen}");
    assert_eq!((&seen["dark"], &seen["overflow"]), (&false.into(), &0.into()), "{seen}");
}

#[test]
fn arrow_keys_read_exact_values() {
    let seen = read(&testing::sample(), 1400, false);
    let p50 = testing::sample().systems[0].merged["delivery"].p50_us;
    let expected = ["p50", "quoth", &format!("{:.2} ms", p50 / 1e3)];
    let read: Vec<_> = seen["read"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(read[..3], expected, "{seen}");
    assert_eq!(seen["tips"], 0, "{seen}");
}

#[test]
fn a_report_fits_a_narrow_screen_and_a_dark_one() {
    for dark in [false, true] {
        let seen = read(&testing::sample(), 390, dark);
        assert_eq!((&seen["dark"], &seen["overflow"]), (&dark.into(), &0.into()), "{seen}");
        assert!(!seen["cut"].as_array().unwrap().contains(&"legend".into()), "{seen}");
    }
}

#[test]
fn no_figure_is_cut_on_a_small_laptop() {
    let mut outcome = testing::sample();
    for round in &mut outcome.systems[0].rounds {
        let values = [
            ("deliveries_per_cpu_s", 20_112.5),
            ("datagrams_per_delivery", 2.013_4),
            ("network_lost_packets", 1_234.0),
            ("network_late_p99_us", 123.4),
        ];
        for (i, (name, value)) in values.into_iter().enumerate() {
            round.values.insert(name.to_owned(), value * (1.0 + i as f64 / 7.0));
        }
    }
    for dark in [false, true] {
        let seen = read(&outcome, 1280, dark);
        assert_eq!((&seen["cut"], &seen["overflow"]), (&Value::Array(Vec::new()), &0.into()), "{seen}");
    }
}

#[test]
fn text_from_outside_runs_nowhere() {
    const HOSTILE: &str = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>";
    let mut outcome = testing::sample();
    outcome.profile_name = HOSTILE.to_owned();
    outcome.command.push(HOSTILE.to_owned());
    outcome.ratios[0].what = HOSTILE.to_owned();
    outcome.systems.iter_mut().for_each(|system| system.name = HOSTILE.to_owned());
    let seen = read(&outcome, 1400, false);
    assert_eq!(seen["hacked"], false, "{seen}");
    assert_eq!(seen["lines"], 2 * (4 + 5 + 4 + 4) + 6 * 4, "{seen}");
}

#[test]
fn a_report_of_next_to_nothing_is_drawn_without_an_error() {
    let mut outcome = testing::sample();
    outcome.systems.retain(|system| system.role == Role::Subject);
    outcome.ratios.clear();
    for round in &mut outcome.systems[0].rounds {
        round.timeline.clear();
        round.values.insert("stalls".to_owned(), 0.0);
    }
    outcome.systems[0].rounds.truncate(1);
    // As of a timer that is now and then not late at all: a logarithm has no place for it.
    outcome.systems[0].merged.get_mut("timer").unwrap().curve[0].1 = 0.0;
    let seen = read(&outcome, 1400, false);
    assert_eq!((&seen["lines"], &seen["rounds"]), (&8.into(), &0.into()), "{seen}");
    outcome.systems.clear();
    assert_eq!(read(&outcome, 1400, false)["lines"], 0);
}
