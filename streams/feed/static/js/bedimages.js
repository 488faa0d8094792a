/** Results of the images of a bed's patient, in the bed's own panel; nothing where images cannot be matched with beds. */
import { FeedError, imagesOfBed } from "./api.js";
import { h, icon } from "./dom.js";
import { t, whenText } from "./i18n.js";
import { modelName, saidOf, sureOf } from "./imagewords.js";

const SHOWN = 6;

/** A section that fills itself and shows only when there is something. */
export function bedImages(tile) {
  const list = h("ul", { class: "bed-images" });
  const root = h("section", { hidden: true }, h("h3", { text: t("panel.images") }), list);
  imagesOfBed(tile).then(({ results }) => {
    root.hidden = results.length === 0;
    list.append(...results.slice(0, SHOWN).map((one) => h("li", {}, h("a", { href: `/images/${encodeURIComponent(one.job_id)}` }, icon("image"),
      h("b", { text: [saidOf(one), sureOf(one)].filter(Boolean).join(", ") }), h("span", { class: "quiet", text: `${modelName(one.model)}, ${whenText(one.at_ms)}` })))));
  }, (wrong) => {
    if (!(wrong instanceof FeedError)) throw wrong;
  });
  return root;
}
