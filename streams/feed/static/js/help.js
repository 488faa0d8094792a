/** Help and settings in one dialog: keys, marks, theme, sound, sign out. */
import { button, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { THEMES } from "./themes.js";

const OF_THE_WARD = new Set(["a", "p", "s"]);
const KEYS = [["↑ ↓ ← → j k", "move"], ["Enter", "open"], ["A", "a"], ["P", "p"], ["W", "w"], ["S", "s"], ["?", "h"], ["Esc", "esc"]];

export class Help extends EventTarget {
  constructor(dialog, settings, sound, themes, who) {
    super();
    this.dialog = dialog;
    const single = h("input", { type: "checkbox", id: "single-keys" });
    single.checked = settings.singleKeys;
    single.addEventListener("change", () => { settings.singleKeys = single.checked; });
    const keys = KEYS.filter(([, words]) => who.replay === null || !OF_THE_WARD.has(words));
    const volume = h("input", { type: "range", min: "20", max: "100", step: "5", id: "volume", value: Math.round(settings.volume * 100) });
    volume.addEventListener("input", () => { settings.volume = Number(volume.value) / 100; sound.setVolume(settings.volume); });
    const choices = THEMES.map((theme) => button(t(`theme.${theme}`), { on: () => themes.use(theme), "aria-pressed": String(themes.current === theme), data: { theme } }));
    themes.addEventListener("change", () => choices.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.theme === themes.current))));
    const close = button(t("act.close"), { kind: "bare", iconName: "close", on: () => dialog.close() });
    dialog.setAttribute("aria-labelledby", "help-title");
    dialog.replaceChildren(
      h("div", { class: "panel-head" }, h("h2", { id: "help-title", text: t("help.title") }), close),
      h("div", { class: "panel-scroll", tabindex: "0", role: "group", "aria-label": t("help.title") },
        ...(who.replay === null ? [] : [h("section", {}, h("h3", { text: t("help.replay") }), h("p", { text: t("help.replay_note") }))]),
        h("section", {}, h("h3", { text: t("help.keys") }), h("dl", { class: "keys" }, ...keys.flatMap(([key, words]) => [h("dt", {}, h("kbd", { text: key })), h("dd", { text: t(`help.key.${words}`) })])),
          h("label", { class: "check", for: "single-keys" }, single, h("span", { text: t("help.single") }))),
        h("section", {}, h("h3", { text: t("help.marks") }), h("dl", { class: "keys" }, ...["high", "medium", "low", "technical"].flatMap((tone) => [
          h("dt", { class: `count tone-${tone}`, data: { n: "some" } }, icon(tone), h("span", { text: t(`stars.${tone}`) })), h("dd", { text: t(`help.mark.${tone}`) })]),
          ...["unusual", "ahead"].flatMap((name) => [h("dt", { class: "sign-sample" }, icon(name), icon(`${name}-on`)), h("dd", { text: t(`help.mark.${name}`) })]))),
        h("section", {}, h("h3", { text: t("help.models") }), h("p", { class: "quiet", text: t("help.models_note") })),
        h("section", {}, h("h3", { text: t("help.values") }), h("p", { class: "quiet", text: t("help.values_note") })),
        h("section", {}, h("h3", { text: t("theme.label") }), h("div", { class: "choice" }, ...choices)),
        ...(who.silent ? [] : [h("section", {}, h("h3", { text: t("help.sound") }), h("p", { class: "quiet", text: t("help.sound_note") }),
          h("label", { class: "check", for: "volume" }, h("span", { text: t("help.volume") }), volume),
          h("div", { class: "choice" }, button(t("help.test"), { iconName: "bell", on: () => this.dispatchEvent(new CustomEvent("test")) })))]),
        h("section", {}, h("p", { text: t("help.who", who) }),
          h("div", { class: "choice" }, button(t("help.out"), { iconName: "out", on: () => this.dispatchEvent(new CustomEvent("out")) })),
          h("p", { class: "quiet", text: t("app.not_a_device") }))));
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
  }
}
