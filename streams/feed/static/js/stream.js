/**
 * The live stream: EventSource with resume, and the watch that tells a living link from a picture of one.
 * The browser resumes by Last-Event-ID itself; when it gives up, we open anew with the cursor.
 */
import { session } from "./api.js";

export const LOST_AFTER_MS = 6000;
const REOPEN_AFTER_MS = 12000;
const BACKOFF_MS = [500, 1000, 2000, 4000];

export class Stream extends EventTarget {
  constructor(store) {
    super();
    this.store = store;
    this.ward = "";
    this.cursor = "";
    this.source = null;
    this.failures = 0;
    this.beatAt = performance.now();
    this.logAt = performance.now();
    this.openedAt = performance.now();
    this.timer = null;
    this.fresh = true;
  }

  /** Opens the stream of one ward ("" for all); a change of ward starts afresh. */
  open(ward) {
    if (ward !== this.ward) this.cursor = "";
    this.ward = ward;
    this.fresh = true;
    this.#connect();
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** {state: live | connecting | link | log, forMs}: is what we show alive, and if not, for how long? */
  health() {
    if (this.fresh) {
      const waited = performance.now() - this.openedAt;
      return waited > LOST_AFTER_MS ? { state: "link", forMs: waited } : { state: "connecting", forMs: waited };
    }
    const beat = performance.now() - this.beatAt;
    const log = performance.now() - this.logAt;
    if (beat > REOPEN_AFTER_MS && performance.now() - this.openedAt > REOPEN_AFTER_MS) this.#connect();
    if (beat > LOST_AFTER_MS) return { state: "link", forMs: beat };
    if (!this.store.logMs) return { state: "connecting", forMs: 0 };
    if (log > LOST_AFTER_MS && this.store.replay === null) return { state: "log", forMs: log }; // a replay may stand still
    return { state: this.source?.readyState === EventSource.OPEN ? "live" : "connecting", forMs: 0 };
  }

  #connect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.openedAt = performance.now();
    const query = new URLSearchParams();
    if (this.ward) query.set("ward", this.ward);
    if (this.cursor) query.set("cursor", this.cursor);
    const text = query.toString();
    const source = new EventSource(`/api/stream${text ? `?${text}` : ""}`);
    this.source = source;
    const on = (name, take) => source.addEventListener(name, (event) => {
      if (source !== this.source) return;
      if (event.lastEventId) this.cursor = event.lastEventId;
      take(JSON.parse(event.data));
    });
    on("wall", (wall) => {
      this.cursor = wall.cursor ?? this.cursor;
      this.#alive();
      this.#saw(wall.clock_ms, wall.server_ms);
      this.store.applyWall(wall);
    });
    on("tiles", (frame) => {
      if (this.store.applyTiles(frame)) this.logAt = performance.now();
    });
    on("outlook", (group) => this.store.applyOutlook(group));
    on("alarm", (step) => this.store.applyAlarm(step));
    on("replay", (told) => this.dispatchEvent(new CustomEvent("replay", { detail: told })));
    on("heartbeat", (beat) => {
      this.#alive();
      this.#saw(beat.clock_ms, beat.server_ms);
      this.store.sawWards(beat.wards);
    });
    on("cut", () => this.#again(0));
    source.onerror = () => {
      if (source === this.source && source.readyState === EventSource.CLOSED) this.#again(this.failures++);
    };
  }

  /** Notes the log's time. The first one may be old already: a log that stood still before we came is not live. */
  #saw(clockMs, serverMs) {
    const first = !this.store.logMs;
    if (!clockMs || !this.store.sawLog(clockMs)) return;
    this.logAt = performance.now() - (first ? Math.max(0, serverMs - clockMs) : 0);
    if (first) this.store.logAt = this.logAt;
  }

  #alive() {
    this.beatAt = performance.now();
    this.failures = 0;
    this.fresh = false;
  }

  /** Connects anew after a while, unless the session has ended. */
  #again(failures) {
    this.source?.close();
    clearTimeout(this.timer);
    const wait = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)];
    this.timer = setTimeout(async () => {
      const who = await session().catch(() => undefined);
      if (who === null) this.dispatchEvent(new CustomEvent("signedout"));
      else this.#connect();
    }, wait);
  }
}
