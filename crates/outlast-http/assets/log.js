// The log of a task: it follows the end until somebody scrolls up, keeps what is on the screen in its
// place, and can be searched. A long log is read from near its end; what came before is read on demand.

import { get, query, request } from "./api.js";
import { h, update } from "./dom.js";
import { problem } from "./parts.js";
import { bytes, number, some, timeOfDay } from "./words.js";

// How much of a log is read at first, and with each press on "earlier".
const PART = 128 * 1024;
// Of a log that became too long the server keeps the first so many bytes, and the last.
const BEGINNING = 32 * 1024 * 1024;
// So many lines are kept while the end is followed.
const MOST_LINES = 4000;
const AT_THE_END = 24;
// So many earlier parts are searched with each press.
const MOST_PARTS = 64;

export function log(path) {
  const body = h("div", { class: "log-lines", role: "log", "aria-live": "off", "aria-labelledby": "log-title", tabindex: "0" });
  const empty = h("p", { class: "quiet" }, "Nothing has been logged yet.");
  const earlier = h("button", { type: "button", class: "plain small", hidden: true, onclick: readEarlier }, "Show earlier lines");
  const follow = h("button", { type: "button", "aria-pressed": "true", onclick: () => setFollowing(!following) }, "Follow");
  const found = h("span", { class: "quiet", role: "status" });
  const further = h("button", { type: "button", class: "plain", hidden: true, onclick: searchEarlier }, "Search earlier lines");
  const search = h("input", { id: "search-log", type: "search", placeholder: "Find in the log", "aria-label": "Find in the log", autocomplete: "off", spellcheck: "false", oninput: () => find(), onkeydown: step });
  const only = h("input", { id: "only-hits", type: "checkbox", onchange: () => body.classList.toggle("only", only.checked) });
  const problems = h("div", {});
  let [following, first, unseen, open, current, drawing, over] = [true, 0, 0, null, -1, null, false];
  let waiting = [];
  let hits = [];
  let reading = false;

  const element = h("section", { class: "log", "aria-labelledby": "log-title" },
    h("h2", { id: "log-title" }, "Log"),
    h("div", { class: "bar" }, h("div", { class: "find" }, search, found,
      h("button", { type: "button", class: "plain", "aria-label": "Previous match", onclick: () => go(-1) }, "↑"),
      h("button", { type: "button", class: "plain", "aria-label": "Next match", onclick: () => go(1) }, "↓"), further),
    h("label", { class: "check", for: "only-hits" }, only, "only matches"),
    h("span", { class: "gap" }), follow,
    h("button", { type: "button", class: "plain", onclick: download }, "Download")),
    problems, earlier, body, empty);

  body.onscroll = () => {
    const away = body.scrollHeight - body.scrollTop - body.clientHeight;
    if (away > AT_THE_END && following) setFollowing(false);
    else if (away <= 1 && !following && !reading && !search.value) setFollowing(true);
  };

  function setFollowing(yes) {
    following = yes;
    if (yes) {
      unseen = 0;
      trim();
      body.scrollTop = body.scrollHeight;
    }
    label();
  }

  function label() {
    follow.setAttribute("aria-pressed", String(following));
    follow.textContent = following || !unseen ? "Follow" : `Follow (${some(unseen, "new line")})`;
    follow.hidden = over && following;
  }

  // The elements of a piece's lines. A line may come in several pieces.
  function linesOf(piece, last) {
    const lines = [];
    const texts = piece.text.split("\n");
    const whole = texts.at(-1) === "";
    if (whole) texts.pop();
    for (const [at, text] of texts.entries()) {
      if (at === 0 && last) {
        last.lastElementChild.textContent += text;
        continue;
      }
      const line = h("div", { class: `line ${piece.level}`, "data-offset": piece.offset },
        h("time", { datetime: piece.at, "aria-hidden": "true" }, timeOfDay(piece.at)),
        piece.logger && piece.logger !== "stdout" ? h("span", { class: "logger" }, piece.logger) : null,
        ["info", "debug", "notice"].includes(piece.level) ? null : h("span", { class: "hidden" }, `${piece.level}: `),
        h("span", { class: "text" }, text));
      lines.push(line);
    }
    return [lines, whole ? null : lines.at(-1) ?? last];
  }

  function add(piece) {
    waiting.push(piece);
    drawing ??= requestAnimationFrame(flush);
  }

  function flush() {
    drawing = null;
    for (const piece of waiting) {
      const streams = piece.logger === "stdout" || piece.logger === "stderr";
      const goesOn = streams && open?.logger === piece.logger ? open.line : null;
      const [lines, last] = linesOf(piece, goesOn);
      open = last ? { line: last, logger: piece.logger } : null;
      body.append(...lines);
      if (!following) unseen += lines.length;
    }
    waiting = [];
    empty.hidden = body.childElementCount > 0;
    if (following) {
      trim();
      body.scrollTop = body.scrollHeight;
    }
    if (search.value) find(false);
    label();
    updateEarlier();
  }

  function trim() {
    while (body.childElementCount > MOST_LINES) body.firstElementChild.remove();
    const top = body.firstElementChild;
    if (top) first = Math.max(first, Number(top.dataset.offset));
  }

  function updateEarlier() {
    earlier.hidden = first === 0;
    earlier.textContent = `Show earlier lines (${bytes(first)})`;
  }

  // The lines of one part, and where it begins; pieces that begin in it belong to it.
  async function part(end) {
    const from = Math.max(0, end - PART);
    const pieces = [];
    for (let next = from; next < end;) {
      const page = await get(query(`${path}/logs`, { offset: next }));
      if (!page.chunks.length) break;
      pieces.push(...page.chunks.filter((piece) => piece.offset < end));
      next = page.next;
    }
    return [from, pieces];
  }

  async function readEarlier() {
    if (reading) return;
    reading = true;
    // Who follows the end loses lines at the top, so nobody follows it any more.
    const end = following;
    setFollowing(false);
    try {
      let [from, pieces] = await part(first);
      if (!pieces.length && from > BEGINNING) [from, pieces] = await part(BEGINNING);
      const [height, top] = [body.scrollHeight, end ? 0 : body.scrollTop];
      let last = null;
      const lines = [];
      for (const piece of pieces) {
        const [more, rest] = linesOf(piece, last);
        lines.push(...more);
        last = rest;
      }
      body.prepend(...lines);
      body.scrollTop = top + body.scrollHeight - height;
      first = from;
      if (search.value) find(false);
      updateEarlier();
      update(problems);
    } catch (error) {
      update(problems, problem(error));
    } finally {
      reading = false;
    }
  }

  // Reads earlier parts until one has the text, or enough of them have not.
  async function searchEarlier() {
    const [wanted, before] = [search.value, hits.length];
    further.disabled = true;
    for (let parts = 0; parts < MOST_PARTS && first > 0 && hits.length === before && search.value === wanted; parts += 1) {
      const from = first;
      found.textContent = "searching…";
      await readEarlier();
      if (first === from) break;
    }
    further.disabled = false;
    if (hits.length > before) {
      hits[current]?.classList.remove("here");
      current = hits.length - before - 1;
    }
    mark(hits.length > before);
  }

  // Marks the lines that have the text; `jump` goes to the last of them.
  function find(jump = true) {
    const wanted = search.value.toLowerCase();
    if (wanted && jump) setFollowing(false);
    const shown = hits[current];
    hits = [];
    for (const line of body.children) {
      const hit = wanted !== "" && line.lastElementChild.textContent.toLowerCase().includes(wanted);
      line.classList.toggle("hit", hit);
      line.classList.remove("here");
      if (hit) hits.push(line);
    }
    current = jump ? hits.length - 1 : hits.indexOf(shown);
    highlight(hits, wanted);
    mark(jump);
  }

  function go(by) {
    if (!hits.length) return;
    hits[current]?.classList.remove("here");
    current = (current + by + hits.length) % hits.length;
    mark(true);
  }

  function mark(jump) {
    // What is on the page need not be all there is.
    const all = first === 0 ? "" : " in the lines shown";
    found.textContent = search.value ? (hits.length ? `${number(current + 1)} of ${number(hits.length)}${all}` : `no match${all}`) : "";
    further.hidden = !search.value || first === 0;
    hits[current]?.classList.add("here");
    if (jump) hits[current]?.scrollIntoView({ block: "nearest" });
  }

  function step(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    go(event.shiftKey ? 1 : -1);
  }

  async function download() {
    try {
      const parts = [];
      for (let offset = 0; ;) {
        const response = await request("GET", query(`${path}/logs`, { offset }), { headers: { Accept: "text/plain" } });
        parts.push(await response.blob());
        const next = Number(response.headers.get("Outlast-Log-Next"));
        if (!(next > offset)) break;
        offset = next;
      }
      const address = URL.createObjectURL(new Blob(parts, { type: "text/plain" }));
      h("a", { href: address, download: `${path.split("/").pop()}.log` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      update(problems);
    } catch (error) {
      update(problems, problem(error));
    }
  }

  return {
    element,
    add,
    // Where to begin to read: not far from the end.
    async start() {
      const { end } = await get(query(`${path}/logs`, { offset: Number.MAX_SAFE_INTEGER }));
      first = Math.max(0, end - PART);
      updateEarlier();
      return first;
    },
    ended() {
      over = true;
      empty.textContent = "Nothing was logged.";
      label();
    },
    close() {
      cancelAnimationFrame(drawing);
      highlight([], "");
    },
  };
}

// The words themselves, in browsers that can mark text without changing the page.
function highlight(lines, wanted) {
  if (!globalThis.Highlight || !CSS.highlights) return;
  const ranges = [];
  for (const line of wanted ? lines.slice(-1000) : []) {
    const text = line.lastElementChild.firstChild;
    const words = text.data.toLowerCase();
    for (let at = words.indexOf(wanted); at >= 0; at = words.indexOf(wanted, at + wanted.length)) {
      const range = new Range();
      range.setStart(text, at);
      range.setEnd(text, at + wanted.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}
