/** How results of images are said: models, labels, reasons, numbers. What has no sentence shows its own name, readably. */
import { known, t } from "./i18n.js";
import { percent } from "./outlook.js";

const plain = (name) => (name ? name[0].toUpperCase() + name.slice(1).replaceAll("_", " ") : "");
const worded = (prefix, name) => (known(`${prefix}.${name}`) ? t(`${prefix}.${name}`) : plain(name));

export const modelName = (name) => (name ? worded("model", name) : t("model.none"));
export const labelName = (name) => worded("label", name);
export const sourceName = (name) => worded("source", name);

/** A refusal in plain words; the detail where it says more. */
export function reasonWords(reason, detail) {
  const words = worded("reason", reason);
  return detail && !known(`reason.${reason}`) ? `${words}: ${detail}` : words;
}

/** A measure with as many digits as mean something. */
export const measure = (value) => (Math.abs(value) < 10 ? value.toFixed(1) : String(Math.round(value)));

/** Months as years and months. */
export const inYears = (months) => t("case.years", { years: Math.floor(Math.round(months) / 12), months: Math.round(months) % 12 });

/** The result in a few words: Glioma, 118 months, or why there is none. */
export function saidOf(result) {
  if (result.refusal) return reasonWords(result.refusal, result.detail);
  if (typeof result.value === "number") return t("case.measure", { value: measure(result.value), unit: result.unit ?? "" }).trim();
  return result.label ? labelName(result.label) : t("result.nothing");
}

/** The number beside it: a probability, or the band of a measure. */
export function sureOf(result) {
  if (result.refusal) return "";
  if (typeof result.value === "number") return typeof result.low === "number" ? `${measure(result.low)}–${measure(result.high)}` : "";
  return typeof result.probability === "number" ? percent(result.probability) : "";
}

/** What was imaged: MR, BRAIN, PA. */
export const imaged = (result) => [result.modality, result.body_part, result.view].filter(Boolean).join(" ");
