// What is drawn: all charts of the page, from the data in it. The tables stand in the page already.

const data = JSON.parse($("data").textContent);
const systems = data.systems;
const shown = () => systems.filter(system => !system.hidden);
let round = 0;

// --- The distributions of each latency.

// What lies above the percentiles that the arrow keys go to, from p50.
const above = [0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 1e-3, 5e-4, 1e-4, 1e-5, 1e-6];

function drawLatencies() {
  const parent = $("latencies");
  parent.replaceChildren();
  for (const name of data.latencies) {
    const lines = shown().map(system => ({ ...system, points: system.curves[name] })).filter(line => line.points?.length);
    if (!lines.length) continue;
    const all = lines.flatMap(line => line.points);
    const least = Math.max(0.1, Math.min(...all.map(p => p[1]))), greatest = Math.max(...all.map(p => p[1]), least * 2);
    const nines = Math.max(...all.map(p => p[0]), 1);
    const time = times(least, greatest);
    const pair = html("div", parent, "pair");
    const own = { publish: "publish: how late the bench was", timer: "timer: its timer's part of that" };
    const what = own[name] ?? name;
    const part = n => 1 - 10 ** -n;
    draw(pair, {
      title: what, note: "part of the messages that took at most so long", label: `Distribution of ${what}`,
      height: 280, x: time,
      y: linear(0, 1, v => Math.round(v * 100) + " %"),
      lines: lines.map(line => ({ ...line, points: [[line.points[0][1], 0], ...line.points.map(([n, us]) => [us, part(n)])] })),
      read(line, x) {
        const [first, last] = [line.points[0], line.points.at(-1)];
        const y = x < first[0] ? 0 : x > last[0] ? 1 : between(line.points, x, 0, 1);
        return { x, y, value: y };
      },
      head: x => "within " + write("time", x),
      // What is below all must not read 100 %.
      tell: value => (value > 0.99 && value < 1 ? (Math.floor(value * 1e5) / 1e3).toFixed(3) : (value * 100).toFixed(1)) + " %",
      stops: Array.from({ length: 41 }, (_, i) => time.value(i / 40)),
    });
    const marks = [0, 1, 2, 3, 4, 5, 6, 7, 8].filter(n => n <= nines);
    draw(pair, {
      title: what, note: "by percentile", label: `Percentiles of ${what}`, height: 280, y: time,
      x: { at: n => n / nines, value: p => p * nines, ticks: marks, form: percent },
      lines, named: true,
      read(line, x) {
        const value = between(line.points, x, 0, 1);
        return { x, y: value, value };
      },
      head: x => x >= nines ? "the slowest of all" : "p" + percent(x).replace(" %", ""),
      tell: value => write("time", value),
      stops: [...above.map(part => -Math.log10(part)).filter(n => n < nines), nines],
    });
  }
}

// --- A round second by second.

function drawTimeline() {
  const parent = $("timeline");
  parent.replaceChildren();
  const ticking = shown().map(system => ({ ...system, ticks: system.rounds[round] })).filter(one => one.ticks?.at.length);
  const ats = ticking.flatMap(one => one.ticks.at);
  if (!ats.length) return void html("p", parent, "hint", "The run has no timeline.");
  const [from, to] = [Math.min(...ats), Math.max(...ats)];
  const longest = ticking.reduce((best, one) => one.ticks.at.length > best.length ? one.ticks.at : best, []);
  const link = [];
  const panes = [
    ["p50", "p50", "time"], ["p99", "p99", "time"], ["max", "max", "time"],
    ["rate", data.rate, "number"], ["cpu", "processors busy", "number"], ["memory", "memory", "size"],
  ].map(([key, title, kind]) => {
    const points = ticks => ticks.at.map((at, i) => [at, ticks[key][i]]);
    const hasAny = line => line.points.some(p => p[1] !== null);
    const lines = ticking.map(one => ({ ...one, points: points(one.ticks) })).filter(hasAny);
    const values = lines.flatMap(line => line.points.map(p => p[1])).filter(v => v !== null);
    return { title, kind, lines, values };
  }).filter(pane => pane.values.length);
  panes.forEach(({ title, kind, lines, values }, i) => {
    const greatest = Math.max(...values, kind === "number" ? 1e-3 : 1);
    const y = {
      time: () => times(Math.max(0.1, Math.min(...values)) * 0.9, greatest * 1.1, 5),
      size: () => sizes(greatest * 1.1),
      number: () => linear(0, greatest * 1.1, short),
    }[kind]();
    const bare = i + 1 < panes.length;
    draw(parent, {
      title, label: `${title} over time`, height: bare ? 118 : 134, bare, link, y, lines, named: true, snaps: true,
      x: linear(from, to, v => short(v) + " s", 10),
      shade: from < 0 ? [from, Math.min(0, to)] : null,
      read(line, x) {
        const at = line.points.reduce((best, p) => Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best);
        return { x: at[0], y: at[1], value: at[1] };
      },
      head: x => short(x) + " s" + (x < 0 ? ", warm-up" : ""),
      tell: value => write(kind, value),
      stops: longest,
    });
  });
}

// --- Round by round.

function drawStrips() {
  const parent = $("strips");
  parent.replaceChildren();
  for (const { name, kind, rounds } of data.figures) {
    const values = system => rounds[systems.indexOf(system)];
    const rows = shown().map(system => ({ ...system, values: values(system) })).filter(row => row.values.length);
    if (rows.length) strip(parent, name, kind, rows);
  }
  const ratios = $("ratio-strips");
  ratios.replaceChildren();
  const rows = data.ratios.map(({ name, rounds }) => ({ name, style: "s0", values: rounds[0] }));
  if (rows.length) strip(ratios, "", "number", rows, 1);
}

// --- The page.

function drawAll() {
  drawLatencies();
  drawTimeline();
  drawStrips();
}

for (const part of document.querySelectorAll(".charts, #legend, #copy")) part.hidden = false;
for (const box of document.querySelectorAll("[data-system]")) {
  box.addEventListener("change", () => {
    systems[box.dataset.system].hidden = !box.checked;
    drawAll();
  });
}
const most = Math.max(...systems.map(system => system.rounds.length));
for (let i = 0; most > 1 && i < most; i++) {
  const label = html("label", $("rounds"));
  const input = html("input", label);
  Object.assign(input, { type: "radio", name: "round", checked: i === 0 });
  label.append(String(i + 1));
  input.setAttribute("aria-label", `Round ${i + 1}`);
  input.addEventListener("change", () => { round = i; drawTimeline(); });
}
$("copy").addEventListener("click", async () => {
  const range = document.createRange();
  range.selectNodeContents($("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    await navigator.clipboard.writeText($("command").textContent);
    $("copy").textContent = "Copied";
  } catch {
    // Without the right to copy, the command stays selected.
    $("copy").textContent = "Selected";
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
});
let drawn = 0;
function fit() {
  // A phone's browser tells of a resize whenever its bars come and go.
  if (document.body.clientWidth === drawn) return;
  drawn = document.body.clientWidth;
  drawAll();
}
addEventListener("resize", fit);
fit();
