/** Trends: ten minutes of a vital, by uPlot, with its limits drawn. Data come once from the feed, then from the tiles. */
import { trend } from "./api.js";
import { figure, VITALS } from "./vitals.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

const SPAN_S = 600;
const KEPT = 700;
const FRESH_MS = 2000;
const GAP_S = 15;
const FETCHES_AT_ONCE = 2;
const FORGET_AFTER_MS = 20 * 60 * 1000;

/** The last ten minutes of the beds that have a strip or are open. */
export class Trends extends EventTarget {
  constructor() {
    super();
    this.beds = new Map();
    this.queue = [];
    this.running = 0;
  }

  clear() {
    this.beds.clear();
    this.queue = [];
  }

  /** The history of a bed, asked for at most once; null until it has come. */
  of(bed) {
    let kept = this.beds.get(bed.key);
    if (!kept) {
      kept = { data: null, bed, asked: performance.now() };
      this.beds.set(bed.key, kept);
      this.queue.push(kept);
      this.#pump();
    }
    kept.asked = performance.now();
    return kept.data;
  }

  /** Appends what a tile says now to a bed that is being watched. */
  append(bed) {
    const data = this.beds.get(bed.key)?.data;
    const at = bed.tile.at_ms;
    if (!data || !at || at <= data.t_ms.at(-1)) return;
    data.t_ms.push(at);
    for (const vital of Object.keys(VITALS)) {
      const value = bed.tile.values[vital];
      const taken = value && at - value.at < FRESH_MS && typeof value.v === "number";
      const usable = taken && (value.tag === "ok" || value.tag === "clock_suspect");
      (data.series[vital] ??= data.t_ms.slice(1).map(() => null)).push(usable ? value.v : null);
    }
    if (data.t_ms.length > KEPT) {
      data.t_ms.splice(0, data.t_ms.length - SPAN_S);
      for (const list of Object.values(data.series)) list.splice(0, list.length - data.t_ms.length);
    }
  }

  /** Forgets beds nobody looked at for long. */
  tidy() {
    for (const [key, kept] of this.beds) if (performance.now() - kept.asked > FORGET_AFTER_MS) this.beds.delete(key);
  }

  async #pump() {
    if (this.running >= FETCHES_AT_ONCE || !this.queue.length) return;
    this.running += 1;
    const kept = this.queue.shift();
    const empty = { t_ms: [], series: {}, limits: {} };
    const got = await trend(kept.bed.tile, SPAN_S).catch(() => empty);
    kept.data = { t_ms: [...got.t_ms], series: got.series, limits: got.limits ?? {} };
    for (const vital of Object.keys(VITALS)) kept.data.series[vital] ??= kept.data.t_ms.map(() => null);
    this.running -= 1;
    this.append(kept.bed);
    this.dispatchEvent(new CustomEvent("came", { detail: kept.bed.key }));
    this.#pump();
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function extent(lists, limits, range) {
  let [low, high] = range;
  for (const list of lists) for (const v of list) if (typeof v === "number") { low = Math.min(low, v); high = Math.max(high, v); }
  for (const limit of limits) if (typeof limit === "number") { low = Math.min(low, limit - 1); high = Math.max(high, limit + 1); }
  return [low, high];
}

/** A line bridges what is missing for a few seconds; a longer gap stays open. */
const longGaps = (u, series, from, to, gaps) => gaps.filter(([start, end]) => end - start > (u.bbox.width * GAP_S) / SPAN_S);

/**
 * One chart of one or more vitals that share a scale. `axes` shows time and values (the panel), without it is a strip.
 * It is made for one width and theme; call `fit` when the box changes and `destroy` before forgetting it.
 */
export class Chart {
  constructor(box, vitals, { axes = false, mark = null } = {}) {
    this.box = box;
    this.vitals = vitals;
    this.axes = axes;
    this.mark = mark;
    this.plot = null;
    this.limits = {};
    this.range = [0, 1];
    this.span = [0, 1];
  }

  destroy() {
    this.plot?.destroy();
    this.plot = null;
  }

  /** Draws the data: {t_ms, series, limits}. `endMs` is the right edge. */
  draw(data, endMs) {
    const width = this.box.clientWidth;
    const height = this.box.clientHeight;
    if (!data || width < 20 || height < 12 || !window.uPlot) {
      this.#say(window.uPlot ? t("strip.none") : t("strip.unavailable"));
      return;
    }
    const lists = this.vitals.map((vital) => data.series[vital] ?? []);
    if (!lists.some((list) => list.some((v) => typeof v === "number"))) {
      this.destroy();
      this.#say(t("strip.none"));
      return;
    }
    this.limits = data.limits?.[this.vitals[0]] ?? {};
    const kind = VITALS[this.vitals[0]];
    this.range = extent(lists, [this.limits.low, this.limits.high], kind.range);
    this.span = [endMs / 1000 - SPAN_S, endMs / 1000];
    const columns = [data.t_ms.map((ms) => ms / 1000), ...lists];
    if (this.plot && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height });
    if (this.plot) this.plot.setData(columns);
    else {
      this.box.replaceChildren();
      this.plot = new window.uPlot(this.#options(width, height), columns, this.box);
    }
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-label", this.#words(lists[0], kind));
  }

  #say(words) {
    if (this.plot || this.box.dataset.said === words) return;
    this.box.dataset.said = words;
    this.box.replaceChildren(h("div", { class: "none", text: this.axes ? words : "" }));
  }

  #words(list, { unit }) {
    const vital = this.vitals[0];
    const numbers = list.filter((v) => typeof v === "number");
    if (!numbers.length) return t("strip.none");
    const say = (v) => figure(vital, v);
    return t("strip.label", { vital: t(`vital.${vital}`), first: say(numbers[0]), last: say(numbers.at(-1)),
      min: say(Math.min(...numbers)), max: say(Math.max(...numbers)), unit });
  }

  #options(width, height) {
    const hue = colour(VITALS[this.vitals[0]].hue);
    const muted = colour("--muted");
    const font = "11px " + getComputedStyle(document.body).fontFamily;
    const grid = { stroke: colour("--line"), width: 1 };
    const none = { show: false };
    const two = (n) => String(n).padStart(2, "0");
    return {
      width, height,
      padding: this.axes ? [6, 4, 0, 0] : [3, 1, 3, 1],
      cursor: { show: false }, legend: { show: false }, select: { show: false },
      scales: { x: { time: false, range: () => this.span }, y: { range: () => this.range } },
      axes: this.axes
        ? [{ stroke: muted, font, grid, ticks: none, size: 18, gap: 2, space: 70,
            values: (u, ticks) => ticks.map((s) => { const d = new Date(s * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}`; }),
            incrs: [60, 120, 180, 300] },
          { stroke: muted, font, grid, ticks: none, size: 34, gap: 4, space: 26 }]
        : [none, none],
      series: [{}, ...this.vitals.map((vital, n) => ({
        stroke: hue, width: n === 0 ? 1.6 : 1.1, spanGaps: false, gaps: longGaps,
        points: VITALS[vital].live ? none : { show: true, size: this.axes ? 4 : 3, fill: hue, width: 0 },
      }))],
      hooks: { drawClear: [(u) => this.#limitsOn(u)], draw: [(u) => this.#markOn(u)] },
    };
  }

  #limitsOn(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [name, dash] of [["low", [5, 4]], ["high", [5, 4]], ["extreme_low", [1.5, 3]], ["extreme_high", [1.5, 3]]]) {
      const limit = this.limits[name];
      if (typeof limit !== "number" || limit < this.range[0] || limit > this.range[1]) continue;
      ctx.strokeStyle = colour("--edge");
      ctx.setLineDash(dash.map((d) => d * devicePixelRatio));
      const y = Math.round(u.valToPos(limit, "y", true));
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }

  #markOn(u) {
    if (!this.mark) return;
    const x = Math.round(u.valToPos(this.mark / 1000, "x", true));
    const { ctx, bbox } = u;
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.save();
    ctx.strokeStyle = colour("--text");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  }
}
