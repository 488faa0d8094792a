/** The sign-in page: one token, sent in a body, never in an address. */
import { FeedError, signIn } from "./api.js";
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

/** Shows the form; resolves with who signed in. */
export function askToken(root) {
  return new Promise((resolve) => {
    const error = h("p", { class: "error", role: "alert", id: "sign-in-error", hidden: true });
    const input = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", spellcheck: "false", required: true, "aria-describedby": "sign-in-error sign-in-hint" });
    const form = h("form", { class: "card" },
      h("h1", {}, icon("logo"), h("span", { text: t("signin.title") })), h("p", { class: "quiet", text: t(document.documentElement.dataset.replay ? "replay.signin" : "signin.lead") }),
      h("label", { for: "token" }, t("signin.token"), input), error,
      h("button", { type: "submit", class: "button main-act", text: t("signin.go") }),
      h("p", { class: "quiet", id: "sign-in-hint", text: t("signin.hint") }));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const who = await signIn(input.value.trim());
        root.hidden = true;
        root.replaceChildren();
        resolve(who);
      } catch (wrong) {
        if (!(wrong instanceof FeedError)) throw wrong;
        error.textContent = wrong.status === 0 ? t("signin.unreachable") : t("signin.wrong", wrong);
        error.hidden = false;
        input.select();
      }
    });
    root.replaceChildren(h("main", {}, form));
    root.hidden = false;
    input.focus();
  });
}
