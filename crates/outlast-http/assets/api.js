// The REST surface: one function for each kind of request, and errors as sentences.

import { parse } from "./exact.js";
import { reached } from "./connection.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Whether the same request may succeed in a while.
export const passes = ({ status }) => status === 0 || status === 429 || status >= 500;

// Relative to the page, so that a proxy may put the server under a path of its own.
export const at = (path) => new URL(path.replace(/^\//, ""), document.baseURI);

let signIn = () => {};

// Called when the server wants to know who asks.
export function onUnauthorized(then) {
  signIn = then;
}

// The response to a request that succeeded.
export async function request(method, path, { body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(at(path), {
      method,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw lost();
  }
  reached(true);
  if (response.ok) return response;
  let detail = response.statusText || `The server answered ${response.status}.`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch {
    // No problem document, so the status has to do.
  }
  if (response.status === 401 && path !== "/session") signIn();
  throw new Problem(response.status, detail);
}

function lost() {
  reached(false);
  return new Problem(0, "The server cannot be reached.");
}

// The body of the response to a request that succeeded. The connection may still be lost in the middle of it.
async function body(...asked) {
  const response = await request(...asked);
  try {
    return await response.text();
  } catch {
    throw lost();
  }
}

async function json(method, path, options) {
  const text = await body(method, path, options);
  return text === "" ? null : JSON.parse(text);
}

// An answer, and these members of it exactly as they were sent.
function exactly(text, members) {
  const [answer, exact] = [JSON.parse(text), parse(text)];
  for (const name of members) if (name in answer) answer[name] = exact[name];
  return answer;
}

export const get = (path) => json("GET", path);
export const getExact = async (path, ...members) => exactly(await body("GET", path), members);
export const postExact = async (path, given, ...members) => exactly(await body("POST", path, { body: given }), members);
export const post = (path, body = {}, headers) => json("POST", path, { body, headers });
export const remove = (path) => json("DELETE", path);

export const taskPath = (id) => `/tasks/${encodeURIComponent(id)}`;
export const toolPath = (name) => `/tools/${encodeURIComponent(name)}`;

// A path with a query of what is not empty.
export function query(path, parameters) {
  const filled = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return filled.length ? `${path}?${new URLSearchParams(filled)}` : path;
}
