// Charts in SVG: lines with a cursor, and dots of rounds. Neither knows what it shows.

// --- Elements.

const $ = id => document.getElementById(id);
const NAMESPACE = $("svg").content.firstElementChild.namespaceURI;
function make(name, attributes, parent, text) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}
function html(name, parent, className = "", text) {
  const element = document.createElement(name);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}
function swatch(style, parent) {
  const svg = make("svg", { viewBox: "0 0 30 10", class: "swatch", "aria-hidden": "true" });
  make("line", { x1: 1, y1: 5, x2: 29, y2: 5 }, svg);
  const holder = html("span", parent, style);
  holder.append(svg);
  return holder;
}

// Between the points of a rising line, the value at x; nothing outside of it.
function between(points, x, from, to) {
  const i = points.findIndex(point => point[from] >= x);
  if (i < 0 || (i === 0 && points[0][from] > x)) return null;
  if (i === 0) return points[0][to];
  const [a, b] = [points[i - 1], points[i]];
  return a[to] + (b[to] - a[to]) * (b[from] === a[from] ? 1 : (x - a[from]) / (b[from] - a[from]));
}

// --- A chart of lines with a cursor that tells exact values, for a pointer and for arrow keys.
//
// chart: { title, note, label, height, x, y, lines: [{ name, style, points }], read(line, x), head(x), tell(value),
// stops, snaps, shade, named: whether names stand at the lines' ends, bare: whether the x axis has no labels, link: charts
// that share the cursor }. `stops` are the places that the arrow keys go to; a chart that snaps has values only there.

function draw(parent, chart) {
  const figure = html("figure", parent);
  const caption = html("figcaption", figure, "", chart.title + " ");
  if (chart.note) html("span", caption, "", chart.note);
  const plot = html("div", figure, "plot");
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", `${chart.label}. The arrow keys read values; all figures are in the tables.`);
  const width = Math.max(280, Math.round(figure.clientWidth));
  const named = chart.named && width > 480;
  const widest = Math.max(...chart.lines.map(line => line.name.length), 0);
  const box = { left: 58, right: named ? Math.min(150, 14 + widest * 7) : 10, top: 10, bottom: chart.bare ? 8 : 24 };
  const inner = { width: width - box.left - box.right, height: chart.height - box.top - box.bottom };
  const px = v => box.left + chart.x.at(v) * inner.width;
  const py = v => box.top + (1 - chart.y.at(v)) * inner.height;
  const bottom = box.top + inner.height;
  const svg = make("svg", { viewBox: `0 0 ${width} ${chart.height}`, "aria-hidden": "true" }, plot);

  if (chart.shade) {
    const [from, to] = chart.shade.map(px);
    make("rect", { class: "shade", x: from, y: box.top, width: to - from, height: inner.height }, svg);
  }
  for (const tick of chart.y.ticks) {
    make("line", { class: "grid", x1: box.left, x2: box.left + inner.width, y1: py(tick), y2: py(tick) }, svg);
    make("text", { x: box.left - 8, y: py(tick) + 4, "text-anchor": "end" }, svg, chart.y.form(tick));
  }
  let free = -Infinity;
  for (const tick of chart.x.ticks) {
    make("line", { class: "grid", x1: px(tick), x2: px(tick), y1: box.top, y2: bottom }, svg);
    const text = chart.x.form(tick), half = text.length * 3.5;
    if (chart.bare || px(tick) - half < free || px(tick) + half > width + 4) continue;
    make("text", { x: px(tick), y: bottom + 17, "text-anchor": "middle" }, svg, text);
    free = px(tick) + half + 8;
  }
  make("line", { class: "axis", x1: box.left, x2: box.left + inner.width, y1: bottom, y2: bottom }, svg);

  const ends = [];
  // The server lies above all others.
  for (const line of [...chart.lines].reverse()) {
    const { style, name } = line;
    let path = "", pen = "M";
    for (const [x, y] of line.points) {
      if (y === null) { pen = "M"; continue; }
      path += `${pen}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
      pen = "L";
    }
    make("path", { class: `line ${style}`, d: path }, svg);
    const last = line.points.findLast(point => point[1] !== null);
    if (last) ends.push({ style, name, x: px(last[0]), y: py(last[1]) });
  }
  if (named) label(svg, ends, box, inner);

  const cursor = make("line", { class: "cursor", y1: box.top, y2: bottom, visibility: "hidden" }, svg);
  const marks = make("g", {}, svg);
  const tip = html("div", plot, "tip");
  tip.hidden = true;
  tip.setAttribute("role", "status");
  const me = { hide, point };
  const linked = chart.link ?? [];
  linked.push(me);

  function hide() {
    cursor.setAttribute("visibility", "hidden");
    marks.replaceChildren();
    tip.hidden = true;
  }
  // Marks x; gives what each line has there.
  function point(x) {
    hide();
    cursor.setAttribute("x1", px(x));
    cursor.setAttribute("x2", px(x));
    cursor.setAttribute("visibility", "visible");
    const read = chart.lines.map(line => ({ ...line, ...chart.read(line, x) })).filter(told => told.value != null);
    for (const told of read) make("circle", { class: `mark ${told.style}`, cx: px(told.x), cy: py(told.y), r: 4 }, marks);
    return read;
  }
  function show(x) {
    for (const other of linked) other === me || other.point(x);
    const read = point(x);
    tip.replaceChildren();
    html("p", tip, "", chart.head(x));
    for (const told of read) {
      const row = swatch(told.style, tip);
      html("span", row, "", told.name);
      html("b", row, "", chart.tell(told.value));
    }
    tip.hidden = false;
    const scale = plot.clientWidth / width, at = px(x) * scale;
    const left = at + 14 + tip.offsetWidth > plot.clientWidth ? at - 14 - tip.offsetWidth : at + 14;
    tip.style.left = Math.max(0, Math.min(left, plot.clientWidth - tip.offsetWidth)) + "px";
  }
  const hideAll = () => linked.forEach(one => one.hide());
  const stops = chart.stops;
  let stop = Math.floor(stops.length / 2);
  const away = (i, x) => Math.abs(chart.x.at(stops[i]) - chart.x.at(x));
  const nearest = x => stops.reduce((best, _, i) => away(i, x) < away(best, x) ? i : best, 0);
  const pointAt = event => {
    const at = ((event.clientX - plot.getBoundingClientRect().left) * width / plot.clientWidth - box.left) / inner.width;
    if (at < -0.02 || at > 1.02) return hideAll();
    const x = chart.x.value(Math.max(0, Math.min(1, at)));
    stop = nearest(x);
    show(chart.snaps ? stops[stop] : x);
  };
  plot.addEventListener("pointermove", pointAt);
  plot.addEventListener("pointerdown", pointAt);
  // A finger leaves at once; what it has shown stays until another place is touched.
  plot.addEventListener("pointerleave", event => event.pointerType === "touch" || hideAll());
  plot.addEventListener("blur", hideAll);
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(stops[stop]));
  plot.addEventListener("keydown", event => {
    const to = { ArrowLeft: stop - 1, ArrowRight: stop + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (event.key === "Escape") return hideAll();
    if (to === undefined) return;
    event.preventDefault();
    stop = Math.max(0, Math.min(stops.length - 1, to));
    show(stops[stop]);
  });
}

// Names at the lines' ends, moved apart.
function label(svg, ends, box, inner) {
  const height = 15, x = box.left + inner.width + 8;
  ends.sort((a, b) => a.y - b.y);
  let free = -Infinity;
  for (const end of ends) free = (end.at = Math.max(end.y, free)) + height;
  let most = box.top + inner.height;
  for (const end of [...ends].reverse()) most = (end.at = Math.min(end.at, most)) - height;
  for (const end of ends) make("text", { class: `name ${end.style}`, x, y: end.at + 4 }, svg, end.name);
}

// --- Dots of rounds, a row for each list of values.

function strip(parent, title, kind, rows, one) {
  const values = rows.flatMap(row => row.values).filter(v => v > 0);
  if (!values.length) return;
  const figure = html("figure", parent);
  if (title) html("figcaption", figure, "", title);
  const width = Math.max(260, Math.round(figure.clientWidth));
  // Long names stand above their dots.
  const longest = Math.max(...rows.map(row => row.name.length)), wordy = longest > 22;
  const left = wordy ? 8 : Math.max(108, 12 + longest * 6.8), right = 78, row = wordy ? 40 : 24, inner = width - left - right;
  let [least, greatest] = [Math.min(...values, one ?? Infinity), Math.max(...values, one ?? 0)];
  const isWide = greatest > least * 3;
  // Two values alike to a hair must not look far apart.
  const pad = isWide ? 1.1 : Math.max(1.02, (greatest / least) ** 0.15);
  const axis = times(least / pad, greatest * pad);
  const px = v => left + axis.at(v) * inner;
  const height = rows.length * row + 6;
  const label = `${title || "Ratios"}, a dot for each round; the figures are in the tables`;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, figure);
  if (one) make("line", { class: "cursor", x1: px(one), x2: px(one), y1: 0, y2: height }, svg);
  rows.forEach(({ name, style, values }, i) => {
    const y = i * row + (wordy ? 28 : 14);
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length / 2;
    const median = (sorted[Math.floor(half - 0.5)] + sorted[Math.floor(half)]) / 2;
    const group = make("g", { class: style }, svg);
    make("title", {}, group, `${name}: ${values.map(v => write(kind, v)).join(", ")}`);
    make("text", { class: "who", x: 0, y: wordy ? y - 13 : y + 4 }, group, name);
    make("line", { class: "track", x1: left, x2: left + inner, y1: y, y2: y }, group);
    for (const value of values) if (value > 0) make("circle", { class: "round", cx: px(value), cy: y, r: 4.5 }, group);
    if (median > 0) make("line", { class: "median", x1: px(median), x2: px(median), y1: y - 8, y2: y + 8 }, group);
    make("text", { class: "figure", x: width, y: y + 4 }, group, write(kind, median));
  });
}
