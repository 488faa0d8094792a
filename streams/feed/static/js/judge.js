/** A reader's judgement of a result: accept, or reject with what is right. Believed only when the log has it. */
import { actionId } from "./actions.js";
import { FeedError, judge } from "./api.js";
import { h, setText } from "./dom.js";
import { t, whenText } from "./i18n.js";
import { labelName, measure, saidOf } from "./imagewords.js";

const MOST = 300;
const CANNOT = "-";

/** The form, and what was judged before; `told` is what the feed said of the case. */
export function judgeView({ result, labels, verdict }, user) {
  const title = h("h2", { id: "judge-title", text: t("judge.title") });
  const before = h("p", { class: "judged", hidden: true });
  const root = h("section", { class: "card judge", "aria-labelledby": "judge-title" }, title, before);
  showBefore(before, verdict, result);
  if (result.refusal && !result.label) root.append(h("p", { class: "quiet", text: t("judge.nothing") }));
  else if (user.role === "viewer") root.append(h("p", { class: "quiet", text: t("judge.viewer", user) }));
  else root.append(form(result, labels));
  return { root, seen: (said) => showBefore(before, said, result) };
}

function showBefore(node, verdict, result) {
  node.hidden = !verdict;
  if (!verdict) return;
  const right = verdict.label !== null ? labelName(verdict.label) : typeof verdict.value === "number" ? `${measure(verdict.value)} ${result.unit ?? ""}`.trim() : t("judge.cannot");
  const words = [t("judge.before", { verdict: t(`verdict.${verdict.verdict}`), actor: verdict.actor, when: whenText(verdict.at_ms) })];
  if (verdict.verdict === "reject") words.push(t("judge.before_right", { right }));
  if (verdict.note) words.push(`“${verdict.note}”`);
  setText(node, words.join(" · "));
}

function form(result, labels) {
  const measured = typeof result.value === "number";
  const radio = (value, words) => {
    const input = h("input", { type: "radio", name: "verdict", value, id: `judge-${value}` });
    return { input, root: h("label", { class: "check", for: input.id }, input, h("span", { text: words })) };
  };
  const accept = radio("accept", t("judge.accept", { label: saidOf(result) }));
  const reject = radio("reject", t("judge.reject"));
  const right = measured
    ? h("input", { type: "number", id: "judge-right", min: "0", max: String(MOST), step: "any", inputmode: "decimal" })
    : h("select", { id: "judge-right" }, h("option", { value: "", text: t("judge.pick") }),
      ...labels.filter((label) => label !== result.label).map((label) => h("option", { value: label, text: labelName(label) })), h("option", { value: CANNOT, text: t("judge.cannot") }));
  const rightRow = h("div", { class: "field", hidden: true }, h("label", { for: "judge-right", text: measured ? t("judge.value", { unit: result.unit ?? "" }) : t("judge.label") }), right);
  const note = h("textarea", { id: "judge-note", maxlength: "500", rows: "2", "aria-describedby": "judge-said" });
  const said = h("p", { class: "said", id: "judge-said", role: "status" });
  const record = h("button", { type: "submit", class: "button main-act", text: t("judge.record") });
  const root = h("form", {}, h("fieldset", {}, h("legend", { class: "unseen", text: t("judge.title") }), accept.root, reject.root), rightRow,
    h("div", { class: "field" }, h("label", { for: "judge-note", text: t("judge.note") }), note), h("div", { class: "acts" }, record), said, h("p", { class: "quiet", text: t("judge.training") }));
  for (const { input } of [accept, reject]) input.addEventListener("change", () => { rightRow.hidden = !reject.input.checked; });
  let asked = null;
  root.addEventListener("input", () => { asked = null; });
  root.addEventListener("submit", async (event) => {
    event.preventDefault();
    const made = verdictOf(accept.input.checked ? "accept" : reject.input.checked ? "reject" : null, right.value.trim(), note.value.trim(), measured);
    said.dataset.state = typeof made === "string" ? "wrong" : "sending";
    setText(said, typeof made === "string" ? made : t("judge.recording"));
    if (typeof made === "string") return;
    asked ??= { feedback_id: actionId(), ...made }; // the same words again are the same verdict, however often they are sent
    record.setAttribute("aria-disabled", "true");
    try {
      await judge(result.job_id, asked);
      said.dataset.state = "recorded";
      setText(said, t("judge.recorded"));
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      said.dataset.state = "wrong";
      setText(said, t("judge.failed", wrong));
    } finally {
      record.removeAttribute("aria-disabled");
    }
  });
  return root;
}

/** The body to send, or a sentence that says what is missing. */
function verdictOf(verdict, right, note, measured) {
  const more = note ? { note } : {};
  if (verdict === null) return t("judge.choose");
  if (verdict === "accept") return { verdict, ...more };
  if (!measured) {
    if (right === "") return t("judge.choose_label");
    return { verdict, ...(right === CANNOT ? {} : { label: right }), ...more };
  }
  const value = Number(right);
  if (right === "" || !(value >= 0 && value <= MOST)) return t("judge.choose_value", { most: MOST });
  return { verdict, value, ...more };
}
