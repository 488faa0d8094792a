/** The feed's HTTP, with one kind of error that says what to do. */
import { t } from "./i18n.js";

/** The feed's words as a sentence: it answers in fragments, as programs do. */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

/** What the feed refused, or that it did not answer (status 0). */
export class FeedError extends Error {
  constructor(status, { code = "unknown", message = "", hint = "", details = {} } = {}) {
    super(sentence(message));
    this.name = "FeedError";
    this.status = status;
    this.code = code;
    this.hint = sentence(hint);
    this.details = details;
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

/** A picture as an address for an <img>; throws FeedError with the feed's own words when it cannot be had. */
export async function picture(path) {
  const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(15000) }).catch(() => null);
  if (answer === null) throw new FeedError(0, { code: "unreachable", message: t("act.offline") });
  if (!answer.ok) throw new FeedError(answer.status, await answer.json().catch(() => ({})));
  return answer.blob();
}

/** Sends a file as it is, telling how much has gone (0 to 1); resolves with the receipt. */
export function sendFile(file, query, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/images?${new URLSearchParams(query)}`);
    request.setRequestHeader("X-Ward", "1");
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.timeout = 120000;
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    request.onload = () => (request.status < 300 && request.response ? resolve(request.response) : reject(new FeedError(request.status, request.response ?? {})));
    request.onerror = request.ontimeout = () => reject(new FeedError(0, { code: "unreachable", message: t("up.offline") }));
    request.send(file);
  });
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
export const imageCase = (jobId) => call("GET", `/api/images/${encodeURIComponent(jobId)}`);
export const judge = (jobId, verdict) => call("POST", `/api/images/${encodeURIComponent(jobId)}/feedback`, verdict);
export const imagesOfBed = ({ ward, bed }) => call("GET", `/api/beds/${encodeURIComponent(bed)}/images?${new URLSearchParams({ ward })}`);
export const riskForm = () => call("GET", "/api/risk/knee");
export const assessRisk = (fields) => call("POST", "/api/risk/knee", { fields });
export const steer = (wish) => call("POST", "/api/replay", wish);
export const act = (action) => call("POST", "/api/actions", action);
