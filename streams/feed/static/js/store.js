/** What the page knows: beds, alarms, the log's clock. It only ever repeats what the feed said; it invents nothing. */

const RANK = { high: 3, medium: 2, low: 1 };
const STATE_RANK = { active: 3, latched: 2, acknowledged: 1 };
const CLOSED_KEPT = 4000;
const OPEN = new Set(["active", "acknowledged", "latched"]);
const LOUD_EVENTS = new Set(["raised", "priority_raised", "realarmed", "escalated"]);

const inOrder = new Intl.Collator("en", { numeric: true }); // one for all: localeCompare makes one a call

export const bedKey = (ward, bed) => `${ward}/${bed}`;

/** Whether it is a prediction: it stands apart, makes no sound and moves no tile. */
export const isAdvisory = (alarm) => alarm.category === "advisory";

/** high, medium, low, technical or advisory: which mark, colour block and words an alarm gets. */
export const toneOf = (alarm) => (alarm.category === "technical" || isAdvisory(alarm) ? alarm.category : alarm.priority);

/** Whether a person still has to take note of it. */
export const isLoud = (alarm) => alarm.state === "active" || alarm.state === "latched";

/** Most urgent first: priority, then state, physiological before technical, then the older one. */
export function byUrgency(a, b) {
  return RANK[b.priority] - RANK[a.priority] || STATE_RANK[b.state] - STATE_RANK[a.state] ||
    (a.category === "technical") - (b.category === "technical") || a.onset_ms - b.onset_ms || (a.alert_id < b.alert_id ? -1 : 1);
}

/** `replay`: the name of the replay that is shown; its ages are told by its own log's clocks, which may stand still. */
export class Store extends EventTarget {
  constructor(replay = null) {
    super();
    this.replay = replay;
    this.wards = new Set();
    this.clocks = new Map();
    this.policy = null;
    this.logMs = 0;
    this.logAt = 0;
    this.clear();
  }

  /** Forgets beds and alarms; keeps wards, policy and the log's clock. */
  clear() {
    this.beds = new Map();
    this.alarms = new Map();
    this.closed = new Map();
    this.dirty = new Set();
    this.delayMs = null;
    this.dispatchEvent(new CustomEvent("cleared"));
  }

  /** The log's time now, carried on between messages by the browser's own steady clock; of a replay the ward's own. */
  nowMs(ward = null) {
    if (this.replay !== null) return this.clocks.get(ward) ?? this.logMs;
    return this.logMs ? this.logMs + (performance.now() - this.logAt) : Date.now();
  }

  /** Takes note that the log has reached `ms`; true when it moved on. */
  sawLog(ms) {
    if (!(ms > this.logMs)) return false;
    this.logMs = ms;
    this.logAt = performance.now();
    return true;
  }

  /** Takes note of how far each ward's part of the log is. */
  sawWards(clocks) {
    for (const [ward, ms] of Object.entries(clocks ?? {})) this.clocks.set(ward, ms);
  }

  applyWall(wall) {
    this.clear();
    this.policy = wall.policy;
    this.sawWards(wall.clocks);
    for (const ward of wall.wards) this.wards.add(ward);
    for (const alarm of wall.alarms) {
      if (!OPEN.has(alarm.state)) continue;
      this.alarms.set(alarm.alert_id, alarm);
      this.#join(alarm);
    }
    for (const tile of wall.beds) this.#put(tile);
    for (const bed of this.beds.values()) this.#settle(bed);
    for (const group of wall.outlooks ?? []) this.applyOutlook(group);
    this.dispatchEvent(new CustomEvent("reset"));
  }

  /** One ward's tiles; true when the log moved on. */
  applyTiles(frame) {
    const moved = this.sawLog(frame.now_ms);
    this.clocks.set(frame.ward, frame.now_ms);
    const delay = frame.now_ms - frame.at_ms;
    if (delay >= 0 && delay < 60000) this.delayMs = this.delayMs === null ? delay : this.delayMs * 0.9 + delay * 0.1;
    if (!this.wards.has(frame.ward)) {
      this.wards.add(frame.ward);
      this.dispatchEvent(new CustomEvent("wards"));
    }
    for (const tile of frame.beds) this.#put(tile);
    return moved;
  }

  /** What the models say of beds of one ward; of a bed that is not on the wall it says nothing. */
  applyOutlook(group) {
    for (const told of group.beds) {
      const bed = this.beds.get(bedKey(group.ward, told.bed));
      if (!bed || told.now_ms < (bed.outlook?.now_ms ?? 0)) continue;
      bed.outlook = { ...told, models: group.models, staleAfterMs: told.anomaly ? group.stale_after_ms : group.risks_stale_after_ms, risksStaleAfterMs: group.risks_stale_after_ms };
      this.dirty.add(bed.key);
    }
  }

  /** One transition. Repeats and older ones change nothing. */
  applyAlarm(step) {
    const before = this.alarms.get(step.alert_id);
    const seen = before?.seq ?? this.closed.get(step.alert_id) ?? -1;
    if (step.seq <= seen) return;
    const bed = this.#bed(step.ward, step.bed, step.patient);
    if (OPEN.has(step.state)) {
      this.alarms.set(step.alert_id, step);
      this.closed.delete(step.alert_id);
      this.#join(step);
    } else {
      this.alarms.delete(step.alert_id);
      this.closed.set(step.alert_id, step.seq);
      if (this.closed.size > CLOSED_KEPT) this.closed.delete(this.closed.keys().next().value);
      bed.steps.delete(step.alert_id);
    }
    this.#settle(bed);
    const loud = LOUD_EVENTS.has(step.event) && isLoud(step) && !isAdvisory(step);
    const advised = isAdvisory(step) && !before && isLoud(step);
    this.dispatchEvent(new CustomEvent("alarm", { detail: { step, bed, loud, advised, fresh: !before } }));
  }

  /** All open alarms, most urgent first; advisories are none. */
  openAlarms() {
    const all = [];
    for (const bed of this.beds.values()) all.push(...bed.alarms);
    return all.sort(byUrgency);
  }

  /** All open advisories. */
  openAdvisories() {
    const all = [];
    for (const bed of this.beds.values()) all.push(...bed.advisories);
    return all;
  }

  /** Beds changed since the last call. */
  takeDirty() {
    const dirty = this.dirty;
    this.dirty = new Set();
    return dirty;
  }

  #bed(ward, name, patient) {
    const key = bedKey(ward, name);
    let bed = this.beds.get(key);
    if (!bed) {
      const tile = { ward, bed: name, patient, heard_ms: 0, at_ms: 0, values: {}, news2: null, alarms: [] };
      bed = { key, tile, steps: new Map(), alarms: [], advisories: [], worst: null, outlook: null };
      this.beds.set(key, bed);
      this.dispatchEvent(new CustomEvent("beds"));
    }
    return bed;
  }

  #put(tile) {
    const bed = this.#bed(tile.ward, tile.bed, tile.patient);
    bed.tile = tile;
    this.#settle(bed);
  }

  #join(step) {
    this.#bed(step.ward, step.bed, step.patient).steps.set(step.alert_id, step);
  }

  /**
   * The alarms of a bed: the transitions of the alerts topic. One that only the scores know of (its transition is
   * still on the way) is shown too, by its condition: an alarm is never left out for want of a sentence.
   */
  #settle(bed) {
    const alarms = [...bed.steps.values()];
    for (const open of bed.tile.alarms ?? []) {
      if (!OPEN.has(open.state) || !open.alert_id || bed.steps.has(open.alert_id) || this.closed.has(open.alert_id)) continue;
      const { ward, bed: name, patient } = bed.tile;
      alarms.push({ seq: -1, escalation: 0, ward, bed: name, patient, message: open.condition.replaceAll("_", " "), ...open });
    }
    bed.alarms = alarms.filter((alarm) => !isAdvisory(alarm)).sort(byUrgency);
    bed.advisories = alarms.filter(isAdvisory).sort(byUrgency);
    bed.worst = bed.alarms[0] ?? null;
    this.dirty.add(bed.key);
  }
}

/**
 * Worst bed first: priority, state, the certain NEWS2, then its upper end. Among beds that are equal in all that was
 * measured, one with an advisory nobody has seen yet stands first; a score or a risk alone moves no tile, or the wall
 * would shuffle with every round of the models. Then the bed's name.
 */
export function byWorst(a, b) {
  const x = a.worst;
  const y = b.worst;
  return (y ? RANK[y.priority] : 0) - (x ? RANK[x.priority] : 0) ||
    (y ? STATE_RANK[y.state] : 0) - (x ? STATE_RANK[x.state] : 0) ||
    (b.tile.news2?.min ?? -1) - (a.tile.news2?.min ?? -1) ||
    (b.tile.news2?.max ?? -1) - (a.tile.news2?.max ?? -1) ||
    b.advisories.some(isLoud) - a.advisories.some(isLoud) ||
    inOrder.compare(a.key, b.key);
}
