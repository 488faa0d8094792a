/** Why an alarm or an advisory is there: the rule, what was seen or predicted, by what, and what happened since. */
import { aheadWords, furthestOf } from "./bands.js";
import { Chart } from "./chart.js";
import { h } from "./dom.js";
import { ageText, clockTime, t } from "./i18n.js";
import { driverList, horizon, percent, riskName, score } from "./outlook.js";
import { isAdvisory } from "./store.js";
import { figure, newsShown, VITALS } from "./vitals.js";

export const ROWS = [["heart_rate"], ["spo2"], ["respiration"], ["systolic", "diastolic", "mean_pressure"], ["temperature"]];

const section = (title, ...parts) => h("section", {}, h("h3", { text: title }), ...parts);
const fact = (key, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", { text: t(key) }), h("dd", {}, value)]);
const recordOf = (source) => h("code", { text: t("why.source_value", source) });

/** The view of what the feed told: {nodes, chart, data, endMs, told}; the caller draws the chart once it is in the page. */
export function whyView(told, alarm) {
  const last = told.transitions.at(-1) ?? alarm;
  const first = told.transitions[0] ?? alarm;
  const vital = last.vital ?? first.vital ?? null;
  const chartOf = vital && VITALS[vital]?.hue !== "--text" ? vital : last.drivers?.find((one) => one.vital && VITALS[one.vital]?.hue !== "--text")?.vital ?? "spo2";
  const group = ROWS.find((vitals) => vitals.includes(chartOf));
  const ordered = [chartOf, ...group.filter((one) => one !== chartOf)];
  const box = h("div", { class: "chart" });
  const band = told.prediction?.forecast ?? null;
  const facts = section(t("why.what"), seen(told, first, last, vital));
  const around = section(`${t("why.trend")}: ${t(`vital.${chartOf}`)}`, box, ...(band ? [h("p", { class: "quiet", text: t("why.band") })] : []));
  const nodes = [
    ...(isAdvisory(last) ? [h("p", { class: "disclaimer", text: t("ahead.disclaimer") })] : []),
    section(t("why.rule"), h("p", { class: "rule", text: told.rule })),
    ...(told.prediction ? [...predicted(told, last), around, modelSection(told.model), facts] : [facts, around]),
    section(t("why.timeline"), h("ol", { class: "timeline" }, ...told.transitions.map(timelineStep))),
    ...(told.news2 ? [section(t("why.news"), ...newsTable(told.news2))] : []),
    h("p", { class: "quiet", text: t("why.audience") })];
  const chart = new Chart(box, band ? [chartOf] : ordered, { axes: true, mark: band ? null : first.onset_ms });
  const endMs = band ? band.at_ms : told.trend?.t_ms?.at(-1) ?? 0;
  const data = told.trend?.t_ms?.length ? upTo(told.trend, band ? endMs : Infinity) : null;
  return { nodes, chart, data: data ?? (band ? { t_ms: [], series: {}, limits: told.trend?.limits } : null), endMs, band };
}

/** The trend without what came after the forecast was made: the band stands beyond that moment. */
function upTo(trend, endMs) {
  const n = trend.t_ms.filter((ms) => ms <= endMs).length;
  return { t_ms: trend.t_ms.slice(0, n), series: Object.fromEntries(Object.entries(trend.series).map(([name, list]) => [name, list.slice(0, n)])), limits: trend.limits };
}

function seen(told, first, last, vital) {
  const unit = vital ? VITALS[vital].unit : "";
  const say = (v) => (typeof v === "number" && vital ? `${figure(vital, v)} ${unit}` : isAdvisory(last) ? null : v ?? null);
  return h("dl", { class: "facts-grid" },
    ...fact("why.value", say(last.value)), ...fact("why.limit", say(last.limit)),
    ...fact("why.onset", clockTime(first.onset_ms)), ...fact("why.reading", last.reading_ms ? clockTime(last.reading_ms) : null),
    ...fact("why.condition", `${last.condition}, ${t(`category.${last.category}`)}, ${t(`priority.${last.priority}`).toLowerCase()}`),
    ...fact("why.source", recordOf(told.source ?? last.source)),
    ...fact("why.policy", h("span", {}, `${told.policy?.name ?? ""} `, h("code", { text: told.policy?.hash ?? last.policy }))),
    ...fact("why.alert", h("code", { text: told.alert_id })));
}

function predicted(told, last) {
  const { kind, vital, probability, lead_s: leadS, drivers, forecast, missing } = told.prediction;
  const sure = probability === null || probability === undefined ? null : kind === "anomaly" ? `${score(probability)}, ${t("anomaly.scale")}` : percent(probability);
  const what = kind === "risk" ? riskName(told.prediction.risk) : kind === "forecast" ? t(`advice.long_${told.prediction.side}`, { vital: t(`vital.${vital}`) }) : t("anomaly.title");
  const band = forecast && furthestOf(forecast, vital) ? aheadWords(forecast, vital, told.trend?.limits?.[vital] ?? { low: last.limit, high: last.limit }) : missing;
  return [section(t("why.said"), h("dl", { class: "facts-grid" }, ...fact("why.foretold", what), ...fact(kind === "anomaly" ? "why.score" : "why.probability", sure),
    ...fact("why.lead", leadS ? horizon(leadS) : null), ...fact("why.band_then", band))), ...(drivers.length ? [section(t("why.drivers"), driverList(drivers))] : [])];
}

function modelSection(model) {
  const name = model.name ? h("code", { text: `${model.name}@${model.version}` }) : null;
  return h("section", { data: { model: model.name ?? "none" } }, h("h3", { text: t("why.model") }), h("dl", { class: "facts-grid" },
    ...fact("why.model_name", name), ...fact("why.model_serves", t(model.in_force ? "why.model_now" : "why.model_not_now")),
    ...fact("why.model_since", model.since ? recordOf(model.since) : t("why.model_since_unknown")),
    ...fact("why.model_made", model.made), ...fact("why.model_data", model.data?.join(", ")),
    ...fact("why.model_hash", model.sha256 ? h("code", { text: model.sha256 }) : null)),
  h("p", { class: "calibration", data: { told: model.calibration ? "yes" : "no" }, text: model.calibration ?? t("why.no_calibration", { missing: model.missing ?? "" }) }));
}

function timelineStep(step) {
  const words = t(`event.${step.event}`, { level: step.escalation, until: step.audio_until_ms ? clockTime(step.audio_until_ms) : "" });
  const more = [step.message, step.actor ? t("event.by", step) : "", step.note ?? "", t("why.source_value", step.source)].filter(Boolean).join(" · ");
  return h("li", {}, h("time", { datetime: new Date(step.at_ms).toISOString(), text: clockTime(step.at_ms) }),
    h("div", {}, h("div", { text: words }), h("div", { class: "more", text: more })));
}

/** NEWS2 with the points of each component. */
export function newsTable(news2) {
  const news = newsShown(news2);
  const line = [h("b", { text: news.score }), h("span", { text: news.words })];
  if (!news2) return [h("p", { class: "score-line" }, ...line)];
  if (news.gaps) line.push(h("span", { text: t("news.incomplete") }));
  if (news2.red) line.push(h("span", { text: t("news.red") }));
  line.push(h("span", { class: "quiet", text: t("news.scale", news2) }));
  const rows = news2.components.map((one) => {
    const missing = one.points === null || one.points === undefined;
    return h("tr", {}, h("td", { text: t(`vital.${one.vital}`) }), h("td", { class: "n", text: missing ? "–" : String(one.points) }),
      h("td", { class: "n", text: missing ? t("news.missing") : one.age_ms === null || one.age_ms === undefined ? "" : ageText(one.age_ms) }));
  });
  const head = h("tr", {}, h("th", { scope: "col", text: t("news.component") }), h("th", { scope: "col", class: "n", text: t("news.points") }), h("th", { scope: "col", class: "n", text: t("news.age") }));
  return [h("p", { class: "score-line" }, ...line), h("table", { class: "table" }, h("thead", {}, head), h("tbody", {}, ...rows))];
}
