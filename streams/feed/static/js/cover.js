/** Hides a wall that is no longer live: never a frozen good picture. */
import { h, icon, setText } from "./dom.js";
import { clockTime, stopwatch, t } from "./i18n.js";

export class Cover {
  constructor(root, behind, replay = null) {
    this.root = root;
    this.of = replay === null ? "" : "replay_";
    this.behind = behind;
    this.title = h("h2");
    this.long = h("p", { class: "long" });
    this.hint = h("p", { class: "hint" });
    root.setAttribute("role", "alert");
    root.append(h("div", { class: "box" }, icon("link-lost"), this.title, this.long, this.hint));
    this.on = false;
  }

  /** Shows or lifts the cover; returns whether it just came down over the wall. */
  judge(health, lastMs) {
    const lost = ["link", "log", "fault"].includes(health.state);
    const fell = lost && !this.on;
    if (lost !== this.on) {
      this.on = lost;
      this.root.hidden = !lost;
      for (const part of this.behind) part.inert = lost;
    }
    if (lost) {
      setText(this.title, t(`cover.${this.of}${health.state}`));
      setText(this.long, t(`cover.${health.state}_why`, { long: stopwatch(health.forMs) }));
      setText(this.hint, t(`cover.${this.of}hint`, { time: lastMs ? clockTime(lastMs) : "--:--:--" }));
    }
    return fell;
  }
}
