/** One chart by uPlot: ten minutes of a vital with its limits, and where there is a forecast, its band beyond "now". */
import { AHEAD, aheadWords, bandsOf, placed } from "./bands.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { horizon } from "./outlook.js";
import { SPAN_S } from "./strips.js";
import { figure, VITALS } from "./vitals.js";

const GAP_S = 15;
const LETTER_PX = 5.6;
const LIMITS = [["low", [5, 4]], ["high", [5, 4]], ["extreme_low", [1.5, 3]], ["extreme_high", [1.5, 3]]];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function extent(lists, limits, range) {
  let [low, high] = range;
  for (const list of lists) for (const v of list) if (typeof v === "number") { low = Math.min(low, v); high = Math.max(high, v); }
  for (const limit of limits) if (typeof limit === "number") { low = Math.min(low, limit - 1); high = Math.max(high, limit + 1); }
  return [low, high];
}

/** A line bridges what is missing for a few seconds; a longer gap stays open. */
const longGaps = (u, series, from, to, gaps) => {
  const perSecond = u.bbox.width / (u.scales.x.max - u.scales.x.min);
  return gaps.filter(([start, end]) => end - start > perSecond * GAP_S);
};

/** Stripes in a colour: a band that is no network's is never mistaken for one. */
function hatch(ctx, stroke) {
  const tile = document.createElement("canvas");
  const size = Math.round(7 * devicePixelRatio);
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = stroke;
  pen.lineWidth = 1.4 * devicePixelRatio;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
    pen.stroke();
  }
  return ctx.createPattern(tile, "repeat");
}

/**
 * One chart of one or more vitals that share a scale. `axes` shows time and values (the panel), without it is a strip.
 * It is made for one width, theme and shape of forecast; `destroy` before forgetting it.
 */
export class Chart {
  constructor(box, vitals, { axes = false, mark = null } = {}) {
    this.box = box;
    this.vitals = vitals;
    this.axes = axes;
    this.mark = mark;
    this.plot = null;
    this.bands = null;
    this.limits = {};
    this.range = [0, 1];
    this.span = [0, 1];
    this.shape = "";
  }

  destroy() {
    this.plot?.destroy();
    this.plot = null;
  }

  /** Draws the data: {t_ms, series, limits}; `endMs` is now. `told`: the forecast to draw beyond it, or null. */
  draw(data, endMs, told = null) {
    const width = this.box.clientWidth;
    const height = this.box.clientHeight;
    if (!data || width < 20 || height < 12 || !window.uPlot) {
      this.#say(window.uPlot ? t("strip.none") : t("strip.unavailable"));
      return;
    }
    const lists = this.vitals.map((vital) => data.series[vital] ?? []);
    const anchors = Object.fromEntries(this.vitals.map((vital, n) => [vital, lists[n].findLast((v) => typeof v === "number")]));
    this.bands = bandsOf(told, this.vitals, endMs, anchors);
    if (!this.bands && !lists.some((list) => list.some((v) => typeof v === "number"))) {
      this.destroy();
      this.#say(t("strip.none"));
      return;
    }
    this.endS = endMs / 1000;
    this.limits = data.limits?.[this.vitals[0]] ?? {};
    const kind = VITALS[this.vitals[0]];
    const ahead = (this.bands?.parts ?? []).flatMap((part) => part.rows);
    this.range = extent([...lists, ...ahead], [this.limits.low, this.limits.high], kind.range);
    this.span = [-SPAN_S, this.bands ? AHEAD : 0];
    this.#show(this.#columns(data.t_ms, lists), width, height);
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-label", this.#words(lists[0], kind, told));
  }

  #show(columns, width, height) {
    const shape = (this.bands?.parts ?? []).map((part) => `${part.vital}:${part.engine}`).join();
    if (shape !== this.shape) this.destroy();
    this.shape = shape;
    if (this.plot && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height });
    if (this.plot) {
      this.plot.setData(columns);
      return;
    }
    this.box.replaceChildren();
    delete this.box.dataset.said;
    this.plot = new window.uPlot(this.#options(width, height), columns, this.box);
  }

  /** Seconds from now, measured ones below zero; then the lines, then five columns a band. */
  #columns(times, lists) {
    const past = times.map((ms) => ms / 1000 - this.endS);
    const parts = this.bands?.parts ?? [];
    const later = [...new Set(parts.flatMap((part) => part.xs))].sort((a, b) => a - b);
    const measured = lists.map((list) => [...list, ...later.map(() => null)]);
    const none = past.map(() => null);
    const told = parts.flatMap((part) => {
      const at = new Map(part.xs.map((x, n) => [x, part.rows[n]]));
      return [0, 1, 2, 3, 4].map((q) => [...none, ...later.map((x) => at.get(x)?.[q] ?? null)]);
    });
    return [[...past, ...later], ...measured, ...told];
  }

  #say(words) {
    if (this.plot || this.box.dataset.said === words) return;
    this.box.dataset.said = words;
    this.box.replaceChildren(h("div", { class: "none", text: this.axes ? words : "" }));
  }

  #words(list, { unit }, told) {
    const vital = this.vitals[0];
    const ahead = this.bands ? ` ${t("ahead.label", { words: aheadWords(told, vital, this.limits) })}` : "";
    const seen = list.filter((v) => typeof v === "number");
    if (!seen.length) return t("strip.none") + ahead;
    const say = (v) => figure(vital, v);
    return t("strip.label", { vital: t(`vital.${vital}`), first: say(seen[0]), last: say(seen.at(-1)),
      min: say(Math.min(...seen)), max: say(Math.max(...seen)), unit }) + ahead;
  }

  #options(width, height) {
    const muted = colour("--muted");
    const font = "11px " + getComputedStyle(document.body).fontFamily;
    const grid = { stroke: colour("--line"), width: 1 };
    const none = { show: false };
    const { series, bands } = this.#forecastSeries();
    const time = { stroke: muted, font, grid, ticks: none, size: 18, gap: 2, ...(this.bands ? this.#aheadTicks() : this.#clockTicks()) };
    return {
      width, height,
      padding: this.axes ? [6, 16, 0, 0] : [3, 1, 3, 1],
      cursor: { show: false }, legend: { show: false }, select: { show: false },
      scales: { x: { time: false, range: () => this.span }, y: { range: () => this.range } },
      axes: this.axes ? [time, { stroke: muted, font, grid, ticks: none, size: 34, gap: 4, space: 26 }] : [none, none],
      series: [{}, ...this.vitals.map((vital, n) => ({
        stroke: colour(VITALS[vital].hue), width: n === 0 ? 1.6 : 1.1, spanGaps: false, gaps: longGaps,
        points: VITALS[vital].live ? none : { show: true, size: this.axes ? 4 : 3, fill: colour(VITALS[vital].hue), width: 0 },
      })), ...series],
      bands,
      hooks: { drawClear: [(u) => this.#limitsOn(u)], draw: [(u) => this.#marksOn(u)] },
    };
  }

  /** The clock's time at whole minutes, though the scale counts seconds from now. */
  #clockTicks() {
    const two = (n) => String(n).padStart(2, "0");
    const clock = (s) => { const d = new Date((this.endS + s) * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}`; };
    return {
      splits: (u, axis, min, max) => {
        const step = [60, 120, 180, 300].find((s) => (s / (max - min)) * u.bbox.width / devicePixelRatio > 70) ?? 300;
        const first = Math.ceil((this.endS + min) / step) * step - this.endS;
        return Array.from({ length: Math.max(0, Math.floor((max - first) / step) + 1) }, (_, n) => first + n * step);
      },
      values: (u, ticks) => ticks.map(clock),
    };
  }

  /** Ten minutes back, now, and the moments that the forecast speaks of. */
  #aheadTicks() {
    const { ticks, lag, furthest } = this.bands;
    const places = new Map([[-SPAN_S, t("ahead.ten")], [0, t("ahead.now")], ...ticks.map((s) => [placed(s + lag, furthest), t("ahead.plus", { horizon: horizon(s) })])]);
    return {
      splits: (u) => {
        const px = u.bbox.width / devicePixelRatio / (SPAN_S + AHEAD);
        const kept = [0];
        const room = (x, other) => ((places.get(x).length + places.get(other).length) / 2 + 1) * LETTER_PX;
        for (const x of [...places.keys()].sort((a, b) => b - a)) if (kept.every((other) => other !== x && Math.abs(other - x) * px >= room(x, other))) kept.push(x);
        return kept.sort((a, b) => a - b);
      },
      values: (u, splits) => splits.map((x) => places.get(x) ?? ""),
    };
  }

  #forecastSeries() {
    const series = [];
    const bands = [];
    for (const part of this.bands?.parts ?? []) {
      const first = 1 + this.vitals.length + series.length;
      const hue = colour(VITALS[part.vital].hue);
      const quiet = { stroke: null, width: 0, spanGaps: true, points: { show: false } };
      const median = { stroke: hue, width: 1.6, spanGaps: true, dash: part.engine === "persistence" ? [3, 3] : undefined, points: { show: true, size: 4, fill: hue, width: 0 } };
      series.push(quiet, quiet, median, quiet, quiet);
      const fill = (alpha) => (u) => (part.engine === "persistence" ? hatch(u.ctx, hue + alpha) : hue + alpha);
      bands.push({ series: [first + 4, first], fill: fill("30") }, { series: [first + 3, first + 1], fill: fill("58") });
    }
    return { series, bands };
  }

  #limitsOn(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [name, dash] of LIMITS) {
      const limit = this.limits[name];
      if (typeof limit !== "number" || limit < this.range[0] || limit > this.range[1]) continue;
      ctx.strokeStyle = colour("--edge");
      ctx.setLineDash(dash.map((d) => d * devicePixelRatio));
      const y = Math.round(u.valToPos(limit, "y", true));
      line(ctx, bbox.left, y, bbox.left + bbox.width, y);
    }
    ctx.restore();
  }

  /** The dashed line of now before a forecast, the full one where an alarm began. */
  #marksOn(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = colour("--text");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    const upright = (at) => {
      const x = Math.round(u.valToPos(at, "x", true));
      if (x >= bbox.left && x <= bbox.left + bbox.width) line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    };
    if (this.mark) upright(this.mark / 1000 - this.endS);
    ctx.setLineDash([4, 3].map((d) => d * devicePixelRatio));
    if (this.bands) upright(0);
    ctx.restore();
  }
}

function line(ctx, fromX, fromY, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}
