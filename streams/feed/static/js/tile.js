/** One bed's tile: built once, then only what changed is written. */
import { h, icon, setData, setIcon, setText } from "./dom.js";
import { ageText, stopwatch, t } from "./i18n.js";
import { isLoud, toneOf } from "./store.js";
import { Chart } from "./chart.js";
import { OutlookMark } from "./outlook.js";
import { figure, newsShown, PRESSURES, shown, VITALS } from "./vitals.js";

const SILENT_AFTER_MS = 10000;
const BIG = ["heart_rate", "spo2", "respiration"];

function number(vital, unit, extra = null) {
  const hue = VITALS[vital] && !["supplemental_oxygen", "consciousness"].includes(vital) ? vital : vital === "pressure" ? vital : "other";
  const parts = { val: h("span", { class: "val" }), note: h("span", { class: "note" }) };
  const label = h("span", { class: "lab" }, h("span", { text: t(`short.${vital}`) }), unit ? h("span", { class: "unit", text: unit }) : null);
  label.append(parts.note);
  parts.root = h("div", { class: `num v-${hue}`, data: { vital } }, label, h("span", { class: "line" }, parts.val, extra));
  return parts;
}

/** The bed's alarm of that vital that matters most, or undefined. */
const alarmOf = (bed, vitals) => bed.alarms.find((alarm) => alarm.category === "physiological" && vitals.includes(alarm.vital ?? vitalOf(alarm.condition)));
const vitalOf = (condition) => Object.keys(VITALS).find((vital) => condition.startsWith(vital));

export class Tile {
  constructor(bed, replay = null) {
    this.key = bed.key;
    this.silentFor = replay === null ? "tile.silent_for" : "tile.replay_silent_for";
    this.charts = null;
    this.place = "";
    this.build();
  }

  build() {
    this.numbers = new Map(BIG.map((vital) => [vital, number(vital, VITALS[vital].unit)]));
    this.mean = h("span", { class: "mean" });
    this.numbers.set("pressure", number("pressure", "mmHg", this.mean));
    this.numbers.set("temperature", number("temperature", "°C"));
    this.numbers.set("supplemental_oxygen", number("supplemental_oxygen", "L/min"));
    this.numbers.set("consciousness", number("consciousness", ""));
    const small = ["pressure", "temperature", "supplemental_oxygen", "consciousness"];
    const e = this.e = {
      bed: h("span", { class: "bed" }), patient: h("span", { class: "patient" }),
      news: h("span", { class: "news" }, h("span", { class: "label", text: t("news.label") })),
      score: h("span", { class: "score" }), band: h("span", { class: "band" }),
      mark: icon("high"), stars: h("span", { class: "stars" }), message: h("span", { class: "message" }),
      check: h("span", { class: "acked" }, icon("check"), h("span", { text: t("tile.acked") })),
      pause: h("span", { class: "paused" }, icon("bell-pause"), h("span")),
      over: h("span", { class: "over", text: t("tile.latched") }),
      escalated: h("span", { class: "escalated", text: t("tile.escalated") }),
      pending: h("span", { class: "pending", text: t("act.pending") }),
      since: h("span", { class: "since" }), more: h("span", { class: "more" }),
      silentAge: h("small"),
      stripA: h("div", { class: "strip-box" }), stripB: h("div", { class: "strip-box" }),
      nameA: h("span", { class: "name" }), nameB: h("span", { class: "name" }),
    };
    e.news.append(e.score, e.band);
    e.markBox = h("span", { class: "mark" }, e.mark, e.stars);
    e.aside = h("span", { class: "aside" }, e.pending, e.escalated, e.over, e.check, e.pause, e.since, e.more);
    this.mark = new OutlookMark();
    e.alarm = h("div", { class: "tile-alarm" }, e.markBox, e.message, e.aside);
    e.head = h("div", { class: "tile-head" }, e.bed, e.patient, e.news);
    this.root = h("div", { class: "tile", role: "option", tabindex: "-1", "aria-selected": "false", data: { bed: this.key } },
      h("div", { class: "tile-body" },
        e.head, e.alarm,
        h("div", { class: "big" }, ...BIG.map((vital) => this.numbers.get(vital).root)),
        h("div", { class: "small" }, ...small.map((vital) => this.numbers.get(vital).root)),
        h("div", { class: "strips" }, h("div", { class: "strip" }, e.nameA, e.stripA), h("div", { class: "strip" }, e.nameB, e.stripB)),
        h("div", { class: "silent" }, t("tile.silent"), e.silentAge)));
  }

  /** Writes the bed as it is now. `pending`: an action on it has been sent and not yet come back. */
  update(bed, nowMs, pending) {
    const { tile } = bed;
    const e = this.e;
    setText(e.bed, tile.bed);
    setText(e.patient, tile.patient.slice(-6));
    const silentMs = tile.heard_ms ? nowMs - tile.heard_ms : Infinity;
    const silent = silentMs > SILENT_AFTER_MS;
    setData(this.root, "silent", silent ? "yes" : "no");
    if (silent) setText(e.silentAge, Number.isFinite(silentMs) ? t(this.silentFor, { age: ageText(silentMs) }) : t("tile.never"));
    const news = newsShown(tile.news2);
    setText(e.score, news.score);
    setText(e.band, news.gaps && tile.news2 ? t("news.gaps", { band: news.words }) : news.words);
    setData(e.news, "band", news.band);
    setData(e.news, "gaps", news.gaps ? "yes" : "no");
    const scored = bed.alarms.find((alarm) => alarm.condition === "news2");
    setData(e.news, "breach", scored ? (scored.state === "active" ? "loud" : "quiet") : null);
    const name = scored ? `news tone-${toneOf(scored)}` : "news";
    if (e.news.className !== name) e.news.className = name;
    this.#alarm(bed, nowMs, pending);
    const spoken = silent ? [t("tile.silent")] : this.#values(bed, nowMs);
    const worst = bed.worst;
    const said = worst
      ? t("tile.alarm_spoken", { priority: t(`priority.${toneOf(worst)}`), message: worst.message, state: t(`state.${worst.state}`) })
      : t("tile.no_alarm");
    const outlook = this.#outlook(bed, nowMs);
    const label = t("tile.label", { outlook, bed: tile.bed, alarm: said, values: spoken.join(", ") + ".", news: t("news.spoken", { score: news.score, band: news.words }) });
    if (this.root.getAttribute("aria-label") !== label) this.root.setAttribute("aria-label", label);
  }

  /** The mark stands in the alarm's row while that is free, else in the head. Returns its words and the advisories'. */
  #outlook(bed, nowMs) {
    const place = bed.worst ? this.e.head : this.e.alarm;
    if (this.mark.root.parentNode !== place) place.insertBefore(this.mark.root, bed.worst ? this.e.news : null);
    const words = this.mark.update(bed, nowMs);
    return [...bed.advisories.map((one) => t("tile.advisory_spoken", { message: one.message, state: t(`state.${one.state}`) })), words].filter(Boolean).join(" ");
  }

  #alarm(bed, nowMs, pending) {
    const e = this.e;
    const worst = bed.worst;
    const tone = worst ? toneOf(worst) : null;
    const loud = worst !== null && isLoud(worst);
    const frame = tone ?? null;
    const changed = this.root.dataset.alarm !== (frame ?? undefined) || this.root.dataset.quiet !== (loud ? "no" : "yes");
    setData(this.root, "alarm", frame);
    setData(this.root, "quiet", worst ? (loud ? "no" : "yes") : null);
    this.root.className = tone ? `tile tone-${tone}` : "tile";
    e.alarm.className = tone ? `tile-alarm tone-${tone}` : "tile-alarm";
    setData(e.alarm, "kind", worst ? (loud ? "loud" : "quiet") : "none");
    e.markBox.hidden = e.aside.hidden = !worst;
    if (!worst) {
      setText(e.message, this.#quality(bed));
      return;
    }
    setIcon(e.mark, tone);
    setText(e.stars, t(`stars.${tone}`));
    setText(e.message, worst.message);
    setText(e.since, stopwatch(nowMs - worst.onset_ms));
    setText(e.more, bed.alarms.length > 1 ? t("tile.more", { n: bed.alarms.length - 1 }) : "");
    e.more.hidden = bed.alarms.length < 2;
    e.check.hidden = worst.state !== "acknowledged";
    e.over.hidden = worst.state !== "latched";
    e.escalated.hidden = !(worst.escalation > 0) || worst.state === "acknowledged";
    e.pending.hidden = !pending;
    const left = (worst.audio_until_ms ?? 0) - nowMs;
    e.pause.hidden = !(left > 0);
    if (left > 0) setText(e.pause.lastChild, t("tile.paused", { left: stopwatch(left + 999) }));
    e.since.hidden = left > 0 || worst.state === "acknowledged" || pending;
    if (changed) this.inStep();
  }

  /** All flashing frames flash together, whenever each began. */
  inStep() {
    for (const animation of this.root.getAnimations({ subtree: true })) if (animation.animationName === "flash") animation.startTime = 0;
  }

  /** Says when values are not measured now but carried or computed by the source. */
  #quality(bed) {
    const kinds = new Set(BIG.map((vital) => bed.tile.values[vital]?.q));
    return kinds.has("interpolated") ? t("tile.interpolated") : kinds.has("held") ? t("tile.held") : "";
  }

  /** Writes the numbers; returns them as words. */
  #values(bed, nowMs) {
    const { values } = bed.tile;
    const spoken = [];
    for (const vital of [...BIG, "temperature", "supplemental_oxygen", "consciousness"]) {
      const now = shown(vital, values[vital], nowMs);
      if (vital === "consciousness") setData(this.numbers.get(vital).root, "plain", values[vital]?.v === "A" ? "yes" : null);
      this.#write(vital, now.text, now.state, now.note, alarmOf(bed, [vital]), !values[vital]);
      if (values[vital]) spoken.push(`${t(`vital.${vital}`)} ${now.text} ${VITALS[vital].unit} ${now.note}`.trimEnd());
    }
    const [systolic, diastolic, mean] = PRESSURES.map((vital) => shown(vital, values[vital], nowMs));
    const worst = [systolic, diastolic, mean].find((one) => !["ok", "none"].includes(one.state)) ?? systolic;
    const any = PRESSURES.some((vital) => values[vital]);
    const both = values.systolic || values.diastolic;
    this.#write("pressure", both ? `${systolic.text}/${diastolic.text}` : "", any ? worst.state : "none", worst.note, alarmOf(bed, PRESSURES), !any);
    setText(this.mean, values.mean_pressure ? `(${mean.text})` : "");
    if (any) spoken.push(`${t("vital.pressure")} ${systolic.text} ${diastolic.text} mmHg ${worst.note}`.trimEnd());
    return spoken;
  }

  #write(vital, text, state, note, alarm, empty) {
    const { root, val, note: noteNode } = this.numbers.get(vital);
    setText(val, text);
    setText(noteNode, note);
    setData(root, "state", state);
    setData(root, "breach", alarm ? (alarm.state === "active" ? "loud" : "quiet") : null);
    const tone = alarm ? `tone-${toneOf(alarm)}` : "";
    const base = root.className.replace(/ ?tone-\w+| empty/g, "");
    const name = `${base}${tone ? ` ${tone}` : ""}${empty ? " empty" : ""}`;
    if (root.className !== name) root.className = name;
  }

  /** Shows or hides the trend strips. The one in alarm comes first, else heart rate and saturation. */
  strips(bed, data, endMs, wanted) {
    setData(this.root, "strips", wanted ? "yes" : "no");
    if (!wanted) {
      this.dropStrips();
      return;
    }
    const vital = bed.alarms.map((a) => a.vital ?? vitalOf(a.condition)).find((v) => v && v !== "heart_rate" && v !== "spo2" && VITALS[v]?.hue !== "--text");
    const pair = [vital ?? "heart_rate", "spo2"];
    if (!this.charts || this.charts[0].vitals[0] !== pair[0]) {
      this.dropStrips();
      this.charts = [new Chart(this.e.stripA, [pair[0]]), new Chart(this.e.stripB, [pair[1]])];
      setText(this.e.nameA, `${t(`short.${pair[0]}`)}\n${t("strip.ten")}`);
      setText(this.e.nameB, `${t(`short.${pair[1]}`)}\n${t("strip.ten")}`);
    }
    for (const chart of this.charts) chart.draw(data, endMs);
  }

  dropStrips() {
    for (const chart of this.charts ?? []) chart.destroy();
    this.charts = null;
  }

  remove() {
    this.dropStrips();
    this.root.remove();
  }
}

/** For a screen reader and the panel: pressure as 118/72 (87). */
export const pressureText = (values) => `${figure("systolic", values.systolic?.v)}/${figure("diastolic", values.diastolic?.v)}`;
