/** The last ten minutes of beds: once from the feed, then from the tiles. */
import { trend } from "./api.js";
import { VITALS } from "./vitals.js";

export const SPAN_S = 600;
const KEPT = 700;
const FRESH_MS = 2000;
const FETCHES_AT_ONCE = 2;
const LEAP_MS = 12000;
const FETCH_EVERY_MS = 5000;
const FORGET_AFTER_MS = 20 * 60 * 1000;

/**
 * The last ten minutes of the beds that have a strip or are open. A fast replay leaps from tile to tile: with
 * `leaping`, what lies between is asked for.
 */
export class Trends extends EventTarget {
  constructor(leaping = false) {
    super();
    this.leaping = leaping;
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
      kept = { data: null, bed, asked: performance.now(), waits: true, got: 0 };
      this.beds.set(bed.key, kept);
      this.queue.push(kept);
      this.#pump();
    }
    kept.asked = performance.now();
    return kept.data;
  }

  /** Appends what a tile says now to a bed that is being watched. */
  append(bed) {
    const kept = this.beds.get(bed.key);
    const data = kept?.data;
    const at = bed.tile.at_ms;
    if (!data || !at || at <= data.t_ms.at(-1)) return;
    if (this.leaping && at - data.t_ms.at(-1) > LEAP_MS && !kept.waits && performance.now() - kept.got > FETCH_EVERY_MS) {
      kept.waits = true;
      this.queue.push(kept);
      this.#pump();
    }
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
    kept.waits = false;
    kept.got = performance.now();
    this.running -= 1;
    this.append(kept.bed);
    this.dispatchEvent(new CustomEvent("came", { detail: kept.bed.key }));
    this.#pump();
  }
}
