/** The header: ward, counts by priority, link, sound, clock; and the footer. */
import { button, h, icon, setData, setIcon, setText } from "./dom.js";
import { clockTime, t, zoneName } from "./i18n.js";
import { isLoud, toneOf } from "./store.js";

const TONES = ["high", "medium", "low", "technical", "advisory"];
const SOUND_ICONS = { armed: "bell", off: "bell-off", lost: "bell-off", none: "bell-off" };

export class Top extends EventTarget {
  constructor(root, foot, store, who) {
    super();
    this.store = store;
    const tell = (name) => () => this.dispatchEvent(new CustomEvent(name));
    this.select = h("select", { id: "ward-select", on: { change: () => this.dispatchEvent(new CustomEvent("ward", { detail: this.select.value })) } });
    this.counts = new Map(TONES.map((tone) => [tone, this.#count(tone)]));
    this.link = h("div", { class: "link-state", role: "status" }, icon("link"), h("span", { class: "words" }));
    this.replay = who.replay;
    this.sound = who.silent ? null : button("", { kind: "sound-button", iconName: "bell-off", on: tell("sound") });
    this.time = h("span");
    this.zone = h("span", { class: "zone" });
    const images = h("a", { class: "button bare", href: "/images", "aria-label": t("nav.images") }, icon("image"), h("span", { class: "words", text: t("nav.images") }));
    const hush = h("span", { class: "hush", title: t("replay.silent_long") }, icon("bell-off"), h("span", { text: t("replay.silent") }));
    root.append(
      h("h1", { class: "brand" }, icon("logo"), h("span", { class: "name", text: t("app.name") })),
      ...(who.demo ? [h("span", { class: "badge", text: t("app.demo") })] : []),
      h("div", { class: "ward-pick" }, h("label", { for: "ward-select", text: t("ward.label") }), this.select),
      h("div", { class: "counts", role: "group", "aria-label": t("counts.label") }, ...[...this.counts.values()].map((one) => one.root)),
      h("span", { class: "spring" }),
      ...(this.replay === null ? [images] : []), this.link, this.sound ?? hush,
      button(t("theme.label"), { kind: "bare", iconName: "theme", on: tell("theme"), "aria-label": t("theme.label") }),
      button(t("help.open"), { kind: "bare", iconName: "help", on: tell("help"), "aria-label": t("help.open"), "aria-haspopup": "dialog" }),
      ...(this.replay === null ? [h("div", { class: "clock" }, this.time, this.zone)] : [])); // a replay's time is in its bar
    this.facts = h("span", { class: "facts" });
    foot.append(this.facts);
    this.#wards();
    store.addEventListener("wards", () => this.#wards());
    store.addEventListener("reset", () => this.#wards());
  }

  #count(tone) {
    const number = h("span", { text: "0" });
    const root = h("span", { class: `count tone-${tone}`, role: "img" }, icon(tone), number);
    return { root, number };
  }

  #wards() {
    const names = [...this.store.wards].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (names.join() === this.named && this.select.options.length) return;
    this.named = names.join();
    const chosen = this.select.value;
    this.select.replaceChildren(h("option", { value: "", text: t("ward.all") }), ...names.map((name) => h("option", { value: name, text: name })));
    this.select.value = names.includes(chosen) ? chosen : "";
  }

  /** Once a frame: counts. */
  frame(open) {
    for (const [tone, { root, number }] of this.counts) {
      const mine = open.filter((alarm) => toneOf(alarm) === tone);
      const loud = mine.filter(isLoud).length;
      const acked = mine.length - loud;
      setText(number, acked ? `${loud} + ${acked}✓` : String(loud));
      setData(root, "n", loud ? "some" : acked ? "acked" : "none");
      const label = t("counts.one", { priority: t(`priority.${tone}`), open: loud, acked });
      if (root.getAttribute("aria-label") !== label) root.setAttribute("aria-label", label);
    }
  }

  /** The words at the foot of a replay. */
  say(words) {
    setText(this.facts, words);
  }

  /** Once a second: clock, link, footer. */
  second(health) {
    const now = this.store.logMs ? this.store.nowMs() : Date.now();
    setText(this.time, clockTime(now));
    setText(this.zone, zoneName(now));
    const state = health.state === "live" ? "live" : health.state === "connecting" ? "connecting" : "lost";
    setData(this.link, "state", state);
    setText(this.link.lastChild, t(this.replay === null ? `link.${state}` : `link.replay_${state}`));
    if (this.replay !== null) return;
    const policy = this.store.policy;
    const delay = this.store.delayMs;
    if (policy) setText(this.facts, delay === null ? t("app.facts_unknown", policy) : t("app.facts", { ...policy, delay: `${(delay / 1000).toFixed(1)} s` }));
  }

  /** What the sound is doing. */
  soundState(state, sounding) {
    if (this.sound === null) return;
    const words = state === "armed" ? t(sounding ? "sound.sounding" : "sound.armed") : t(`sound.${state}`);
    setText(this.sound.querySelector(".words"), words);
    setIcon(this.sound.firstChild, SOUND_ICONS[state]);
    setData(this.sound, "sound", state);
    setData(this.sound, "sounding", sounding ?? "no");
    this.sound.setAttribute("aria-label", words);
  }
}
