/** The feed's HTTP, with one kind of error that says what to do. */
import { t } from "./i18n.js";

/** The feed's words as a sentence: it answers in fragments, as programs do. */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

/** What the feed refused, or that it did not answer (status 0). */
export class FeedError extends Error {
  constructor(status, { code = "unknown", message = "", hint = "" } = {}) {
    super(sentence(message));
    this.name = "FeedError";
    this.status = status;
    this.code = code;
    this.hint = sentence(hint);
  }
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-Ward"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const init = { method, headers, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(8000) };
  if (body !== undefined) init.body = JSON.stringify(body);
  const answer = await fetch(path, init).catch(() => null);
  if (answer === null) throw new FeedError(0, { code: "unreachable", message: t("act.offline") });
  const text = await answer.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch (notJson) {
    throw new FeedError(answer.status, { code: "not_json", message: t("act.offline"), hint: String(notJson.message) });
  }
  if (!answer.ok) throw new FeedError(answer.status, data ?? {});
  return data;
}

/** Who is signed in, or null. Throws FeedError when the feed cannot be reached. */
export async function session() {
  try {
    return await call("GET", "/api/session");
  } catch (wrong) {
    if (wrong instanceof FeedError && wrong.status === 401) return null;
    throw wrong;
  }
}

export const signIn = (token) => call("POST", "/api/session", { token });
export const signOut = () => call("DELETE", "/api/session");
export const trend = ({ ward, bed }, seconds = 600) => call("GET", `/api/beds/${encodeURIComponent(bed)}/trend?${new URLSearchParams({ s: seconds, ward })}`);
export const forecast = ({ ward, bed }) => call("GET", `/api/beds/${encodeURIComponent(bed)}/forecast?${new URLSearchParams({ ward })}`);
export const why = (alertId) => call("GET", `/api/alerts/${encodeURIComponent(alertId)}/why`);
export const act = (action) => call("POST", "/api/actions", action);
