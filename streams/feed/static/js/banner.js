/** The most urgent alarms across the top. What does not fit takes turns, within the highest priority only. */
import { button, h, icon, setText } from "./dom.js";
import { stopwatch, t } from "./i18n.js";
import { isLoud, toneOf } from "./store.js";

const TURN_MS = 4000;
const STEADY_MS = 450;
const BLOCK_PX = 560;

export class Banner extends EventTarget {
  constructor(root, store, actions) {
    super();
    this.root = root;
    this.store = store;
    this.actions = actions;
    this.page = 0;
    this.turnedAt = 0;
    this.held = false;
    this.changedAt = 0;
    this.signature = "";
    this.blocks = [];
    root.setAttribute("aria-label", t("banner.label"));
    this.list = h("div", { class: "banner-list" });
    this.pager = h("div", { class: "banner-more" });
    root.append(this.list, this.pager);
  }

  /** Once a frame: takes the alarms as they are and rewrites only what differs. */
  frame(open, advised = 0) {
    const loud = open.filter(isLoud);
    const slots = Math.max(1, Math.floor(this.root.clientWidth / BLOCK_PX));
    const top = loud.filter((alarm) => alarm.priority === loud[0].priority);
    const pages = Math.max(1, Math.ceil(top.length / slots));
    const still = this.held || this.root.matches(":hover") || this.root.contains(document.activeElement);
    if (performance.now() - this.turnedAt > TURN_MS && !still) {
      this.page += 1;
      this.turnedAt = performance.now();
    }
    if (this.page >= pages) this.page = 0;
    const turn = (n) => top[(this.page * slots + n) % top.length]; // a last page that is not full begins anew
    const shown = pages > 1 ? Array.from({ length: slots }, (_, n) => turn(n)) : loud.slice(0, slots);
    const signature = shown.map((a) => `${a.alert_id}:${a.seq}:${a.state}`).join() + `|${loud.length}|${open.length}|${pages}|${this.page}|${this.held}|${this.store.beds.size}|${advised}`;
    const pending = shown.map((a) => this.actions.isPending(`${a.ward}/${a.bed}`, a.alert_id)).join();
    if (signature + pending !== this.signature) {
      this.signature = signature + pending;
      this.#rebuild(shown, open, loud, pages, advised);
    }
    for (const { alarm, since } of this.blocks) {
      const nowMs = this.store.nowMs(alarm.ward);
      const left = (alarm.audio_until_ms ?? 0) - nowMs;
      setText(since, left > 0 ? `${stopwatch(nowMs - alarm.onset_ms)}, ${t("tile.paused_long", { left: stopwatch(left + 999) })}` : stopwatch(nowMs - alarm.onset_ms));
    }
  }

  #rebuild(shown, open, loud, pages, advised) {
    const ids = shown.map((a) => a.alert_id).join();
    if (ids !== this.ids) this.changedAt = performance.now();
    this.ids = ids;
    const focused = document.activeElement?.dataset?.act ?? null;
    this.blocks = shown.map((alarm) => this.#block(alarm));
    if (shown.length) this.list.replaceChildren(...this.blocks.map((block) => block.node));
    else this.list.replaceChildren(h("p", { class: "calm" }, open.length ? icon("check") : null, this.#calm(open, advised)));
    this.#more(loud.length - shown.length, pages);
    if (focused) this.root.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #calm(open, advised) {
    const n = this.store.beds.size;
    if (!n) return t("banner.waiting");
    const calm = open.length ? t("banner.calm_acked", { acked: open.length, n }) : t("banner.calm", { n });
    return advised ? `${calm} ${t(advised === 1 ? "banner.advised_one" : "banner.advised", { n: advised })}` : calm;
  }

  #more(rest, pages) {
    this.pager.hidden = rest <= 0;
    if (rest <= 0) return;
    const words = [h("span", { text: t("banner.more", { n: rest }) })];
    if (pages > 1) {
      words.push(h("button", { type: "button", class: "button bare", data: { act: "hold" }, "aria-label": t(this.held ? "banner.roll_long" : "banner.hold_long"),
        text: this.held ? t("banner.roll") : t("banner.hold"), on: { click: () => { this.held = !this.held; } } }));
    }
    this.pager.replaceChildren(...words);
  }

  #block(alarm) {
    const tone = toneOf(alarm);
    const since = h("span", { class: "since" });
    const key = `${alarm.ward}/${alarm.bed}`;
    const pending = this.actions.isPending(key, alarm.alert_id);
    const guarded = (name) => () => {
      // A list that moved under the finger must not acknowledge another bed's alarm.
      if (performance.now() - this.changedAt < STEADY_MS) this.dispatchEvent(new CustomEvent("say", { detail: t("banner.moved") }));
      else this.dispatchEvent(new CustomEvent(name, { detail: alarm }));
    };
    const about = { message: alarm.message, bed: alarm.bed };
    const state = pending ? t("act.pending") : t(`state.${alarm.state}`);
    const node = h("article", { class: `alarm-block tone-${tone}`, data: { alert: alarm.alert_id } },
      h("span", { class: "mark" }, icon(tone), h("span", { text: t(`stars.${tone}`) })),
      h("div", { class: "what" },
        h("div", { class: "line1" }, h("span", { text: alarm.bed }), h("span", { class: "message", text: alarm.message })),
        h("div", { class: "line2" }, since, ` · ${state}`)),
      h("div", { class: "acts" },
        this.actions.possible ? button(t("act.acknowledge"), { on: guarded("acknowledge"), "aria-label": t("act.ack_label", about), data: { act: `ack-${alarm.alert_id}` }, "aria-disabled": this.actions.mayAct ? null : "true" }) : "",
        button(t("act.why"), { kind: "second", on: guarded("why"), "aria-label": t("act.why_label", about), data: { act: `why-${alarm.alert_id}` } })));
    return { node, since, alarm };
  }
}
