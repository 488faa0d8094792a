/** Messages by key, and how times and numbers are written. */
import en from "./messages.en.js";
import images from "./messages.images.en.js";
import replay from "./messages.replay.en.js";

const catalogue = { ...en, ...images, ...replay };

/** The message of that key with {names} filled in. A key without a message shows itself, so that it is found. */
export function t(key, params = {}) {
  const template = catalogue[key] ?? key;
  return template.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole));
}

/** Whether the catalogue knows that key. */
export const known = (key) => key in catalogue;

const hms = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const zoned = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", timeZoneName: "short" });

/** Local time as 14:05:09. */
export const clockTime = (ms) => hms.format(ms);

const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });

/** Local time of today as 14:05:09, of another day as 21 Nov, 14:05. */
export const whenText = (ms, nowMs = Date.now()) => (new Date(ms).toDateString() === new Date(nowMs).toDateString() ? clockTime(ms) : dated.format(ms));

const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric" });
const monthDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** The local day as Fri, 2 Jan 2026, or short as 2 Jan. */
export const dayText = (ms, long = true) => (long ? weekday : monthDay).format(ms);

/** The local zone's short name, such as CET. */
export const zoneName = (ms) => zoned.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "";

/** An age in the largest whole unit: 14 s, 4 min, 2 h, 3 d; with `form` "short" for a tile: 14s, 4m. */
export function ageText(ms, form = "age") {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return t(`${form}.s`, { n: s });
  if (s < 3600) return t(`${form}.min`, { n: Math.floor(s / 60) });
  if (s < 172800) return t(`${form}.h`, { n: Math.floor(s / 3600) });
  return t(`${form}.d`, { n: Math.floor(s / 86400) });
}

/** A running duration as 0:42, or 1:02:07. */
export function stopwatch(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}
