/** The workbench: an image, or what is known of a patient, and what the models make of it. */
import { imageCase, FeedError } from "./api.js";
import { band, bars } from "./bars.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { labelName, modelName, saidOf, sureOf } from "./imagewords.js";
import { riskView } from "./riskform.js";
import { uploadView } from "./upload.js";

const TABS = ["image", "patient"];

/** Fills the page. */
export function workbenchView({ root, gallery, user }) {
  document.title = `${t("page.workbench")} · ${t("app.name")}`;
  const panels = { image: imagePanel(gallery, user), patient: riskView() };
  const tabs = TABS.map((name) => h("button", { type: "button", role: "tab", class: "button tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, text: t(`bench.${name}`), on: { click: () => choose(name) } }));
  const choose = (name, focus = false) => {
    TABS.forEach((one, n) => {
      tabs[n].setAttribute("aria-selected", String(one === name));
      tabs[n].tabIndex = one === name ? 0 : -1;
      panels[one].hidden = one !== name;
      if (focus && one === name) tabs[n].focus();
    });
    history.replaceState(null, "", `#${name}`);
  };
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": t("bench.tabs") }, ...tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = TABS.findIndex((name) => !panels[name].hidden);
    choose(TABS[(at + step + TABS.length) % TABS.length], true);
    event.preventDefault();
  });
  for (const name of TABS) Object.assign(panels[name], { id: `panel-${name}` });
  for (const name of TABS) {
    panels[name].setAttribute("role", "tabpanel");
    panels[name].setAttribute("aria-labelledby", `tab-${name}`);
  }
  root.replaceChildren(h("h1", { class: "page-title", text: t("page.workbench") }), h("p", { class: "research", text: t("case.research") }), list, panels.image, panels.patient);
  choose(location.hash === "#patient" ? "patient" : "image");
}

function imagePanel(gallery, user) {
  const events = new EventTarget();
  const none = h("p", { class: "quiet", text: t("bench.image_none") });
  const results = h("div", { class: "bench-results" }, none);
  const waiting = new Set();
  const shown = new Set();
  const look = () => {
    for (const instance of waiting) {
      for (const row of gallery.ofInstance(instance)) {
        if (shown.has(row.job_id)) continue;
        shown.add(row.job_id);
        none.hidden = true;
        results.prepend(resultCard(row));
      }
    }
  };
  events.addEventListener("stored", ({ detail }) => { waiting.add(detail); look(); });
  gallery.addEventListener("change", look);
  return h("div", { class: "bench" }, h("div", {}, h("p", { class: "quiet lead", text: t("bench.image_lead") }), uploadView(gallery, user, events)),
    h("section", { class: "card", "aria-labelledby": "bench-results-title" }, h("h2", { id: "bench-results-title", text: t("list.results") }), results));
}

function resultCard(row) {
  const base = `/api/images/${encodeURIComponent(row.job_id)}`;
  const numbers = h("div", {});
  const image = h("img", { alt: t("case.alt", { what: modelName(row.model), patient: row.patient ?? "–" }), src: `${base}/preview` });
  const heat = h("img", { class: "heat", alt: "", src: `${base}/heat` });
  for (const node of [image, heat]) node.addEventListener("error", () => { node.hidden = true; }, { once: true });
  if (row.refusal === null) {
    imageCase(row.job_id).then(({ result }) => {
      if (typeof result.value === "number" && typeof result.low === "number") numbers.append(band(result));
      else numbers.append(bars(Object.entries(result.probabilities ?? {}).map(([label, share]) => ({ name: labelName(label), share, strong: label === result.label }))));
    }, (wrong) => {
      if (!(wrong instanceof FeedError)) throw wrong;
      numbers.append(h("p", { class: "quiet", text: t("page.failed", wrong) }));
    });
  }
  return h("article", { class: "bench-result" }, h("div", { class: "thumb" }, image, row.refusal === null ? heat : null),
    h("div", { class: "bench-said" }, h("h3", {}, h("span", { text: saidOf(row) }), h("small", { text: sureOf(row) })), h("p", { class: "quiet", text: modelName(row.model) }), numbers,
      h("div", { class: "acts" }, h("a", { class: "button", href: `/images/${encodeURIComponent(row.job_id)}`, text: t("bench.open") }))));
}
