// JSON as a tree that opens and closes, with every digit as it was sent.

import { h } from "./dom.js";
import { Exact, stringify } from "./exact.js";
import { copies } from "./parts.js";
import { some } from "./words.js";

// Below so many members a tree is open from the start.
const SMALL = 40;
// So much of it stands in one line.
const LINE = 300;
// So many members are shown at once.
const PAGE = 200;

// In one line, opened on demand.
export function line(value, name) {
  const text = JSON.stringify(value) ?? "";
  return h("details", { class: "json-line", "data-own": "", ontoggle: ({ currentTarget }) => {
    if (currentTarget.childElementCount === 1) currentTarget.append(json(value, name));
  } }, h("summary", {}, h("code", {}, text.length > LINE ? `${text.slice(0, LINE)}…` : text)));
}

export function json(value, name = "JSON") {
  return h("div", { class: "json", "data-own": "", role: "group", "aria-label": name },
    copies(name, () => stringify(value)), node(value, count(value) <= SMALL));
}

function count(value) {
  if (value === null || typeof value !== "object" || value instanceof Exact) return 1;
  let sum = 1;
  for (const inner of Object.values(value)) if ((sum += count(inner)) > SMALL) break;
  return sum;
}

function node(value, open, label) {
  const head = label === undefined ? null : [h("span", { class: "key" }, label), ": "];
  if (value === null || typeof value !== "object" || value instanceof Exact) {
    return h("div", { class: "leaf" }, head, leaf(value));
  }
  const list = Array.isArray(value);
  const members = Object.entries(value);
  if (!members.length) return h("div", { class: "leaf" }, head, list ? "[]" : "{}");
  const inner = h("div", { class: "members" });
  let shown = 0;
  const more = () => {
    if (shown) inner.lastElementChild.remove();
    const next = members.slice(shown, shown + PAGE);
    inner.append(...next.map(([key, each]) => node(each, open, list ? key : JSON.stringify(key))));
    shown += next.length;
    const left = members.length - shown;
    if (left) inner.append(h("button", { type: "button", class: "plain small", onclick: more }, `${some(left, "more", "more")}…`));
  };
  const fill = () => { if (!shown) more(); };
  if (open) fill();
  return h("details", { open, ontoggle: fill },
    h("summary", {}, head, h("span", { class: "quiet" }, list ? `[ ${some(members.length, "item")} ]` : `{ ${some(members.length, "member")} }`)),
    inner);
}

function leaf(value) {
  if (value instanceof Exact) return h("span", { class: "number" }, value.source);
  if (typeof value === "string") return h("span", { class: "string" }, JSON.stringify(value));
  return h("span", { class: typeof value === "number" ? "number" : "word" }, String(value));
}
