/** What is known of a patient, asked field by field as the feed says, and the assessment beside it. */
import { assessRisk, FeedError, riskForm } from "./api.js";
import { bars } from "./bars.js";
import { button, h, setText } from "./dom.js";
import { t } from "./i18n.js";
import { labelName, modelName } from "./imagewords.js";
import { percent } from "./outlook.js";

const DRIVERS = 8;

/** The panel; it fills itself when the feed has said what is asked. */
export function riskView() {
  const root = h("div", { class: "bench" });
  load(root);
  return root;
}

async function load(root) {
  try {
    const { fields } = await riskForm();
    const answer = h("div", { class: "answer", role: "status" }, h("p", { class: "quiet", text: t("bench.none") }));
    root.replaceChildren(h("div", {}, h("p", { class: "quiet lead", text: t("bench.patient_lead") }), form(fields, answer)),
      h("section", { class: "card", "aria-labelledby": "answer-title" }, h("h2", { id: "answer-title", text: t("bench.result") }), answer));
  } catch (wrong) {
    if (!(wrong instanceof FeedError)) throw wrong;
    root.replaceChildren(h("div", { class: "card", role: "alert" }, h("p", { text: t("page.failed", wrong) }), button(t("page.again"), { on: () => load(root) })));
  }
}

function form(fields, answer) {
  const asked = new Map(fields.map((field) => [field.name, question(field)]));
  const groups = [...new Set(fields.map((field) => field.group))];
  const sum = h("p", { class: "error", role: "alert", hidden: true });
  const root = h("form", { class: "card risk", novalidate: true },
    ...groups.map((group) => h("fieldset", {}, h("legend", { text: group }), ...fields.filter((one) => one.group === group).map((one) => asked.get(one.name).root))),
    sum, h("div", { class: "acts" }, h("button", { type: "submit", class: "button main-act", text: t("bench.go") }), button(t("bench.clear"), { on: () => { root.reset(); clear(); women(); } })));
  const clear = () => {
    sum.hidden = true;
    for (const one of asked.values()) one.complain("");
  };
  const women = () => {
    const male = asked.get("sex")?.value() === "male";
    for (const field of fields.filter((one) => one.women_only)) asked.get(field.name).root.hidden = male;
  };
  root.addEventListener("change", women);
  root.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    const given = {};
    for (const [name, one] of asked) if (!one.root.hidden && one.value() !== "") given[name] = one.value();
    try {
      show(answer, await assessRisk(given), fields);
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      const each = Object.entries(wrong.details?.fields ?? {});
      for (const [name, message] of each) asked.get(name)?.complain(message);
      const names = each.map(([name]) => asked.get(name)?.label ?? name).join(", ");
      setText(sum, each.length ? t("bench.wrong", { n: each.length, fields: names }) : t("page.failed", wrong));
      sum.hidden = false;
      root.querySelector("[aria-invalid]")?.focus();
    }
  });
  return root;
}

function question(field) {
  const id = `risk-${field.name}`;
  const common = { id, name: field.name, autocomplete: "off", required: field.required };
  const list = field.kind === "text" || (field.kind !== "choice" && field.words.length) ? h("datalist", { id: `${id}-words` }, ...field.words.map((word) => h("option", { value: word }))) : null;
  const control = field.kind === "choice"
    ? h("select", common, h("option", { value: "", text: t(field.required ? "bench.choose" : "bench.blank") }), ...field.words.map((word) => h("option", { value: word, text: word })))
    : h("input", { ...common, type: "text", inputmode: field.kind === "text" ? null : "decimal", maxlength: "200", list: list ? list.id : null });
  const error = h("span", { class: "error", id: `${id}-error`, role: "alert", hidden: true });
  const range = field.kind === "number" || field.kind === "whole" ? `${field.low}–${field.high}${field.unit ? ` ${field.unit}` : ""}` : "";
  const hint = [range, field.hint.replaceAll("`", ""), field.women_only ? t("bench.women") : "", field.idle ? t("bench.idle", { why: field.idle }) : ""].filter(Boolean).join(" · ");
  control.setAttribute("aria-describedby", `${id}-hint ${error.id}`);
  const label = h("label", { for: id }, field.label, field.required ? h("em", { text: ` ${t("bench.required")}` }) : null);
  return {
    label: field.label,
    root: h("div", { class: "field" }, label, control, list, h("small", { id: `${id}-hint`, text: hint }), error),
    value: () => control.value.trim(),
    complain: (message) => {
      setText(error, message ? message[0].toUpperCase() + message.slice(1).replaceAll("`", "") : "");
      error.hidden = !message;
      if (message) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    },
  };
}

function show(root, told, fields) {
  const names = new Map(fields.map((field) => [field.name, field.label]));
  const list = (title, items) => (items.length ? [h("h3", { text: title }), h("ul", { class: "dots" }, ...items.map((one) => h("li", { text: one })))] : []);
  const rows = Object.entries(told.probabilities).map(([label, share]) => ({
    name: labelName(label), share, strong: label === told.label, note: t("bench.usual", { p: percent(told.usual[label]) }), mark: label === told.positive ? told.threshold : null }));
  root.replaceChildren(
    h("p", { class: "score-line" }, h("b", { text: labelName(told.label) }), h("span", { text: percent(told.probabilities[told.label]) })), bars(rows),
    h("p", { class: "judged", text: t(told.raised ? "bench.raised" : "bench.not_raised", { p: percent(told.threshold) }) }),
    ...(told.drivers.length ? [h("h3", { text: t("bench.drivers") }), drivers(told)] : []),
    ...list(t("bench.remarks"), told.remarks), ...list(t("bench.imputed"), Object.entries(told.imputed).map(([name, words]) => `${names.get(name) ?? name}: ${words}`)),
    ...list(t("bench.caveats"), told.caveats), h("p", { class: "quiet", text: t("bench.by", { model: modelName(told.model), version: told.version }) }), h("p", { class: "disclaimer", text: told.disclaimer }));
}

function drivers(told) {
  const shown = told.drivers.slice(0, DRIVERS);
  const most = Math.max(...shown.map((one) => Math.abs(one.adds[told.positive])), 1e-9);
  return h("ol", { class: "drivers" }, ...shown.map((one) => {
    const adds = one.adds[told.positive];
    const fill = h("span", { class: `fill ${adds < 0 ? "down" : ""}` });
    fill.style.inlineSize = `${(100 * Math.abs(adds)) / most}%`;
    return h("li", {}, h("span", { text: one.given === null ? t("bench.imputed_value", one) : t("bench.given", one) }), h("span", { class: "bar", "aria-hidden": "true" }, fill),
      h("span", { class: "pull", text: t(adds < 0 ? "bench.away" : "bench.toward", { label: labelName(told.positive).toLowerCase() }) }));
  }));
}
