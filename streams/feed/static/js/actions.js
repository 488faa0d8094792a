/** What a person does: sent once, marked as pending, and believed only when the transition comes back. */
import { act, FeedError } from "./api.js";
import { t } from "./i18n.js";
import { bedKey, isLoud } from "./store.js";

const ANSWER_WITHIN_MS = 8000;
const WORDS = { acknowledge: "act.acknowledge", pause_audio: "act.pause", resume_audio: "act.resume", escalate: "act.escalate", note: "act.note" };

/** A fresh id; crypto.randomUUID would need a secure context, which a ward's plain http is not. */
export function actionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Actions extends EventTarget {
  constructor(store, who) {
    super();
    this.store = store;
    this.who = who;
    this.waiting = new Map();
    store.addEventListener("alarm", ({ detail: { step } }) => {
      if (step.action_id) this.#settle(step.action_id);
    });
    store.addEventListener("reset", () => {
      for (const id of [...this.waiting.keys()]) this.#settle(id);
    });
  }

  /** Whether there is anything to act on: of a replay there is not, whoever looks at it. */
  get possible() {
    return this.who.replay === null;
  }

  get mayAct() {
    return this.possible && this.who.role !== "viewer";
  }

  /** Whether something sent for that bed (or that alarm) has not come back yet. */
  isPending(key, alertId = null) {
    for (const one of this.waiting.values()) if (one.key === key && (alertId === null || one.alertId === null || one.alertId === alertId)) return true;
    return false;
  }

  /** Acknowledges one alarm, or the worst of the bed; an advisory only when no alarm waits. */
  acknowledge(bed, alarm = bed.alarms.find(isLoud) ?? bed.advisories.find(isLoud)) {
    if (!alarm) return this.#say(t("act.nothing", { bed: bed.tile.bed }));
    return this.#send("acknowledge", bed, { alert_id: alarm.alert_id });
  }

  /** Pauses the sound of a bed for as long as the policy lets. */
  pause(bed) {
    if (!bed.alarms.some(isLoud)) return this.#say(t("act.nothing_to_pause", { bed: bed.tile.bed }));
    return this.#send("pause_audio", bed, { pause_s: this.pauseSeconds() });
  }

  pauseSeconds() {
    return Math.round(this.store.policy?.audio_pause_max_s ?? 120);
  }

  resume(bed) {
    return this.#send("resume_audio", bed, {});
  }

  escalate(bed, alarm) {
    return this.#send("escalate", bed, alarm ? { alert_id: alarm.alert_id } : {});
  }

  note(bed, text) {
    return this.#send("note", bed, { text });
  }

  async #send(kind, bed, extra) {
    const what = t(WORDS[kind], { s: this.pauseSeconds() });
    if (!this.possible) return this.#say(t("replay.no_acts"));
    if (!this.mayAct) return this.#say(t("act.viewer", { role: this.who.role }));
    const { ward, bed: name } = bed.tile;
    const id = actionId();
    const key = bedKey(ward, name);
    const timer = setTimeout(() => {
      this.#settle(id);
      this.#say(t("act.no_answer", { what, s: ANSWER_WITHIN_MS / 1000 }));
    }, ANSWER_WITHIN_MS);
    this.waiting.set(id, { key, alertId: extra.alert_id ?? null, timer });
    this.#changed(key);
    try {
      await act({ action_id: id, kind, ward, bed: name, ...extra });
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      this.#settle(id);
      this.#say(t("act.failed", { what, message: wrong.message, hint: wrong.hint }));
    }
    return undefined;
  }

  #settle(id) {
    const one = this.waiting.get(id);
    if (!one) return;
    clearTimeout(one.timer);
    this.waiting.delete(id);
    this.#changed(one.key);
  }

  #changed(key) {
    this.store.dirty.add(key);
    this.dispatchEvent(new CustomEvent("changed", { detail: key }));
  }

  #say(words) {
    this.dispatchEvent(new CustomEvent("say", { detail: words }));
  }
}
