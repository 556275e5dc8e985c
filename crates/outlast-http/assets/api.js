// The REST surface, and whether it can be reached.

const banner = document.getElementById("connection");

export class Problem extends Error {}

async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    reached(false);
    throw new Problem("The server cannot be reached.");
  }
  reached(true);
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Problem(answer.detail ?? response.statusText);
  return answer;
}

export function reached(yes) {
  banner.hidden = yes;
  if (!yes) banner.textContent = "The server cannot be reached. Trying again…";
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const remove = (path) => ask("DELETE", path);

export const taskPath = (id) => `/tasks/${encodeURIComponent(id)}`;
