/** Forecasts of the opened bed: fetched now and then, told in words, and laid out as bands for the chart. */
import { forecast } from "./api.js";
import { percent, horizon } from "./outlook.js";
import { t } from "./i18n.js";
import { figure } from "./vitals.js";

const ASK_EVERY_MS = 20000;
const ASK_AGAIN_MS = 8000;
export const AHEAD = 900;

/** The forecast of one bed at a time: the one that is open. */
export class Forecasts extends EventTarget {
  constructor() {
    super();
    this.key = null;
    this.told = null;
    this.askedAt = -Infinity;
  }

  /** What the feed said last of that bed, or null; asks again when it is time, sooner when what it said is old. */
  of(bed, nowMs) {
    if (bed.key !== this.key) {
      this.key = bed.key;
      this.told = null;
      this.askedAt = -Infinity;
    }
    const pause = ageOf(this.told, nowMs).state === "stale" ? ASK_AGAIN_MS : ASK_EVERY_MS;
    if (performance.now() - this.askedAt > pause) this.#ask(bed);
    return this.told?.patient === bed.tile.patient ? this.told : null;
  }

  clear() {
    this.key = null;
    this.told = null;
  }

  async #ask(bed) {
    this.askedAt = performance.now();
    const told = await forecast(bed.tile).catch(() => null);
    if (!told || this.key !== bed.key) return;
    this.told = told;
    this.dispatchEvent(new CustomEvent("came", { detail: bed.key }));
  }
}

/** {state: none | now | stale, ageMs} of what the feed told of a bed, by the log's time. */
export function ageOf(told, nowMs) {
  if (!told?.vitals.length) return { state: "none", ageMs: 0 };
  const ageMs = Math.max(0, nowMs - told.now_ms);
  return { state: ageMs > told.stale_after_ms ? "stale" : "now", ageMs };
}

const nearest = (levels, wanted) => levels.reduce((best, level, n) => (Math.abs(level - wanted) < Math.abs(levels[best] - wanted) ? n : best), 0);

/** Which of the quantiles are the median, the inner and the outer bounds: indices into a row, and their levels. */
export function pick(levels) {
  const inner = nearest(levels, 0.25);
  const last = levels.length - 1;
  return { low: 0, innerLow: inner, median: nearest(levels, 0.5), innerHigh: last - inner, high: last };
}

/** Where a moment ahead stands on the chart: by the square root of time, so that minutes and hours both have room. */
export const placed = (seconds, furthest) => AHEAD * Math.sqrt(Math.max(0, seconds) / furthest);

/** Neighbouring points of one engine: it may change from one horizon to the next. */
function runs(points) {
  const found = [];
  for (const point of points) {
    if (found.at(-1)?.[0].engine === point.engine) found.at(-1).push(point);
    else found.push([point]);
  }
  return found;
}

/**
 * The bands of the vitals of one chart: {furthest, ticks: [seconds], parts: [{vital, engine, xs, rows}]}.
 * `fromMs` is the chart's now; `anchors` gives the last measured value of a vital, from which its band is drawn.
 */
export function bandsOf(told, vitals, fromMs, anchors) {
  const mine = (told?.vitals ?? []).filter((one) => vitals.includes(one.vital));
  if (!mine.length) return null;
  const lag = (told.at_ms - fromMs) / 1000;
  const furthest = Math.max(...mine.flatMap((one) => one.horizons_s)) + Math.max(0, lag);
  const at = pick(told.levels);
  const parts = [];
  const wanted = [at.low, at.innerLow, at.median, at.innerHigh, at.high];
  for (const vital of vitals) {
    const points = mine.filter((one) => one.vital === vital)
      .flatMap((one) => one.horizons_s.map((s, n) => ({ engine: one.engine, x: placed(s + lag, furthest), row: wanted.map((i) => one.quantiles[n][i]) })))
      .sort((a, b) => a.x - b.x);
    const anchor = anchors[vital];
    let before = typeof anchor === "number" ? { x: 0, row: Array(5).fill(anchor) } : null;
    for (const run of runs(points)) {
      const all = before ? [before, ...run] : run;
      parts.push({ vital, engine: run[0].engine, xs: all.map((p) => p.x), rows: all.map((p) => p.row) });
      before = run.at(-1);
    }
  }
  const ticks = [...new Set(mine.flatMap((one) => one.horizons_s))].sort((a, b) => a - b);
  return { furthest, lag, ticks, parts };
}

/** The furthest forecast of a vital: what the row says beside the band. */
export function furthestOf(told, vital) {
  return told.vitals.filter((one) => one.vital === vital).sort((a, b) => b.horizons_s.at(-1) - a.horizons_s.at(-1))[0] ?? null;
}

const bounds = (told) => {
  const levels = told.levels;
  return Math.round((levels.at(-1) - levels[0]) * 100);
};

/** One vital in a sentence: in 6 h 64–95 (90 %), and the limit that is likelier to be crossed: below 50: 1 %. */
export function aheadWords(told, vital, limits) {
  const one = furthestOf(told, vital);
  if (!one) return "";
  const row = one.quantiles.at(-1);
  const words = [t("ahead.range", { horizon: horizon(one.horizons_s.at(-1)), low: figure(vital, row[0]), high: figure(vital, row.at(-1)), n: bounds(told) })];
  const crossings = [["below", limits?.low], ["above", limits?.high]].filter(([side, limit]) => one[side] && typeof limit === "number");
  const [likeliest] = crossings.sort((a, b) => one[b[0]].at(-1) - one[a[0]].at(-1));
  if (likeliest) words.push(t(`ahead.${likeliest[0]}`, { limit: figure(vital, likeliest[1]), p: percent(one[likeliest[0]].at(-1)) }));
  return words.join(" · ");
}

/** Rows for the table of numbers: one a vital and horizon. */
export function numbers(told) {
  const at = pick(told.levels);
  return told.vitals.flatMap((one) => one.horizons_s.map((seconds, n) => {
    const row = one.quantiles[n];
    const p = (list) => (list ? percent(list[n]) : t("value.none"));
    const skill = one.skill?.[n];
    return { vital: t(`vital.${one.vital}`), horizon: horizon(seconds), median: figure(one.vital, row[at.median]), range: `${figure(one.vital, row[0])}–${figure(one.vital, row.at(-1))}`,
      below: p(one.below), above: p(one.above), engine: t(`engine.${one.engine}`), skill: typeof skill === "number" ? t("ahead.skill", { n: Math.round(skill * 100) }) : t("value.none") };
  }));
}
