"use strict";
// Numbers as the tables write them, and axes.

function digits(value) {
  const size = Math.abs(value);
  const decimals = value === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : size >= 0.0995 ? 3 : 4;
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}
// A unit is one when the value is not below it.
const fitting = (value, units) => units.findLast(([factor]) => Math.abs(value) >= factor * 0.9995) ?? units[0];
const units = {
  time: [[1, "µs"], [1e3, "ms"], [1e6, "s"]],
  size: [[1, "B"], [2 ** 10, "KiB"], [2 ** 20, "MiB"], [2 ** 30, "GiB"]],
  seconds: [[1, "s"]],
  number: [[1, ""]],
};
function write(kind, value, form = digits) {
  const [factor, unit] = fitting(value, units[kind]);
  return (form(value / factor) + " " + unit).trim();
}
// On an axis, without zeros that say nothing.
const short = value => Number(value.toPrecision(3)).toLocaleString("en-US");
// With as many digits as there are nines.
const percent = nines => Number((100 - 100 * 10 ** -nines).toFixed(Math.max(0, Math.ceil(nines) - 1))) + " %";

// --- Axes. Each has `at` (value to 0..1), `value` (back) and `ticks`.

function linear(least, greatest, form, parts = 4) {
  const rough = (greatest - least) / parts || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(n => n * power >= rough) * power;
  const ticks = [];
  for (let n = Math.ceil(least / step); n * step <= greatest + step / 1e6; n++) ticks.push(n * step);
  return { at: v => (v - least) / (greatest - least || 1), value: p => least + p * (greatest - least), ticks, form };
}
// Steps that are whole in the unit: of 1,024 for sizes.
function sizes(greatest) {
  const [factor] = fitting(greatest, units.size);
  const axis = linear(0, greatest / factor);
  const ticks = axis.ticks.map(tick => tick * factor);
  return { at: v => axis.at(v / factor), value: p => axis.value(p) * factor, ticks, form: v => write("size", v, short) };
}
// What is below its least, as nothing at all, is shown there. As many ticks as `parts` allow, at round numbers.
function logarithmic(least, greatest, form, parts = 8) {
  const from = Math.log10(least), to = Math.max(Math.log10(greatest), from + 0.01);
  const steps = [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 5]].find(steps => steps.length * (to - from) <= parts) ?? [1];
  const ticks = [];
  for (let decade = Math.floor(from); decade <= to; decade++) {
    for (const step of steps) {
      const tick = Math.log10(step) + decade;
      if (tick >= from - 1e-9 && tick <= to + 1e-9) ticks.push(step * 10 ** decade);
    }
  }
  return { at: v => (Math.log10(Math.max(v, least)) - from) / (to - from), value: p => 10 ** (from + p * (to - from)), ticks, form };
}
const times = (least, greatest, parts) => logarithmic(least, greatest, v => write("time", v, short), parts);
