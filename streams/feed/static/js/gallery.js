/** What the image pages know, and the stream that keeps it so. It only ever repeats what the feed said. */
import { session } from "./api.js";

const LOST_AFTER_MS = 6000;
const REOPEN_AFTER_MS = 12000;
const AGAIN_MS = [500, 1000, 2000, 4000];
const MOST = { findings: 6000, results: 1200, refusals: 400 };
const KEYS = { findings: "finding_id", results: "job_id", refusals: "refusal_id" };

export class Gallery extends EventTarget {
  constructor() {
    super();
    this.findings = new Map();
    this.results = new Map();
    this.refusals = new Map();
    this.leftOut = 0;
    this.ready = false;
    this.late = false;
    this.cursor = "";
    this.offsetMs = 0;
    this.beatAt = performance.now();
    this.failures = 0;
    this.source = null;
    this.#connect();
    setInterval(() => this.#watch(), 1000);
  }

  /** The feed's time now. */
  nowMs() {
    return Date.now() + this.offsetMs;
  }

  /** {state: connecting | live | lost | late, forMs}. */
  health() {
    const forMs = performance.now() - this.beatAt;
    if (forMs > LOST_AFTER_MS) return { state: "lost", forMs };
    if (!this.ready) return { state: "connecting", forMs };
    return { state: this.late ? "late" : "live", forMs };
  }

  /** Findings in the feed's own order: it gives each the text by which they sort. */
  worstFirst() {
    return [...this.findings.values()].sort((a, b) => (a.rank < b.rank ? -1 : 1));
  }

  /** Results, or refusals, newest first. */
  newest(kind) {
    return [...this[kind].values()].sort((a, b) => b.at_ms - a.at_ms);
  }

  /** Results of one image. */
  ofInstance(instance) {
    return this.newest("results").filter((one) => one.instance === instance);
  }

  /** The finding that came of a job, or null. */
  findingOf(jobId) {
    return [...this.findings.values()].find((one) => one.job_id === jobId) ?? null;
  }

  #take(told, whole) {
    this.leftOut = told.left_out;
    for (const [kind, key] of Object.entries(KEYS)) {
      const kept = this[kind];
      if (whole) kept.clear();
      for (const one of told[kind]) {
        kept.delete(one[key]);
        kept.set(one[key], one);
      }
      while (kept.size > MOST[kind]) kept.delete(kept.keys().next().value);
    }
    this.ready = true;
    this.dispatchEvent(new CustomEvent("change"));
  }

  #connect() {
    this.source?.close();
    this.openedAt = performance.now();
    const source = new EventSource(`/api/images/stream${this.cursor ? `?${new URLSearchParams({ cursor: this.cursor })}` : ""}`);
    this.source = source;
    const on = (name, take) => source.addEventListener(name, (event) => {
      if (source !== this.source) return;
      if (event.lastEventId) this.cursor = event.lastEventId;
      this.beatAt = performance.now();
      this.failures = 0;
      take(JSON.parse(event.data));
    });
    on("gallery", (told) => this.#take(told, true));
    on("images", (told) => this.#take(told, false));
    on("heartbeat", (beat) => {
      this.offsetMs = beat.server_ms - Date.now();
      this.late = beat.late;
      if (!beat.ready) this.ready = false;
      else if (!this.ready && this.cursor) this.ready = true;
    });
    source.addEventListener("cut", () => source === this.source && this.#again(0));
    source.onerror = () => {
      if (source === this.source && source.readyState === EventSource.CLOSED) this.#again(this.failures++);
    };
  }

  #again(failures) {
    this.source?.close();
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      const who = await session().catch(() => undefined);
      if (who === null) this.dispatchEvent(new CustomEvent("signedout"));
      else this.#connect();
    }, AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)]);
  }

  #watch() {
    const silent = performance.now() - this.beatAt;
    if (silent > REOPEN_AFTER_MS && performance.now() - this.openedAt > REOPEN_AFTER_MS) this.#connect();
    this.dispatchEvent(new CustomEvent("second"));
  }
}
