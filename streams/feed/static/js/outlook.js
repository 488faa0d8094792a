/** What the models say of a bed, in words and marks. A prediction is old after a minute and then never shown as current. */
import { h, icon, setData, setIcon, setText } from "./dom.js";
import { ageText, known, t } from "./i18n.js";
import { isLoud } from "./store.js";

const ODD_WORD = 0.5; // below these the shape and the number do: "unusual 0.00" on every tile is noise
const RISK_WORD = 0.1;

/** The outlook of a bed: {state: none | now | stale, ageMs, anomaly, risks, models}; none for another patient's. */
export function outlookOf(bed, nowMs) {
  const found = bed.outlook;
  if (!found || found.patient !== bed.tile.patient) return { state: "none", ageMs: 0, anomaly: null, risks: [], models: [] };
  const ageMs = Math.max(0, nowMs - found.now_ms);
  const risks = nowMs - found.risks_ms > found.risksStaleAfterMs && ageMs <= found.staleAfterMs ? [] : found.risks;
  return { ...found, risks, ageMs, state: ageMs > found.staleAfterMs ? "stale" : "now" };
}

/** A probability as it is written: 4 %, <1 %, >99 %. */
export function percent(share) {
  if (share > 0 && share < 0.01) return t("outlook.under");
  if (share < 1 && share > 0.99) return t("outlook.over");
  return t("outlook.percent", { n: Math.round(share * 100) });
}

/** A score from 0 to 1 with two digits. */
export const score = (value) => value.toFixed(2);

const worded = (prefix, name) => (known(`${prefix}.${name}`) ? t(`${prefix}.${name}`) : name.replaceAll("_", " "));
export const riskName = (name) => worded("risk", name);
const riskShort = (name) => worded("risk_short", name);

/** How far ahead: 30 min, 4 h; 0 stands for the whole stay. */
export function horizon(seconds) {
  if (!seconds) return t("outlook.stay");
  return seconds < 3600 ? t("age.min", { n: Math.round(seconds / 60) }) : t("age.h", { n: Math.round(seconds / 360) / 10 });
}

/** What drove it, as the model says it: heart rate 134, usually 82. */
export const driverWords = ({ what }) => what[0].toUpperCase() + what.slice(1);

/** anomaly, forecast or risk, and for a tile the few words of what it warns of. */
export function adviceOf(alarm) {
  const [, kind, rest] = /^(forecast|risk|anomaly)_?(.*)$/.exec(alarm.condition) ?? [null, "anomaly", ""];
  if (kind === "risk") return { kind, short: riskShort(rest) };
  if (kind === "forecast") {
    const [, vital, side] = /^(.*)_(low|high)$/.exec(rest) ?? [null, rest, "low"];
    return { kind, short: t(`advice.${side}`, { vital: known(`short.${vital}`) ? t(`short.${vital}`) : vital }) };
  }
  return { kind, short: t("outlook.unusual") };
}

/** The icon of an advisory's kind. */
export const adviceIcon = (alarm) => (adviceOf(alarm).kind === "anomaly" ? "unusual-on" : "ahead-on");

function mark(name) {
  const parts = { icon: icon(name), word: h("span", { class: "word" }), n: h("b", { class: "n" }), check: icon("check") };
  parts.root = h("span", { class: "sign", hidden: true }, parts.icon, parts.word, parts.n, parts.check);
  return parts;
}

/**
 * The small, calm mark of a tile: how unusual the last minutes are, and the likeliest of what may come.
 * Neutral in colour: red, yellow and cyan stay with alarms. Filled and framed while an advisory is open.
 */
export class OutlookMark {
  constructor() {
    this.odd = mark("unusual");
    this.ahead = mark("ahead");
    this.old = h("span", { class: "sign old", hidden: true });
    this.root = h("span", { class: "outlook", data: { state: "none" } }, this.odd.root, this.ahead.root, this.old);
  }

  /** Writes what is known now; returns it as words for the tile's label. */
  update(bed, nowMs) {
    const now = outlookOf(bed, nowMs);
    setData(this.root, "state", now.state);
    const stale = now.state === "stale";
    this.old.hidden = !stale;
    if (stale) setText(this.old, t("outlook.old", { age: ageText(now.ageMs, "short") }));
    const odd = bed.advisories.find((alarm) => adviceOf(alarm).kind === "anomaly");
    const coming = bed.advisories.find((alarm) => adviceOf(alarm).kind !== "anomaly");
    const likely = now.risks.filter((risk) => risk.horizon_s > 0).sort((a, b) => b.probability - a.probability)[0];
    const anomaly = stale ? null : now.anomaly;
    const wordy = odd || anomaly?.score >= ODD_WORD;
    this.#write(this.odd, "unusual", odd, wordy ? t("outlook.unusual") : "", anomaly ? score(anomaly.score) : null);
    const first = coming ? { word: adviceOf(coming).short, n: coming.probability === undefined ? "" : percent(coming.probability) }
      : likely && !stale ? { word: likely.probability >= RISK_WORD ? riskShort(likely.name) : "", n: percent(likely.probability) } : { word: "", n: null };
    this.#write(this.ahead, "ahead", coming, first.word, first.n);
    if (stale) return t("outlook.spoken_old", { age: ageText(now.ageMs) });
    if (now.state === "none") return "";
    const told = [];
    if (anomaly) told.push(t("outlook.spoken_odd", { score: score(anomaly.score) }));
    if (likely) told.push(t("outlook.spoken_risk", { risk: riskName(likely.name), horizon: horizon(likely.horizon_s), p: percent(likely.probability) }));
    return told.join(" ");
  }

  #write(parts, name, advisory, word, n) {
    parts.root.hidden = n === null && !advisory;
    if (parts.root.hidden) return;
    setText(parts.word, word);
    setText(parts.n, n ?? "");
    const level = advisory ? (isLoud(advisory) ? "raised" : "acked") : "calm";
    setData(parts.root, "level", level);
    setIcon(parts.icon, level === "raised" ? `${name}-on` : name);
    parts.check.toggleAttribute("hidden", level !== "acked");
  }
}

function bar(share) {
  const fill = h("span", { class: share < 0 ? "fill down" : "fill" });
  fill.style.inlineSize = `${Math.max(2, Math.round(Math.min(1, Math.abs(share)) * 100))}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

/** Drivers as a list: words, a bar of the share, and which way it pulls. */
export function driverList(drivers) {
  if (!drivers?.length) return h("p", { class: "quiet", text: t("driver.none") });
  return h("ul", { class: "drivers" }, ...drivers.map((one) => {
    const pull = t(one.share < 0 ? "driver.lowers" : "driver.raises", { n: Math.round(Math.abs(one.share) * 100) });
    return h("li", {}, h("span", { class: "what", text: driverWords(one) }), bar(one.share), h("span", { class: "pull", text: pull }));
  }));
}

/** How unlike the patient's own usual the last minutes are, and from what. */
export function anomalyView(now) {
  const { anomaly } = now;
  if (!anomaly) return [h("p", { class: "quiet", text: t(now.state === "none" ? "outlook.none" : "anomaly.none") })];
  const hours = anomaly.baseline_s >= 3600 ? t("age.h", { n: Math.round(anomaly.baseline_s / 360) / 10 }) : t("age.min", { n: Math.round(anomaly.baseline_s / 60) });
  const state = anomaly.learning ? t("anomaly.learning", { age: hours }) : t("anomaly.frozen", { age: hours });
  return [
    h("p", { class: "score-line" }, h("b", { text: score(anomaly.score) }), h("span", { text: t("anomaly.scale") })),
    driverList(anomaly.drivers),
    ...anomaly.drift.map((vital) => h("p", { class: "drift", text: t("anomaly.drift", { vital: t(`vital.${vital}`).toLowerCase() }) })),
    h("p", { class: "quiet", text: state, data: { learning: String(anomaly.learning) } })];
}

/** Risks as a table: probability, how far ahead, what drives it, how much of what the model reads was known. */
export function riskTable(now) {
  if (!now.risks.length) return [h("p", { class: "quiet", text: t(now.state === "none" ? "outlook.none" : "risk.none") })];
  const head = ["what", "p", "horizon", "drivers", "known"].map((key) => h("th", { scope: "col", class: ["p", "known"].includes(key) ? "n" : "", text: t(`risk.col_${key}`) }));
  const rows = now.risks.map((risk) => h("tr", { data: { risk: risk.name } },
    h("td", { text: riskName(risk.name) }), h("td", { class: "n", text: percent(risk.probability) }), h("td", { text: horizon(risk.horizon_s) }),
    h("td", { class: "why", text: risk.drivers.slice(0, 2).map(driverWords).join("; ") }), h("td", { class: "n", text: percent(risk.known) })));
  return [h("table", { class: "table risks" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows))];
}
