/** The radiologist's list: findings worst first, recent results, images that were not let in, and a way to add one. */
import { h, icon, setText } from "./dom.js";
import { ageText, t, whenText } from "./i18n.js";
import { imaged, labelName, modelName, reasonWords, saidOf, sourceName, sureOf } from "./imagewords.js";
import { percent } from "./outlook.js";
import { settings } from "./themes.js";
import { uploadView } from "./upload.js";

const SHOWN = 200;
const RECENT = 40;
const DONE = new Set(["accepted", "rejected", "withdrawn"]);
const STATES = ["waiting", "escalated", "done", "all"];
const fits = { waiting: (one) => !DONE.has(one.state), escalated: (one) => one.state === "escalated", done: (one) => DONE.has(one.state), all: () => true };

/** Fills the page. */
export function listView({ root, gallery, user }) {
  document.title = `${t("page.images")} · ${t("app.name")}`;
  const chosen = readChoice();
  const parts = frame(root, chosen, () => { writeChoice(chosen); draw(); });
  parts.side.prepend(uploadView(gallery, user));
  let shown = [];
  let waiting = null;

  const draw = () => {
    offerModels(parts.model, gallery, chosen);
    const mine = (one) => chosen.model === "" || one.model === chosen.model;
    const all = gallery.worstFirst();
    const found = all.filter((one) => mine(one) && fits[chosen.state](one));
    const open = all.filter(fits.waiting);
    setText(parts.count, t("list.waiting_count", { n: open.length, escalated: all.filter(fits.escalated).length }));
    document.title = `${open.length ? `(${open.length}) ` : ""}${t("page.images")} · ${t("app.name")}`;
    shown = found.slice(0, SHOWN);
    fill(parts.findings, shown, "finding_id", (one) => findingRow(one, gallery.nowMs()), all.length ? t("list.none_so") : t("list.none"));
    setText(parts.more, [found.length > SHOWN ? t("list.more", { n: found.length - SHOWN }) : "", gallery.leftOut ? t("list.left_out", { n: gallery.leftOut }) : ""].join(" ").trim());
    fill(parts.results, gallery.newest("results").filter(mine).slice(0, RECENT), "job_id", (one) => resultRow(one, gallery.nowMs()), t("list.results_none"));
    fill(parts.refusals, gallery.newest("refusals").slice(0, RECENT), "refusal_id", (one) => refusalRow(one, gallery.nowMs()), t("list.refused_none"));
  };
  const ages = () => {
    for (const node of root.querySelectorAll("[data-since]")) setText(node, t("finding.since", { age: ageText(gallery.nowMs() - Number(node.dataset.since)) }));
  };
  gallery.addEventListener("change", () => { waiting ??= requestAnimationFrame(() => { waiting = null; draw(); }); });
  gallery.addEventListener("second", ages);
  listen(parts.findings);
}

function frame(root, chosen, changed) {
  const model = h("select", { id: "filter-model", on: { change: () => { chosen.model = model.value; changed(); } } });
  const states = h("div", { class: "choice", role: "group", "aria-label": t("filter.state") }, ...STATES.map((state) => h("button", {
    type: "button", class: "button", "aria-pressed": String(state === chosen.state), text: t(`filter.${state}`), data: { state },
    on: { click: () => {
      chosen.state = state;
      for (const one of states.children) one.setAttribute("aria-pressed", String(one.dataset.state === state));
      changed();
    } } })));
  const parts = {
    model, count: h("p", { class: "count-line", role: "status" }), more: h("p", { class: "quiet" }),
    findings: h("ol", { class: "findings" }), results: h("ol", { class: "recent" }), refusals: h("ol", { class: "recent" }), side: h("div", { class: "side" }),
  };
  parts.side.append(section("results-title", t("list.results"), parts.results), section("refused-title", t("list.refused"), parts.refusals));
  root.replaceChildren(h("div", { class: "list-page" },
    h("section", { class: "card wide", "aria-labelledby": "findings-title" },
      h("div", { class: "card-head" }, h("h1", { id: "findings-title", text: t("list.findings") }), parts.count),
      h("p", { class: "quiet" }, h("span", { text: t("list.lead") }), settings.singleKeys ? h("span", { class: "keys-hint", text: ` ${t("list.keys")}` }) : null),
      h("div", { class: "filters" }, states, h("label", { for: "filter-model" }, h("span", { class: "unseen", text: t("filter.model") }), model)),
      parts.findings, parts.more),
    parts.side));
  return parts;
}

const section = (id, title, ...rest) => h("section", { class: "card", "aria-labelledby": id }, h("h2", { id, text: title }), ...rest);

function offerModels(select, gallery, chosen) {
  const names = [...new Set([...gallery.findings.values(), ...gallery.results.values()].map((one) => one.model).filter(Boolean))].sort();
  if (chosen.model && !names.includes(chosen.model)) names.push(chosen.model);
  if (names.join() === select.dataset.names) return;
  select.dataset.names = names.join();
  select.replaceChildren(h("option", { value: "", text: t("filter.all_models") }), ...names.map((name) => h("option", { value: name, text: modelName(name) })));
  select.value = chosen.model;
}

/** Puts rows into a list; a row that did not change stays the very node that it was, and so keeps the focus. */
function fill(list, rows, key, make, none) {
  const before = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = rows.map((row) => {
    const text = JSON.stringify(row);
    const kept = before.get(row[key]);
    if (kept?.told === text) return kept;
    const hadFocus = kept?.contains(document.activeElement);
    const node = make(row);
    node.dataset.key = row[key];
    node.told = text;
    if (hadFocus) requestAnimationFrame(() => node.querySelector("a")?.focus());
    return node;
  });
  if (!nodes.length) nodes.push(h("li", { class: "none", text: none }));
  const same = nodes.length === list.children.length && nodes.every((node, n) => node === list.children[n]);
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  if (!same) list.replaceChildren(...nodes);
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function findingRow(one, nowMs) {
  const done = DONE.has(one.state);
  const state = done && one.actor ? t("finding.by", { state: t(`finding.${one.state}`), actor: one.actor }) : t(`finding.${one.state}`);
  const p = typeof one.probability === "number" ? percent(one.probability) : "";
  const since = h("time", { datetime: new Date(one.since_ms).toISOString(), title: whenText(one.since_ms, nowMs) });
  if (done) since.textContent = whenText(one.at_ms, nowMs);
  else {
    since.dataset.since = one.since_ms;
    since.textContent = t("finding.since", { age: ageText(nowMs - one.since_ms) });
  }
  const label = t("finding.spoken", { priority: t(`priority.${one.priority}`), state, label: labelName(one.label), p, model: modelName(one.model), patient: one.patient, since: since.textContent });
  return h("li", { class: `finding tone-${one.priority}`, data: { state: one.state, done: done ? "yes" : "no" } },
    h("a", { href: `/images/${encodeURIComponent(one.job_id)}`, "aria-label": label },
      h("span", { class: "mark" }, icon(done ? (one.state === "accepted" ? "check" : "no") : one.priority), h("span", { text: t(`priority.${one.priority}`) })),
      h("span", { class: "what" }, h("b", { text: labelName(one.label) }), h("span", { class: "quiet", text: modelName(one.model) })),
      h("span", { class: "sure" }, h("b", { text: p }), track(one.probability)),
      h("span", { class: "whose" }, h("span", { class: "quiet", text: t("finding.patient") }), h("code", { text: one.patient })),
      h("span", { class: "state" }, one.state === "escalated" ? icon("escalated") : null, h("span", { text: state }), since),
      h("span", { class: "why", text: one.why })));
}

function track(share) {
  if (typeof share !== "number") return null;
  const fillPart = h("span", { class: "fill" });
  fillPart.style.inlineSize = `${Math.round(share * 100)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fillPart);
}

function resultRow(one, nowMs) {
  const kind = one.refusal ? "refused" : one.positive ? "found" : "nothing";
  const tags = [one.verdict ? t(`verdict.${one.verdict.verdict}`) : "", one.refusal ? t("result.refused") : ""].filter(Boolean).join(", ");
  return h("li", { data: { kind } }, h("a", { href: `/images/${encodeURIComponent(one.job_id)}` },
    icon(one.refusal ? "no" : one.verdict ? "check" : "image"),
    h("span", { class: "what" }, h("b", { text: saidOf(one) }), h("span", { class: "n", text: sureOf(one) })),
    h("time", { datetime: new Date(one.at_ms).toISOString(), text: whenText(one.at_ms, nowMs) }),
    h("span", { class: "more" }, [modelName(one.model), imaged(one), tags].filter(Boolean).join(" · "))));
}

function refusalRow(one, nowMs) {
  return h("li", { class: "plain" }, icon("no"),
    h("span", { class: "what" }, h("b", { text: reasonWords(one.reason) })),
    h("time", { datetime: new Date(one.at_ms).toISOString(), text: whenText(one.at_ms, nowMs) }),
    h("span", { class: "more" }, [sourceName(one.source), one.detail, `${Math.max(1, Math.round(one.size / 1024))} KiB`].filter(Boolean).join(" · ")));
}

/** j and k, and the arrows, move between findings. */
function listen(list) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, summary")) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? (settings.singleKeys ? { j: 1, k: -1 }[event.key.toLowerCase()] : undefined);
    const links = [...list.querySelectorAll("a")];
    const inside = list.contains(document.activeElement);
    if (step === undefined || !links.length || (event.key.startsWith("Arrow") && !inside)) return;
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step))].focus();
    event.preventDefault();
  });
}

function readChoice() {
  const query = new URLSearchParams(location.search);
  const state = query.get("state");
  return { state: STATES.includes(state) ? state : "waiting", model: query.get("model") ?? "" };
}

function writeChoice({ state, model }) {
  const query = new URLSearchParams();
  if (state !== "waiting") query.set("state", state);
  if (model) query.set("model", model);
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
}
