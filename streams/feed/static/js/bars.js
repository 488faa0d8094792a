/** Probabilities as bars with the threshold marked, and a measure on its scale: words and numbers first, length second. */
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { measure } from "./imagewords.js";
import { percent } from "./outlook.js";

/** One bar: {name, share, note, mark, strong}; `mark` is where a threshold stands, from 0 to 1. */
function bar({ name, share, note = "", mark = null, strong = false }) {
  const fill = h("span", { class: "fill" });
  fill.style.inlineSize = `${Math.max(0, Math.min(100, share * 100))}%`;
  const track = h("span", { class: "bar", "aria-hidden": "true" }, fill);
  if (typeof mark === "number") {
    const tick = h("span", { class: "tick" });
    tick.style.insetInlineStart = `${mark * 100}%`;
    track.append(tick);
  }
  return h("li", { data: { strong: strong ? "yes" : "no", marked: typeof mark === "number" ? "yes" : "no" } },
    h("span", { class: "name" }, name, note ? h("small", { text: note }) : null), track, h("b", { class: "n", text: percent(share) }));
}

/** A list of bars. */
export const bars = (rows) => h("ul", { class: "bars" }, ...rows.map(bar));

/** A measure with its band: {value, low, high, unit}. */
export function band({ value, low, high, unit }) {
  const room = Math.max(12, (high - low) * 0.75);
  const from = Math.max(0, low - room);
  const to = high + room;
  const at = (x) => `${(100 * (x - from)) / (to - from)}%`;
  const inner = h("span", { class: "inner" });
  inner.style.insetInlineStart = at(low);
  inner.style.inlineSize = `${(100 * (high - low)) / (to - from)}%`;
  const point = h("span", { class: "point" });
  point.style.insetInlineStart = at(value);
  const ends = [low, high].map((x) => {
    const end = h("span", { class: "end", text: measure(x) });
    end.style.insetInlineStart = at(x);
    return end;
  });
  return h("div", { class: "band" }, h("div", { class: "scale", "aria-hidden": "true" }, inner, point, ...ends),
    h("p", { text: t("case.band", { low: measure(low), high: measure(high), unit: unit ?? "" }) }));
}
