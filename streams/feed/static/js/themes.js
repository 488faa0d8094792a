/** Themes and the few choices a wall remembers. */
export const THEMES = ["dark", "light", "contrast"];

function read(name, otherwise) {
  try {
    return localStorage.getItem(`ward.${name}`) ?? otherwise;
  } catch (blocked) {
    console.info("choices are not remembered here:", blocked.name);
    return otherwise;
  }
}

function write(name, value) {
  try {
    localStorage.setItem(`ward.${name}`, value);
  } catch (blocked) {
    console.info("choices are not remembered here:", blocked.name);
  }
}

export class Themes extends EventTarget {
  get current() {
    return document.documentElement.dataset.theme;
  }

  use(theme) {
    document.documentElement.dataset.theme = theme;
    write("theme", theme);
    this.dispatchEvent(new CustomEvent("change"));
  }

  next() {
    this.use(THEMES[(THEMES.indexOf(this.current) + 1) % THEMES.length]);
  }
}

/** Single-key shortcuts and volume, kept in this browser. */
export const settings = {
  get singleKeys() { return read("singleKeys", "on") === "on"; },
  set singleKeys(on) { write("singleKeys", on ? "on" : "off"); },
  get volume() { return Number(read("volume", "0.7")); },
  set volume(level) { write("volume", String(level)); },
};
