/** Adding images: by drop or by button, with what a picture cannot say itself; what becomes of each stays beside it. */
import { FeedError, sendFile } from "./api.js";
import { button, h, icon, setData, setText } from "./dom.js";
import { ageText, t } from "./i18n.js";
import { reasonWords, saidOf, sureOf } from "./imagewords.js";

const MOST_MIB = 64;
const LONG_MS = 30000;
const KINDS = { dicom: {}, brain: { modality: "MR", body_part: "BRAIN" }, knee: { modality: "DX", body_part: "KNEE" }, hand: { modality: "DX", body_part: "HAND" }, other: null };
let count = 0;

/** The card to add images with. Each image that was stored is told as a `stored` event of `events` (instance in detail). */
export function uploadView(gallery, user, events = new EventTarget()) {
  const id = `up-${(count += 1)}`;
  const head = h("h2", { id: `${id}-title`, text: t("up.title") });
  const card = h("section", { class: "card upload", "aria-labelledby": `${id}-title` }, head);
  if (user.role === "viewer") {
    card.append(h("p", { class: "quiet", text: t("up.viewer", user) }));
    return card;
  }
  const input = h("input", { type: "file", multiple: true, class: "unseen", id: `${id}-file`, accept: ".dcm,.dicom,.ima,.jpg,.jpeg,.png,.tif,.tiff,application/dicom,image/jpeg,image/png,image/tiff", "aria-describedby": `${id}-formats` });
  const zone = h("div", { class: "drop" }, icon("up"), h("span", { text: t("up.drop") }), h("label", { for: input.id, class: "button main-act", text: t("up.choose") }), input);
  const fields = fieldsOf(id);
  const files = h("ol", { class: "files", "aria-label": t("up.files") });
  card.append(zone, h("p", { class: "quiet", id: `${id}-formats`, text: t("up.formats", { n: MOST_MIB }) }), fields.root, files);

  const add = (list) => {
    for (const file of list) {
      const row = new FileRow(file, gallery, () => fields.query(), fields.complain, events);
      files.prepend(row.root);
      row.send();
    }
  };
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  const over = (on) => setData(zone, "over", on ? "yes" : null);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  zone.addEventListener("dragleave", () => over(false));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    add([...event.dataTransfer.files]);
  });
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault()); // a miss must not open the file
  return card;
}

function fieldsOf(id) {
  const errors = new Map();
  const field = (name, control, hint) => {
    const error = h("span", { class: "error", id: `${id}-${name}-error`, role: "alert", hidden: true });
    control.id = `${id}-${name}`;
    control.setAttribute("aria-describedby", [hint ? `${id}-${name}-hint` : "", error.id].filter(Boolean).join(" "));
    errors.set(name, { control, error });
    return h("div", { class: "field" }, h("label", { for: control.id, text: t(`up.${name}`) }), control, hint ? h("small", { id: `${id}-${name}-hint`, text: hint }) : null, error);
  };
  const kind = h("select", {}, ...Object.keys(KINDS).map((name) => h("option", { value: name, text: t(`up.kind.${name}`) })));
  const text = (more = {}) => h("input", { type: "text", maxlength: "64", autocomplete: "off", spellcheck: "false", ...more });
  const controls = {
    modality: text(), body_part: text(), patient: text(),
    sex: h("select", {}, ...["", "F", "M", "O"].map((value) => h("option", { value, text: t(`up.sex.${value || "none"}`) }))),
    age: h("input", { type: "number", min: "0", max: "120", step: "any", inputmode: "decimal" }),
  };
  const other = h("div", { class: "pair", hidden: true }, field("modality", controls.modality, t("up.modality_hint")), field("body_part", controls.body_part, t("up.body_part_hint")));
  kind.addEventListener("change", () => { other.hidden = kind.value !== "other"; });
  const more = h("details", { class: "numbers" }, h("summary", { text: t("up.more") }),
    field("patient", controls.patient, t("up.patient_hint")), h("div", { class: "pair" }, field("sex", controls.sex), field("age", controls.age)));
  const query = () => {
    for (const { control, error } of errors.values()) {
      error.hidden = true;
      control.removeAttribute("aria-invalid");
    }
    const typed = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value.trim()]));
    const all = { ...typed, ...(KINDS[kind.value] ?? { modality: typed.modality.toUpperCase(), body_part: typed.body_part.toUpperCase() }) };
    if (kind.value === "dicom") delete all.modality, delete all.body_part;
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
  };
  const complain = (name, words) => {
    const one = errors.get(name);
    if (!one) return;
    setText(one.error, words.replace(/^\w+: /, "")); // it stands at its field
    one.error.hidden = false;
    one.control.setAttribute("aria-invalid", "true");
    if (["patient", "sex", "age"].includes(name)) more.open = true;
  };
  return { root: h("div", { class: "given" }, field("kind", kind), other, more), query, complain };
}

class FileRow {
  constructor(file, gallery, query, complain, events) {
    this.file = file;
    this.gallery = gallery;
    this.query = query;
    this.complain = complain;
    this.events = events;
    this.instance = null;
    this.state = h("span", { class: "state" });
    this.results = h("span", { class: "links" });
    this.fill = h("span", { class: "fill" });
    this.bar = h("span", { class: "bar", "aria-hidden": "true" }, this.fill);
    this.root = h("li", {}, h("b", { class: "file-name", text: file.name }), h("span", { role: "status" }, this.state), this.bar, this.results);
    gallery.addEventListener("change", () => this.#look());
    gallery.addEventListener("second", () => this.#look());
  }

  async send() {
    const { size } = this.file;
    if (size > MOST_MIB << 20) return this.#say("failed", t("up.too_large", { n: MOST_MIB }));
    if (size === 0) return this.#say("failed", t("up.empty"));
    this.#say("sending", t("up.sending", { n: 0 }));
    try {
      const receipt = await sendFile(this.file, this.query(), (share) => {
        this.fill.style.inlineSize = `${Math.round(share * 100)}%`;
        setText(this.state, share < 1 ? t("up.sending", { n: Math.round(share * 100) }) : t("up.checking"));
      });
      this.instance = receipt.instance;
      this.storedAt = performance.now();
      this.#say("stored", t(receipt.outcome === "known" ? "up.known" : "up.stored"));
      this.events.dispatchEvent(new CustomEvent("stored", { detail: receipt.instance }));
      this.#look();
    } catch (wrong) {
      if (!(wrong instanceof FeedError)) throw wrong;
      this.#failed(wrong);
    }
    return undefined;
  }

  #failed(wrong) {
    if (wrong.code === "refused") return this.#say("refused", t("up.not_let_in", { why: reasonWords(wrong.details?.reason ?? "refused", wrong.message) }));
    if (wrong.details?.field) this.complain(wrong.details.field, wrong.message);
    this.#say("failed", `${wrong.message} ${wrong.hint}`.trim());
    this.results.replaceChildren(button(t("up.retry"), { on: () => { this.results.replaceChildren(); this.send(); } }));
    return undefined;
  }

  #say(state, words) {
    setData(this.root, "state", state);
    setText(this.state, words);
    this.bar.hidden = state !== "sending";
  }

  #look() {
    if (!this.instance || this.root.dataset.state === "read") return;
    const found = this.gallery.ofInstance(this.instance);
    if (!found.length) {
      const waited = performance.now() - this.storedAt;
      if (waited > LONG_MS) setText(this.state, t("up.waiting_long", { age: ageText(waited) }));
      return;
    }
    this.#say("read", "");
    setText(this.state, found.map((one) => [saidOf(one), sureOf(one)].filter(Boolean).join(", ")).join("; "));
    this.results.replaceChildren(...found.map((one) => h("a", { class: "button", href: `/images/${encodeURIComponent(one.job_id)}`, text: t("up.open") })));
  }
}
