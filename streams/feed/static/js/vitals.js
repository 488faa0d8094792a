/** What each vital is on the page: unit, precision, colour, chart range, and when its value is too old to show. */
import { ageText, t } from "./i18n.js";

const DIM_MS = 3000;
const INOP_MS = 10000;

/** `live`: expected every second, so silence withdraws it. Others are taken now and then and only show their age. */
export const VITALS = {
  heart_rate: { unit: "/min", decimals: 0, hue: "--heart-rate", range: [40, 140], live: true },
  spo2: { unit: "%", decimals: 0, hue: "--spo2", range: [82, 100], live: true },
  respiration: { unit: "/min", decimals: 0, hue: "--respiration", range: [4, 36], live: true },
  systolic: { unit: "mmHg", decimals: 0, hue: "--pressure", range: [60, 190], showAge: 60000 },
  diastolic: { unit: "mmHg", decimals: 0, hue: "--pressure", range: [30, 130], showAge: 60000 },
  mean_pressure: { unit: "mmHg", decimals: 0, hue: "--pressure", range: [40, 140], showAge: 60000 },
  temperature: { unit: "°C", decimals: 1, hue: "--temperature", range: [35, 40], showAge: 300000 },
  supplemental_oxygen: { unit: "L/min", decimals: 1, hue: "--text", range: [0, 15], showAge: 3600000 },
  consciousness: { unit: "", decimals: 0, hue: "--text", range: [0, 1], showAge: 3600000 },
};

export const PRESSURES = ["systolic", "diastolic", "mean_pressure"];
const DOUBTED = new Set(["implausible", "unit_mismatch", "cuff_interference", "clock_suspect", "frozen", "late"]);

/** A number as it is recorded: 37.2, 118, A. */
export function figure(vital, value) {
  if (value === null || value === undefined) return t("value.none");
  if (typeof value === "string") return value;
  if (vital === "supplemental_oxygen") return value === 0 ? t("value.air") : String(Math.round(value * 10) / 10);
  return value.toFixed(VITALS[vital]?.decimals ?? 1);
}

/**
 * How one value is to be shown now: {text, state, note}. state: ok, dim, inop, none, doubt, stale.
 * `form` is that of ages. The note says in words what the state means; colour and hatching only repeat it.
 */
export function shown(vital, value, nowMs, form = "short") {
  const kind = VITALS[vital];
  if (!value) return { text: t("value.none"), state: "none", note: "" };
  const age = Math.max(0, nowMs - value.at);
  if (value.tag === "no_signal" || value.v === null || value.v === undefined) {
    return { text: t("value.none"), state: "none", note: t("tag.no_signal") };
  }
  if (kind.live && age > INOP_MS) return { text: t("value.none"), state: "inop", note: `${t("tag.inop")} ${ageText(age, form)}` };
  const text = figure(vital, value.v);
  if (value.tag === "stale") return { text, state: "stale", note: `${t("tag.stale")} ${ageText(age, form)}` };
  if (DOUBTED.has(value.tag)) return { text, state: "doubt", note: t(`tag.${value.tag}`) };
  if (kind.live && age > DIM_MS) return { text, state: "dim", note: ageText(age, form) };
  return { text, state: "ok", note: kind.showAge && age > kind.showAge ? ageText(age, form) : "" };
}

/** The NEWS2 band of one total, in the words of the chart. */
function band(score, red) {
  if (score >= 7) return "high";
  if (score >= 5) return "medium";
  return red ? "low_medium" : "low";
}

/** NEWS2 as shown: {score: "5–8", band: key for the style, words, gaps}. The certain part (its minimum) sets the style. */
export function newsShown(news2) {
  if (!news2) return { score: "–", band: "none", words: t("news.none"), gaps: false };
  const whole = news2.min === news2.max;
  const low = band(news2.min, whole && news2.red);
  const high = band(news2.max, whole && news2.red);
  const gaps = !whole || news2.components.some((c) => c.points === null || c.points === undefined);
  return {
    score: whole ? String(news2.min) : `${news2.min}–${news2.max}`,
    band: low,
    words: low === high ? t(`news.${low}`) : t("news.range", { from: t(`news.${low}`), to: t(`news.${high}`) }),
    gaps,
  };
}
