/** The bar over a replay: what is shown and from when, how far it is, and the controls of those who may steer it. */
import { FeedError, steer } from "./api.js";
import { button, h, icon, setData, setText } from "./dom.js";
import { ageText, clockTime, dayText, t, zoneName } from "./i18n.js";

const MINUTE = 60000;
const DAY = 86400000;

const two = (n) => String(n).padStart(2, "0");

/** The seconds into the local day that a time field's text says, or null. */
function secondsOf(text) {
  const parts = /^(\d\d):(\d\d)(?::(\d\d))?$/.exec(text);
  return parts ? Number(parts[1]) * 3600 + Number(parts[2]) * 60 + Number(parts[3] ?? 0) : null;
}

/** The first moment after `afterMs` at which local clocks show that time of day. */
function nextAt(seconds, afterMs) {
  const day = new Date(afterMs);
  const at = (plus) => new Date(day.getFullYear(), day.getMonth(), day.getDate() + plus, 0, 0, seconds).getTime();
  return at(0) > afterMs ? at(0) : at(1);
}

export class ReplayBar extends EventTarget {
  constructor(root, user, store) {
    super();
    this.root = root;
    this.store = store;
    this.name = user.replay;
    this.maySteer = user.role !== "viewer";
    this.told = null;
    this.picked = null;
    this.asked = null;
    root.setAttribute("aria-label", t("replay.label"));
    this.sources = h("span", { class: "replay-of" });
    this.state = h("b", { class: "replay-state", role: "status" });
    this.facts = h("span", { class: "replay-facts" });
    this.other = h("span", { class: "replay-other" });
    this.time = h("time", { text: "--:--:--" });
    this.day = h("span", { class: "replay-day" });
    this.from = h("span", { class: "replay-end" });
    this.to = h("span", { class: "replay-end" });
    root.replaceChildren(
      h("div", { class: "replay-name" }, icon("replay"), h("div", {}, h("b", { text: t("replay.mark") }), h("span", { text: t("replay.not_live") }))),
      h("div", { class: "replay-when" }, h("span", { class: "replay-lab", text: t("replay.log_time") }), this.time, this.day),
      h("div", { class: "replay-what" },
        h("div", { class: "replay-line" }, h("h2", { text: user.replay }), this.sources, this.state, this.facts, this.other),
        h("div", { class: "replay-steer" }, h("div", { class: "replay-track" }, this.from, this.#track(), this.to), this.maySteer ? this.#acts() : "")));
    if (this.maySteer) document.body.append(this.#stopping());
  }

  /** Takes what the feed says of the replay. */
  tell(told) {
    this.told = told;
    const { progress } = told;
    if (this.asked && progress && progress.heeded >= this.asked.number) {
      if (progress.refused && progress.heeded === this.asked.number) this.#say(t("replay.refused", { why: progress.refused }));
      this.asked = null;
    }
    this.#state();
    this.#span();
    this.#decided(told.decisions);
    if (this.maySteer) this.#enable();
  }

  /** Whenever something came: the log's time. */
  frame() {
    const ms = this.store.logMs;
    if (!ms) return;
    setText(this.time, clockTime(ms));
    setText(this.day, `${dayText(ms)} ${zoneName(ms)}`);
  }

  /** Where the replay is and may go, in the times that are shown; null while it says nothing. */
  #places() {
    const progress = this.told?.progress;
    if (!progress) return null;
    const by = progress.shift_ms ?? 0;
    return { from: progress.from_ms + by, to: progress.to_ms + by, at: progress.at_ms + by, by };
  }

  #state() {
    const { progress, ready, trouble, behind } = this.told;
    const state = !progress ? "none" : progress.runs && progress.paused ? "paused" : progress.state;
    setData(this.root, "state", state);
    const asked = this.asked ? `, ${t(`replay.asked.${this.asked.what}`)}` : "";
    setText(this.state, t(`replay.state.${state}`) + asked);
    const facts = [];
    if (progress) {
      facts.push(progress.speed === null ? t("replay.unpaced") : t("replay.speed", { n: progress.speed }));
      if (progress.share !== null) facts.push(t("replay.share", { n: Math.floor(progress.share * 100) }));
      if (progress.runs && progress.late_ms !== null && progress.speed !== null) facts.push(t("replay.late", { n: progress.late_ms < 10 ? progress.late_ms.toFixed(1) : Math.round(progress.late_ms) }));
      if (progress.shift_ms) facts.push(t("replay.moved", { by: (progress.shift_ms < 0 ? "−" : "+") + ageText(Math.abs(progress.shift_ms)) }));
    }
    if (!ready && behind) facts.push(t("replay.reading", { n: behind.toLocaleString("en") }));
    else if (trouble) facts.push(t("replay.trouble", { why: trouble }));
    else if (behind > 100) facts.push(t("replay.behind", { n: behind.toLocaleString("en") }));
    setText(this.facts, facts.join(" · "));
    this.facts.title = this.facts.textContent;
    setText(this.sources, progress ? t("replay.of", { sources: progress.sources.join(", ") }) : "");
  }

  #span() {
    const places = this.#places();
    this.track.hidden = !places;
    if (!places) return;
    const { from, to, at } = places;
    const write = (ms) => (to - from > DAY / 2 ? `${clockTime(ms)}, ${dayText(ms, false)}` : clockTime(ms));
    setText(this.from, write(from));
    setText(this.to, write(to));
    for (const [name, value] of [["min", from], ["max", to]]) if (this.slider.getAttribute(name) !== String(value)) this.slider.setAttribute(name, value);
    if (this.picked !== null && this.picked <= at) this.#pick(null);
    const shown = this.picked ?? at;
    this.slider.value = shown;
    this.slider.setAttribute("aria-valuetext", clockTime(shown));
    const share = (ms) => `${(100 * Math.min(1, Math.max(0, (ms - from) / Math.max(1, to - from)))).toFixed(2)}%`;
    this.track.style.setProperty("--past", share(at));
    this.track.style.setProperty("--pick", share(shown));
  }

  #decided(decisions) {
    const words = [];
    if (decisions?.other_policy) words.push(t("replay.policy", { policy: decisions.policy, hash: decisions.policy_hash }));
    if (decisions?.other_models.length) words.push(t("replay.models", { models: decisions.other_models.join(", ") }));
    setText(this.other, words.join(" · "));
    this.other.title = this.other.textContent;
    this.other.hidden = !words.length;
  }

  /** What was decided, for the foot of the page. */
  get summary() {
    const { decisions } = this.told ?? {};
    if (!decisions) return "";
    const same = decisions.same_as_live === null ? "" : `, ${t(decisions.same_as_live ? "replay.same" : "replay.not_same")}`;
    return t("replay.facts", { policy: decisions.policy, hash: decisions.policy_hash, transitions: decisions.transitions, ledger: decisions.hash.slice(0, 12) }) + same;
  }

  #track() {
    this.slider = h("input", { type: "range", min: "0", max: "1", step: "1000", value: "0", "aria-label": t("replay.where"), disabled: !this.maySteer });
    this.slider.addEventListener("input", () => {
      const { at } = this.#places();
      const wanted = Number(this.slider.value);
      this.#pick(wanted > at ? wanted : null);
      this.#span();
    });
    this.track = h("div", { class: "replay-slider", hidden: true }, this.slider);
    this.root.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#pick(null); });
    return this.track;
  }

  #acts() {
    const skip = (minutes) => button(t("replay.skip", { n: minutes }), {
      iconName: "skip", on: () => this.#skip(minutes * MINUTE), "aria-label": t(minutes === 1 ? "replay.skip_label_one" : "replay.skip_label", { n: minutes }), data: { act: `skip-${minutes}` } });
    this.pause = button(t("replay.pause"), { iconName: "pause", on: () => this.#toggle(), data: { act: "pause" } });
    this.field = h("input", { type: "time", step: "1", id: "replay-to" });
    this.field.addEventListener("change", () => this.#typed());
    const go = h("form", { class: "replay-go" }, h("label", { for: "replay-to", text: t("replay.go_to") }), this.field,
      this.go = button(t("replay.go"), { "aria-label": t("replay.go_label"), data: { act: "go" } }));
    this.go.type = "submit";
    go.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.picked !== null && this.#steerable()) this.#send("seek", this.picked);
    });
    this.stop = button(t("replay.stop"), { iconName: "stop", on: () => this.#steerable() && this.dialog.showModal(), data: { act: "stop" }, "aria-haspopup": "dialog" });
    this.acts = [this.pause, skip(1), skip(10), this.go, this.stop];
    return h("div", { class: "replay-acts" }, this.pause, this.acts[1], this.acts[2], go, this.stop);
  }

  #stopping() {
    this.dialog = h("dialog", { class: "help replay-ask", "aria-labelledby": "replay-ask" },
      h("h2", { id: "replay-ask", text: t("replay.stop_title") }), h("p", { text: t("replay.stop_words", { name: this.name }) }),
      h("div", { class: "choice" },
        button(t("replay.stop_no"), { on: () => this.dialog.close() }),
        button(t("replay.stop_yes"), { kind: "main-act", on: () => { this.dialog.close(); this.#send("stop"); }, data: { act: "stop-yes" } })));
    return this.dialog;
  }

  #steerable() {
    return this.told?.progress?.runs === true;
  }

  #enable() {
    const runs = this.#steerable();
    const paused = this.told.progress?.paused === true;
    for (const one of this.acts) one.setAttribute("aria-disabled", String(!runs || (one === this.go && this.picked === null)));
    this.slider.disabled = this.field.disabled = !runs;
    setText(this.pause.querySelector(".words"), t(paused ? "replay.go_on" : "replay.pause"));
    this.pause.querySelector("use").setAttribute("href", paused ? "#i-play" : "#i-pause");
    if (!runs && this.dialog.open) this.dialog.close();
  }

  #pick(ms) {
    this.picked = ms;
    if (!this.maySteer) return;
    const day = new Date(ms ?? 0);
    this.field.value = ms === null ? "" : [day.getHours(), day.getMinutes(), day.getSeconds()].map(two).join(":");
    this.#enable();
  }

  #typed() {
    const places = this.#places();
    const seconds = secondsOf(this.field.value);
    if (!places || seconds === null) return this.#pick(null);
    const ms = nextAt(seconds, places.at);
    if (ms <= places.to) this.#pick(ms);
    else {
      this.#pick(null);
      const past = nextAt(seconds, places.from) <= places.at;
      this.#say(past ? t("replay.behind_it", { time: clockTime(places.at) }) : t("replay.beyond", { time: clockTime(places.to) }));
    }
    return this.#span();
  }

  #toggle() {
    if (this.#steerable()) this.#send(this.told.progress.paused ? "go_on" : "pause");
  }

  #skip(ms) {
    const places = this.#places();
    if (this.#steerable()) this.#send("seek", Math.min(places.to, places.at + ms));
  }

  /** Sends a wish; `toMs` in the times that are shown. */
  async #send(what, toMs = null) {
    const by = this.#places()?.by ?? 0;
    this.#pick(null);
    try {
      const { number } = await steer(toMs === null ? { what } : { what, to_ms: toMs - by });
      this.asked = { number, what };
      this.#state();
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      this.#say(t("replay.failed", wrong));
    }
  }

  #say(words) {
    this.dispatchEvent(new CustomEvent("say", { detail: words }));
  }
}
