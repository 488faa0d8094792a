/** The pages of images and the workbench: sign in, the frame around them, and the one that the address names. */
import { session, signOut } from "./api.js";
import { button, h, icon, setData, setIcon, setText } from "./dom.js";
import { Gallery } from "./gallery.js";
import { ageText, t } from "./i18n.js";
import { caseView } from "./imagecase.js";
import { listView } from "./imagelist.js";
import { askToken } from "./signin.js";
import { Themes } from "./themes.js";
import { workbenchView } from "./workbench.js";

const byId = (id) => document.getElementById(id);
const RETRY_MS = 2000;
const TOAST_MS = 6000;
const LINKS = [["nav.wall", "/"], ["nav.images", "/images"], ["nav.workbench", "/workbench"]];

async function who() {
  for (;;) {
    try {
      return (await session()) ?? (await askToken(byId("sign-in")));
    } catch (unreachable) {
      byId("toast").replaceChildren(h("p", { text: unreachable.message }));
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      byId("toast").replaceChildren();
    }
  }
}

let toastTimer = 0;
function toast(words) {
  clearTimeout(toastTimer);
  byId("toast").replaceChildren(h("p", { text: words }));
  toastTimer = setTimeout(() => byId("toast").replaceChildren(), TOAST_MS);
}

/** The header; returns what shows the state of the link. */
function top(user, path) {
  const themes = new Themes();
  const here = path.startsWith("/images") ? "/images" : path;
  const link = h("div", { class: "link-state", role: "status" }, icon("link"), h("span", { class: "words" }));
  byId("top").append(
    h("div", { class: "brand" }, icon("logo"), h("span", { class: "name", text: t("app.name") })),
    ...(user.demo ? [h("span", { class: "badge", text: t("app.demo") })] : []),
    h("nav", { class: "nav", "aria-label": t("nav.label") }, ...LINKS.map(([key, to]) => h("a", { href: to, text: t(key), "aria-current": to === here ? "page" : null }))),
    h("span", { class: "spring" }), link,
    button(t("theme.label"), { kind: "bare", iconName: "theme", on: () => { themes.next(); toast(t("theme.next", { theme: t(`theme.${themes.current}`) })); } }),
    button(t("nav.out"), { kind: "bare", iconName: "out", on: async () => { await signOut(); location.reload(); } }));
  return link;
}

function tellHealth(gallery, link) {
  const { state, forMs } = gallery.health();
  setData(link, "state", state === "late" ? "lost" : state);
  setIcon(link.firstChild, state === "lost" || state === "late" ? "link-lost" : "link");
  setText(link.lastChild, t(`link.${state}`));
  const words = state === "lost" ? t("page.lost", { age: ageText(forMs) }) : state === "late" ? t("page.late") : state === "connecting" ? t("page.starting") : "";
  setData(byId("trouble"), "state", state);
  setText(byId("trouble"), state === "connecting" && forMs < 1000 ? "" : words);
}

function start(user) {
  const path = location.pathname.replace(/\/+$/, "") || "/";
  const link = top(user, path);
  byId("app").hidden = false;
  const gallery = new Gallery();
  gallery.addEventListener("signedout", () => location.reload());
  gallery.addEventListener("second", () => tellHealth(gallery, link));
  gallery.addEventListener("change", () => tellHealth(gallery, link));
  const page = { root: byId("main"), gallery, user, toast };
  if (path === "/workbench") workbenchView(page);
  else if (path.startsWith("/images/")) caseView(page, decodeURIComponent(path.slice("/images/".length)));
  else listView(page);
}

byId("foot").append(h("b", { text: t("app.not_a_device") }));
start(await who());
