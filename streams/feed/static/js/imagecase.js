/** One result: the image with its heat, what was said of it and how sure, what it was made from, and a judgement. */
import { FeedError, imageCase, picture } from "./api.js";
import { band, bars } from "./bars.js";
import { h, icon, setText } from "./dom.js";
import { t, whenText } from "./i18n.js";
import { imaged, inYears, labelName, measure, modelName, saidOf, sureOf } from "./imagewords.js";
import { judgeView } from "./judge.js";
import { percent } from "./outlook.js";
import { settings } from "./themes.js";

const OVERLAY = 60;
const AGAIN_MS = 2000;
const PROVENANCE = ["job_id", "study", "series", "instance", "uri", "input_sha256", "model_sha256", "code"];

/** Fills the page. */
export async function caseView({ root, gallery, user }, jobId) {
  document.title = `${t("page.case")} · ${t("app.name")}`;
  root.replaceChildren(back(), h("p", { class: "quiet", text: t("case.loading") }));
  const told = await asked(root, jobId);
  const { result } = told;
  document.title = `${saidOf(result)} · ${t("app.name")}`;
  const judging = judgeView(told, user);
  const state = h("div", {});
  const stage = new Stage(result);
  root.replaceChildren(back(), h("div", { class: "case-page" }, stage.root,
    h("div", { class: "side" }, headline(told), card("numbers-title", ...numbers(told)), judging.root,
      card("state-title", h("h2", { id: "state-title", text: t("case.state") }), state), caveats(result), facts(told), modelCard(told), provenance(result))));
  const follow = () => {
    const row = gallery.results.get(jobId);
    if (row) judging.seen(row.verdict);
    onList(state, gallery.findingOf(jobId) ?? told.finding);
  };
  onList(state, told.finding);
  gallery.addEventListener("change", follow);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), textarea, select")) return;
    if (settings.singleKeys && event.key.toLowerCase() === "h") stage.toggle();
  });
}

const back = () => h("p", { class: "crumb" }, h("a", { href: "/images" }, icon("back"), h("span", { text: t("case.back") })));
const card = (id, ...parts) => h("section", { class: "card", "aria-labelledby": id }, ...parts);
const fact = (name, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", { text: name }), h("dd", {}, value)]);

/** What the feed knows; a result that cannot be had is said, and asked for again when the feed was only not ready. */
async function asked(root, jobId) {
  for (;;) {
    try {
      return await imageCase(jobId);
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      root.replaceChildren(back(), h("p", { role: "alert", class: "card", text: t("case.missing", wrong) }));
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS * (wrong.status === 404 ? 3 : 1)));
    }
  }
}

/** The image, its heat above it, and the slider between them. */
class Stage {
  constructor(result) {
    this.opacity = OVERLAY;
    const base = `/api/images/${encodeURIComponent(result.job_id)}`;
    const what = [imaged(result), modelName(result.model)].filter(Boolean).join(", ");
    this.said = h("p", { class: "stage-said", role: "status" });
    this.image = h("img", { class: "picture", alt: t("case.alt", { what, patient: result.patient ?? "–" }) });
    this.heat = result.heatmap_uri ? h("img", { class: "heat", alt: t("case.heat_alt") }) : null;
    this.frame = h("div", { class: "frame" }, this.image, this.heat);
    this.slider = h("input", { type: "range", id: "overlay", min: "0", max: "100", step: "5", value: OVERLAY, on: { input: () => this.#show(Number(this.slider.value)) } });
    this.number = h("output", { for: "overlay", class: "n" });
    const controls = this.heat
      ? h("div", { class: "overlay" }, h("label", { for: "overlay", text: t("case.overlay") }), this.slider, this.number, settings.singleKeys ? h("span", { class: "quiet", text: t("case.overlay_key") }) : null)
      : h("p", { class: "quiet", text: t("case.heat_none") });
    this.root = h("div", { class: "stage" }, h("p", { class: "research", text: t("case.research") }), this.frame, this.said, controls,
      this.heat ? h("p", { class: "heat-note", text: t("case.heat_note") }) : null);
    this.#show(OVERLAY);
    this.#load(this.image, result.preview_uri ? `${base}/preview` : null, "case.no_picture");
    if (this.heat) this.#load(this.heat, `${base}/heat`, "case.heat_gone");
  }

  /** Hides the heat, or shows it as before. */
  toggle() {
    if (!this.heat) return;
    if (Number(this.slider.value) > 0) this.opacity = Number(this.slider.value);
    this.slider.value = Number(this.slider.value) > 0 ? 0 : this.opacity;
    this.#show(Number(this.slider.value));
  }

  #show(share) {
    if (!this.heat) return;
    this.heat.style.opacity = String(share / 100);
    setText(this.number, t("case.overlay_value", { n: share }));
    this.slider.setAttribute("aria-valuetext", t("case.overlay_value", { n: share }));
  }

  #load(node, path, failed) {
    const gone = async () => {
      node.hidden = true;
      const wrong = path === null ? { message: "" } : await picture(path).then(() => null, (why) => why);
      if (wrong === null) this.#load(node, path, failed);
      else if (path !== null && !(wrong instanceof FeedError)) throw wrong;
      else this.said.append(h("span", { text: t(failed, wrong) }));
      if (node === this.image) this.frame.dataset.state = "none";
    };
    if (path === null) {
      gone();
      return;
    }
    node.addEventListener("error", gone, { once: true });
    node.addEventListener("load", () => { node.hidden = false; this.frame.dataset.state = "shown"; }, { once: true });
    node.src = path;
  }
}

function headline({ result }) {
  const told = result.refusal ? t("case.not_read") : result.positive === null ? modelName(result.model) : t(result.positive ? "case.positive" : "case.negative");
  return h("div", { class: "headline", data: { kind: result.refusal ? "refused" : result.positive ? "found" : "nothing" } },
    h("h1", {}, h("span", { text: saidOf(result) }), result.refusal || typeof result.value === "number" ? null : h("small", { text: sureOf(result) })),
    h("p", {}, icon(result.refusal ? "no" : "image"), h("span", { text: told })),
    result.refusal && result.detail ? h("p", { class: "quiet", text: result.detail }) : null);
}

function numbers(told) {
  const { result, positive_labels: positive, finding_probability: sum } = told;
  const parts = [];
  if (typeof result.value === "number") {
    parts.push(h("h2", { id: "numbers-title", text: t("case.band_title") }),
      h("p", { class: "score-line" }, h("b", { text: t("case.measure", { value: measure(result.value), unit: result.unit ?? "" }) }), result.unit === "months" ? h("span", { text: inYears(result.value) }) : null));
    if (typeof result.low === "number" && typeof result.high === "number") parts.push(band(result));
    return parts;
  }
  parts.push(h("h2", { id: "numbers-title", text: t(result.refusal ? "case.declined_numbers" : "case.probabilities") }));
  const shares = Object.entries(result.probabilities ?? {});
  if (!shares.length) return [...parts, h("p", { class: "quiet", text: t("value.none") })];
  const rows = shares.map(([label, share]) => ({ name: labelName(label), share, strong: label === result.label }));
  const mark = result.threshold;
  if (typeof sum === "number") rows.push({ name: t("case.any"), note: positive.length > 1 ? t("case.any_of", { labels: positive.map(labelName).join(", ") }) : labelName(positive[0]), share: sum, mark });
  else if (typeof mark === "number" && !result.refusal) rows.find((row) => row.strong).mark = mark;
  parts.push(bars(rows));
  if (typeof mark === "number") parts.push(h("p", { class: "quiet", text: t("case.threshold", { p: percent(mark) }) }));
  return parts;
}

function onList(root, finding) {
  if (!finding) {
    root.replaceChildren(h("p", { class: "quiet", text: t("case.state_none") }));
    return;
  }
  const state = finding.actor ? t("finding.by", { state: t(`finding.${finding.state}`), actor: finding.actor }) : t(`finding.${finding.state}`);
  root.replaceChildren(h("p", { class: `on-list tone-${finding.priority}`, data: { state: finding.state } }, icon(finding.priority),
    h("b", { text: t(`priority.${finding.priority}`) }), finding.state === "escalated" ? icon("escalated") : null, h("span", { text: `${state}, ${whenText(finding.at_ms)}` })),
  h("p", { class: "quiet", text: finding.why }));
}

function caveats(result) {
  if (!result.caveats?.length) return null;
  return card("caveats-title", h("h2", { id: "caveats-title", text: t("case.caveats") }), h("ul", { class: "dots" }, ...result.caveats.map((one) => h("li", { text: one }))));
}

function facts({ result, bed }) {
  const took = typeof result.took_ms === "number" ? t("case.took", { time: whenText(result.at_ms), n: result.took_ms }) : whenText(result.at_ms);
  const delay = result.arrived_ms ? t("case.delay", { time: whenText(result.at_ms), s: Math.max(0, (result.at_ms - result.arrived_ms) / 1000).toFixed(1) }) : took;
  return card("facts-title", h("h2", { id: "facts-title", text: t("case.image") }),
    h("dl", { class: "facts-grid" }, ...fact(t("case.patient"), h("code", { text: result.patient ?? "" })), ...fact(t("case.image"), imaged(result)),
      ...fact(t("case.arrived"), result.arrived_ms ? whenText(result.arrived_ms) : null), ...fact(t("case.read"), delay)),
    h("div", { class: "acts" },
      h("a", { class: "button", href: `/api/images/${encodeURIComponent(result.job_id)}/pdf`, target: "_blank", rel: "noopener" }, icon("page"), h("span", { text: t("case.pdf") })),
      bed ? h("a", { class: "button", href: `/#bed=${encodeURIComponent(`${bed.ward}/${bed.bed}`)}` }, icon("bed"), h("span", { text: t("case.bed", bed) })) : null));
}

function modelCard({ model, result }) {
  const force = t(model.in_force ? "case.in_force" : model.known ? "case.not_in_force" : "case.unknown_model");
  return card("model-title", h("h2", { id: "model-title", text: t("case.model") }),
    h("dl", { class: "facts-grid" }, ...fact(t("case.model"), modelName(result.model)), ...fact(t("case.version"), h("span", {}, h("code", { text: model.version }), `, ${force}`)),
      ...fact(t("case.purpose"), model.purpose), ...fact(t("case.trained_on"), model.data?.join("; "))),
    model.card ? h("div", { class: "acts" }, h("a", { class: "button", href: model.card, target: "_blank", rel: "noopener" }, icon("page"), h("span", { text: t("case.card") }))) : null);
}

function provenance(result) {
  return h("details", { class: "card numbers" }, h("summary", { text: t("case.provenance") }),
    h("dl", { class: "facts-grid" }, ...PROVENANCE.flatMap((name) => fact(t(`case.fact.${name}`), result[name] ? h("code", { text: result[name] }) : null))));
}
