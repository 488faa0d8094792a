/** The side panel: one bed in full, and why one of its alarms is there. */
import { FeedError, why } from "./api.js";
import { button, h, icon, setText } from "./dom.js";
import { ageText, clockTime, known, stopwatch, t } from "./i18n.js";
import { isLoud, toneOf } from "./store.js";
import { Chart } from "./strips.js";
import { figure, newsShown, shown, VITALS } from "./vitals.js";

const ROWS = [["heart_rate"], ["spo2"], ["respiration"], ["systolic", "diastolic", "mean_pressure"], ["temperature"]];
const PLAIN = ["supplemental_oxygen", "consciousness"];
const CHART_EVERY_MS = 2000;

export class Panel extends EventTarget {
  constructor(root, store, trends, actions) {
    super();
    this.root = root;
    this.store = store;
    this.trends = trends;
    this.actions = actions;
    this.key = null;
    this.view = null;
    this.charts = [];
    this.drawnAt = 0;
    this.signature = "";
    actions.addEventListener("changed", () => { this.signature = ""; });
    trends.addEventListener("came", ({ detail }) => {
      if (detail === this.key) this.frame(true);
    });
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
    this.body.append(
      h("section", {}, h("h3", { text: t("panel.alarms") }), this.alarms),
      h("section", {}, this.acts, this.#noteForm(bed)),
      h("section", {}, h("h3", { text: t("panel.vitals") }), h("div", { class: "rows" }, ...this.rows.map((row) => row.root), h("div", { class: "pair" }, ...this.plain.map((row) => row.root)))),
      h("section", {}, h("h3", { text: t("panel.news") }), this.news));
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
      if (this.asked === asked) this.#explain(told, alarm);
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
    const nowMs = this.store.nowMs();
    this.#alarmRows(bed, nowMs);
    for (const row of [...this.rows, ...this.plain]) this.#fill(row, bed, nowMs);
    this.#newsTable(bed);
    if (now || performance.now() - this.drawnAt > CHART_EVERY_MS) {
      this.drawnAt = performance.now();
      const data = this.trends.of(bed);
      for (const chart of this.charts) chart.draw(data, bed.tile.at_ms || nowMs);
    }
  }

  /** Another theme: all charts anew. */
  repaint() {
    for (const chart of this.charts) chart.destroy();
    this.drawnAt = 0;
    if (this.view === "why") for (const [chart, data, endMs] of this.fixed ?? []) chart.draw(data, endMs);
  }

  #start(view, key) {
    this.#drop();
    this.view = view;
    this.key = key;
    this.signature = "";
    this.newsSignature = "";
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
    const row = { vitals, grouped, val: h("span"), note: h("b"), limits: h("span"), unit: h("span", { class: "unit", text: kind.unit }) };
    const box = charted ? h("div", { class: "chart" }) : null;
    row.root = h("div", { class: `row v-${hue}` },
      h("div", {}, h("div", { class: "name", text: t(`vital.${grouped ? "pressure" : vitals[0]}`) }),
        h("div", { class: "value" }, row.val, row.unit),
        h("div", { class: "about" }, row.note, row.limits)), box);
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
    const signature = bed.alarms.map((a) => `${a.alert_id}:${a.seq}:${a.state}:${a.audio_until_ms > nowMs}`).join();
    if (signature !== this.signature) {
      this.signature = signature;
      const focused = document.activeElement?.dataset?.act ?? null;
      this.clocks = [];
      this.alarms.replaceChildren(...(bed.alarms.length ? bed.alarms.map((alarm, n) => this.#alarmRow(bed, alarm, n === 0)) : [h("p", { class: "quiet", text: t("panel.no_alarms") })]));
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
      h("span", { class: "mark" }, icon(tone), h("span", { text: t(`stars.${tone}`) })),
      h("div", {}, h("div", { class: "message", text: alarm.message }), state),
      h("div", { class: "acts" },
        isLoud(alarm) ? button(t("act.acknowledge"), { kind: "main-act", key: first ? "A" : null, on: () => this.actions.acknowledge(bed, alarm), "aria-label": t("act.ack_label", about), data: { act: `panel-ack-${alarm.alert_id}` }, "aria-disabled": this.actions.mayAct ? null : "true" }) : null,
        button(t("act.why"), { key: first ? "W" : null, on: () => this.dispatchEvent(new CustomEvent("why", { detail: alarm })), "aria-label": t("act.why_label", about), data: { act: `panel-why-${alarm.alert_id}` } })));
  }

  #bedActs(bed, nowMs) {
    const loud = bed.alarms.some(isLoud);
    const paused = bed.alarms.some((alarm) => alarm.audio_until_ms > nowMs);
    const off = this.actions.mayAct ? null : "true";
    const acts = [];
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

  #explain(told, alarm) {
    const last = told.transitions.at(-1) ?? alarm;
    const first = told.transitions[0] ?? alarm;
    const vital = last.vital ?? first.vital ?? null;
    const unit = vital ? VITALS[vital].unit : "";
    const fact = (key, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", { text: t(key) }), h("dd", {}, value)]);
    const say = (v) => (typeof v === "number" && vital ? `${figure(vital, v)} ${unit}` : v ?? null);
    const source = told.source ?? last.source;
    const facts = h("dl", { class: "facts-grid" },
      ...fact("why.value", say(last.value)), ...fact("why.limit", say(last.limit)),
      ...fact("why.onset", clockTime(first.onset_ms)), ...fact("why.reading", last.reading_ms ? clockTime(last.reading_ms) : null),
      ...fact("why.condition", `${last.condition}, ${t(`category.${last.category}`)}, ${t(`priority.${last.priority}`).toLowerCase()}`),
      ...fact("why.source", h("code", { text: t("why.source_value", source) })),
      ...fact("why.policy", h("span", {}, `${told.policy?.name ?? ""} `, h("code", { text: told.policy?.hash ?? last.policy }))),
      ...fact("why.model", last.model ? h("code", { text: last.model }) : null),
      ...fact("why.alert", h("code", { text: told.alert_id })));
    const chartBox = h("div", { class: "chart" });
    const chartOf = vital && VITALS[vital]?.hue !== "--text" ? vital : "spo2";
    const group = ROWS.find((vitals) => vitals.includes(chartOf));
    const ordered = [chartOf, ...group.filter((one) => one !== chartOf)];
    this.body.replaceChildren(
      h("section", {}, h("h3", { text: t("why.rule") }), h("p", { class: "rule", text: told.rule })),
      h("section", {}, h("h3", { text: t("why.what") }), facts),
      h("section", {}, h("h3", { text: `${t("why.trend")}: ${t(`vital.${chartOf}`)}` }), chartBox),
      h("section", {}, h("h3", { text: t("why.timeline") }), h("ol", { class: "timeline" }, ...told.transitions.map((step) => timelineStep(step)))),
      ...(told.news2 ? [h("section", {}, h("h3", { text: t("why.news") }), ...newsTable(told.news2))] : []),
      h("p", { class: "quiet", text: t("why.audience") }));
    const chart = new Chart(chartBox, ordered, { axes: true, mark: first.onset_ms });
    this.charts.push(chart);
    if (told.trend?.t_ms?.length) {
      const endMs = told.trend.t_ms.at(-1);
      this.fixed = [[chart, told.trend, endMs]];
      chart.draw(told.trend, endMs);
    } else chart.draw(null, 0);
  }
}

function timelineStep(step) {
  const words = t(`event.${step.event}`, { level: step.escalation, until: step.audio_until_ms ? clockTime(step.audio_until_ms) : "" });
  const more = [step.message, step.actor ? t("event.by", step) : "", step.note ?? "", t("why.source_value", step.source)].filter(Boolean).join(" · ");
  return h("li", {}, h("time", { datetime: new Date(step.at_ms).toISOString(), text: clockTime(step.at_ms) }),
    h("div", {}, h("div", { text: words }), h("div", { class: "more", text: more })));
}

function newsTable(news2) {
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
