/** The side panel: one bed in full, and why one of its alarms is there. */
import { FeedError, why } from "./api.js";
import { ageOf, aheadWords, furthestOf, numbers } from "./bands.js";
import { bedImages } from "./bedimages.js";
import { Chart } from "./chart.js";
import { button, h, icon, setData, setText } from "./dom.js";
import { ageText, clockTime, known, stopwatch, t } from "./i18n.js";
import { adviceIcon, anomalyView, outlookOf, riskTable } from "./outlook.js";
import { isAdvisory, isLoud, toneOf } from "./store.js";
import { shown, VITALS } from "./vitals.js";
import { newsTable, ROWS, whyView } from "./whyview.js";

const PLAIN = ["supplemental_oxygen", "consciousness"];
const CHART_EVERY_MS = 2000;

export class Panel extends EventTarget {
  constructor(root, store, trends, forecasts, actions) {
    super();
    this.root = root;
    this.store = store;
    this.trends = trends;
    this.forecasts = forecasts;
    this.actions = actions;
    this.key = null;
    this.view = null;
    this.charts = [];
    this.drawnAt = 0;
    this.signature = null;
    new ResizeObserver(() => this.#resized()).observe(root);
    actions.addEventListener("changed", () => { this.signature = null; });
    for (const source of [trends, forecasts]) {
      source.addEventListener("came", ({ detail }) => {
        if (detail === this.key) this.frame(true);
      });
    }
  }

  get open() {
    return this.view !== null;
  }

  /** Shows a bed. */
  show(bed, focus = true) {
    this.#start("bed", bed.key);
    this.#head(h("span", { text: t("panel.bed", { bed: bed.tile.bed }) }), h("small", { text: t("panel.patient", bed.tile) }));
    this.alarms = h("div", { class: "alarm-list" });
    this.rows = ROWS.map((vitals) => this.#row(vitals));
    this.plain = PLAIN.map((vital) => this.#row([vital], false));
    this.news = h("div", {});
    this.acts = h("div", { class: "acts" });
    this.#outlookParts();
    this.body.append(
      h("section", {}, h("h3", { text: t("panel.alarms") }), this.alarms),
      this.advice,
      h("section", {}, this.acts, this.#noteForm(bed)),
      h("section", {}, this.vitalsTitle, h("div", { class: "rows" }, ...this.rows.map((row) => row.root), h("div", { class: "pair" }, ...this.plain.map((row) => row.root)))),
      this.legend,
      h("section", {}, h("h3", { text: t("panel.news") }), this.news),
      this.risks, this.odd, this.actions.possible ? bedImages(bed.tile) : "");
    this.frame(true);
    if (focus) this.root.focus({ preventScroll: true });
  }

  /** Shows why: asks the feed, which keeps the rule, the values and their sources. */
  async why(bed, alarm) {
    this.#start("why", bed.key);
    const title = h("span", { text: t("why.title", { message: alarm.message }) });
    this.#head(title, h("small", { text: t("panel.bed", { bed: bed.tile.bed }) }), true);
    this.body.append(h("p", { class: "quiet", text: t("why.loading") }));
    this.root.focus({ preventScroll: true });
    const asked = this.asked = Symbol(alarm.alert_id);
    try {
      const told = await why(alarm.alert_id);
      if (this.asked === asked) this.#explain(whyView(told, alarm));
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      if (this.asked === asked) this.body.replaceChildren(h("p", { role: "alert", text: t("why.gone", wrong) }));
    }
  }

  close() {
    this.#drop();
    this.view = null;
    this.key = null;
    this.root.hidden = true;
    this.root.parentNode.dataset.panel = "closed";
  }

  /** One step back: from why to the bed, from the bed to the wall (true: closed). */
  back() {
    const bed = this.store.beds.get(this.key);
    if (this.view === "why" && bed) {
      this.show(bed);
      return false;
    }
    this.close();
    return true;
  }

  /** Once a second, or when the bed changed. */
  frame(now = false) {
    if (this.view !== "bed") return;
    const bed = this.store.beds.get(this.key);
    if (!bed) return;
    const nowMs = this.store.nowMs(bed.tile.ward);
    this.#alarmRows(bed, nowMs);
    for (const row of [...this.rows, ...this.plain]) this.#fill(row, bed, nowMs);
    this.#newsTable(bed);
    const told = this.forecasts.of(bed, nowMs);
    this.#outlook(bed, told, nowMs);
    const age = ageOf(told, nowMs).state;
    if (now || age !== this.drawnAs || performance.now() - this.drawnAt > CHART_EVERY_MS) {
      this.drawnAt = performance.now();
      this.drawnAs = age;
      const data = this.trends.of(bed);
      const current = age === "now" ? told : null;
      for (const chart of this.charts) chart.draw(data, bed.tile.at_ms || nowMs, current);
    }
  }

  /** Another theme: all charts anew. */
  repaint() {
    for (const chart of this.charts) chart.destroy();
    this.drawnAt = 0;
    if (this.view === "why") for (const [chart, data, endMs, band] of this.fixed ?? []) chart.draw(data, endMs, band);
  }

  /** Another width: the charts fit themselves to it. */
  #resized() {
    if (this.view === "why") for (const [chart, data, endMs, band] of this.fixed) chart.draw(data, endMs, band);
    else this.frame(true);
  }

  #start(view, key) {
    this.#drop();
    this.view = view;
    this.key = key;
    this.signature = null;
    this.newsSignature = "";
    this.outlookSignature = "";
    this.asked = null;
    this.fixed = [];
    this.root.hidden = false;
    this.root.parentNode.dataset.panel = "open";
    this.body = h("div", { class: "panel-scroll", tabindex: "0", role: "group", "aria-label": t(view === "why" ? "act.why" : "panel.vitals") });
  }

  #drop() {
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
    this.root.replaceChildren();
  }

  #head(title, small, withBack = false) {
    const heading = h("h2", { id: "panel-title" }, title, small);
    this.root.setAttribute("aria-labelledby", "panel-title");
    const back = button(t("act.back"), { kind: "bare", iconName: "back", on: () => this.back(), "aria-label": t("act.back") });
    const close = button(t("act.close"), { kind: "bare", iconName: "close", key: "Esc", on: () => this.dispatchEvent(new CustomEvent("close")) });
    this.root.append(h("div", { class: "panel-head" }, heading, withBack ? back : null, close), this.body);
  }

  #noteForm(bed) {
    const input = h("input", { type: "text", maxlength: "200", "aria-label": t("act.note_label"), placeholder: t("act.note_label"), autocomplete: "off" });
    const form = h("form", { class: "note-form", hidden: true }, input, button(t("act.note"), {}));
    form.querySelector("button").type = "submit";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text) this.actions.note(bed, text);
      input.value = "";
    });
    this.noteForm = form;
    return form;
  }

  #row(vitals, charted = true) {
    const kind = VITALS[vitals[0]];
    const grouped = vitals.length > 1;
    const hue = grouped ? "pressure" : charted ? vitals[0] : "other";
    const row = { vitals, grouped, val: h("span"), note: h("b"), limits: h("span"), ahead: h("div", { class: "about ahead" }), unit: h("span", { class: "unit", text: kind.unit }) };
    const box = charted ? h("div", { class: "chart" }) : null;
    row.root = h("div", { class: `row v-${hue}` },
      h("div", {}, h("div", { class: "name", text: t(`vital.${grouped ? "pressure" : vitals[0]}`) }),
        h("div", { class: "value" }, row.val, row.unit),
        h("div", { class: "about" }, row.note, row.limits), charted ? row.ahead : null), box);
    if (charted) this.charts.push(new Chart(box, vitals, { axes: true }));
    return row;
  }

  #fill(row, bed, nowMs) {
    const { values } = bed.tile;
    const each = row.vitals.map((vital) => shown(vital, values[vital], nowMs, "age"));
    setText(row.val, row.grouped ? `${each[0].text}/${each[1].text}${values.mean_pressure ? ` (${each[2].text})` : ""}` : each[0].text);
    const first = row.vitals.map((vital) => values[vital]).find(Boolean);
    const doubt = each.find((one) => one.state !== "ok" && one.note)?.note ?? "";
    const quality = first && known(`quality.${first.q}`) && first.q !== "no_signal" ? t(`quality.${first.q}`) : "";
    const age = first ? t("age.ago", { age: ageText(nowMs - first.at) }) : "";
    setText(row.note, [doubt || age, quality].filter(Boolean).join(", "));
    row.unit.hidden = each[0].text === t("value.air");
    const limits = this.store.policy?.limits?.[row.vitals[0]] ?? {};
    const own = this.trends.of(bed)?.limits?.[row.vitals[0]] ?? limits;
    const { low, high } = own;
    const has = (x) => typeof x === "number";
    const words = has(low) && has(high) ? t("limits.between", own) : has(low) ? t("limits.low", own) : has(high) ? t("limits.high", own) : "";
    setText(row.limits, words && row.note.textContent ? ` · ${words}` : words);
  }

  #alarmRows(bed, nowMs) {
    const signature = [...bed.alarms, ...bed.advisories].map((a) => `${a.alert_id}:${a.seq}:${a.state}:${a.audio_until_ms > nowMs}`).join();
    if (signature !== this.signature) {
      this.signature = signature;
      const focused = document.activeElement?.dataset?.act ?? null;
      this.clocks = [];
      this.alarms.replaceChildren(...(bed.alarms.length ? bed.alarms.map((alarm, n) => this.#alarmRow(bed, alarm, n === 0)) : [h("p", { class: "quiet", text: t("panel.no_alarms") })]));
      this.advised.replaceChildren(...bed.advisories.map((one, n) => this.#alarmRow(bed, one, n === 0 && !bed.alarms.length)));
      this.advice.hidden = !bed.advisories.length;
      this.#bedActs(bed, nowMs);
      if (focused) this.root.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
    for (const { node, alarm } of this.clocks ?? []) {
      const left = (alarm.audio_until_ms ?? 0) - nowMs;
      const parts = [t(`state.${alarm.state}`), t("panel.since", { time: clockTime(alarm.onset_ms), age: stopwatch(nowMs - alarm.onset_ms) })];
      if (left > 0) parts.push(t("tile.paused_long", { left: stopwatch(left + 999) }));
      if (alarm.escalation > 0) parts.push(t("event.escalated", { level: alarm.escalation }));
      if (this.actions.isPending(bed.key, alarm.alert_id)) parts.push(t("act.pending"));
      setText(node, parts.join(" · "));
    }
  }

  #alarmRow(bed, alarm, first) {
    const tone = toneOf(alarm);
    const state = h("div", { class: "state" });
    this.clocks.push({ node: state, alarm });
    const about = { message: alarm.message, bed: bed.tile.bed };
    return h("div", { class: `alarm-row tone-${tone}`, data: { alert: alarm.alert_id } },
      h("span", { class: "mark" }, icon(isAdvisory(alarm) ? adviceIcon(alarm) : tone), h("span", { text: t(`stars.${tone}`) })),
      h("div", {}, h("div", { class: "message", text: alarm.message }), state),
      h("div", { class: "acts" },
        isLoud(alarm) && this.actions.possible ? button(t("act.acknowledge"), { kind: "main-act", key: first ? "A" : null, on: () => this.actions.acknowledge(bed, alarm), "aria-label": t("act.ack_label", about), data: { act: `panel-ack-${alarm.alert_id}` }, "aria-disabled": this.actions.mayAct ? null : "true" }) : null,
        button(t("act.why"), { key: first ? "W" : null, on: () => this.dispatchEvent(new CustomEvent("why", { detail: alarm })), "aria-label": t("act.why_label", about), data: { act: `panel-why-${alarm.alert_id}` } })));
  }

  #bedActs(bed, nowMs) {
    const loud = bed.alarms.some(isLoud);
    const paused = bed.alarms.some((alarm) => alarm.audio_until_ms > nowMs);
    const off = this.actions.mayAct ? null : "true";
    const acts = [];
    if (!this.actions.possible) {
      this.acts.parentNode.hidden = true;
      return;
    }
    if (loud && !paused) acts.push(button(t("act.pause", { s: this.actions.pauseSeconds() }), { iconName: "bell-pause", key: "P", on: () => this.actions.pause(bed), data: { act: "pause" }, "aria-disabled": off }));
    if (paused) acts.push(button(t("act.resume"), { iconName: "bell", on: () => this.actions.resume(bed), data: { act: "resume" }, "aria-disabled": off }));
    if (bed.alarms.length) acts.push(button(t("act.escalate"), { on: () => this.actions.escalate(bed, bed.alarms[0]), data: { act: "escalate" }, "aria-disabled": off }));
    if (bed.alarms.length) acts.push(button(t("act.note"), { on: () => { this.noteForm.hidden = false; this.noteForm.querySelector("input").focus(); }, data: { act: "note" }, "aria-disabled": off }));
    this.acts.replaceChildren(...acts);
    this.acts.parentNode.hidden = acts.length === 0;
  }

  #newsTable(bed) {
    const signature = JSON.stringify(bed.tile.news2);
    if (signature === this.newsSignature) return;
    this.newsSignature = signature;
    this.news.replaceChildren(...newsTable(bed.tile.news2));
  }

  #outlookParts() {
    this.advised = h("div", { class: "alarm-list" });
    this.advice = h("section", { class: "advice", hidden: true }, h("h3", { text: t("panel.advisories") }), this.advised);
    this.vitalsTitle = h("h3", { text: t("panel.vitals") });
    this.table = h("tbody");
    const heads = ["vital", "horizon", "median", "range", "below", "above", "engine", "skill"];
    this.legend = h("section", { class: "legend", hidden: true }, h("p", { class: "quiet", text: t("ahead.legend") }), this.hatched = h("p", { class: "quiet", text: t("ahead.hatched"), hidden: true }),
      h("p", { class: "disclaimer", text: t("ahead.disclaimer") }),
      h("details", { class: "numbers" }, h("summary", { text: t("ahead.numbers") }), h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": t("ahead.numbers") },
        h("table", { class: "table" }, h("thead", {}, h("tr", {}, ...heads.map((key) => h("th", { scope: "col", text: t(`ahead.col_${key}`) })))), this.table))));
    this.riskBody = h("div");
    this.risks = h("section", { data: { part: "risks" } }, h("h3", { text: t("risk.title") }), this.riskBody);
    this.oddBody = h("div");
    this.odd = h("section", { data: { part: "anomaly" } }, h("h3", { text: t("anomaly.title") }), this.oddBody);
  }

  /** What the models say: beside each vital, and below NEWS2. Old words are greyed and say how old they are. */
  #outlook(bed, told, nowMs) {
    const now = outlookOf(bed, nowMs);
    const age = ageOf(told, nowMs);
    const stale = now.state === "stale" ? t("outlook.stale", { age: ageText(now.ageMs) }) : "";
    for (const row of this.rows) this.#ahead(row, told, age);
    const drawn = age.state === "now" && told.vitals.length > 0;
    this.legend.hidden = !drawn;
    setText(this.vitalsTitle, t(drawn ? "panel.vitals_ahead" : "panel.vitals"));
    this.hatched.hidden = !(drawn && told.vitals.some((one) => one.engine === "persistence"));
    const signature = JSON.stringify([now.state, now.now_ms, stale, told?.now_ms, age.state]);
    if (signature === this.outlookSignature) return;
    this.outlookSignature = signature;
    const old = () => (stale ? [h("p", { class: "stale-note", text: stale })] : []);
    for (const part of [this.risks, this.odd]) setData(part, "state", now.state);
    this.riskBody.replaceChildren(...old(), ...riskTable(now), h("p", { class: "disclaimer", text: t("ahead.disclaimer") }));
    this.oddBody.replaceChildren(...old(), ...anomalyView(now));
    if (drawn) this.table.replaceChildren(...numbers(told).map((one) => h("tr", {}, ...Object.values(one).map((cell) => h("td", { text: cell })))));
  }

  /** The words of a row's forecast, and in its data whether it is a network's, persistence or too old to show. */
  #ahead(row, told, age) {
    const vital = row.vitals.find((one) => told && furthestOf(told, one)) ?? null;
    const one = vital ? furthestOf(told, vital) : null;
    setData(row.root, "forecast", one ? (age.state === "now" ? one.engine : age.state) : "none");
    const limits = told?.limits?.[vital] ?? {};
    const words = !one ? "" : age.state === "stale" ? t("ahead.stale", { age: ageText(age.ageMs) }) : `${row.grouped ? `${t(`short.${vital}`)} ` : ""}${aheadWords(told, vital, limits)}`;
    setText(row.ahead, words && one.engine === "persistence" && age.state === "now" ? `${words} · ${t("ahead.persistence")}` : words);
  }

  #explain({ nodes, chart, data, endMs, band }) {
    this.body.replaceChildren(...nodes);
    this.charts.push(chart);
    if (data) this.fixed = [[chart, data, endMs, band]];
    chart.draw(data, endMs, band);
  }
}
