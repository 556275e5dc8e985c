// Elements without a framework, and without HTML: whatever a task says becomes text, an attribute or
// nothing. A page is described anew whenever something changed; `update` then changes only what
// differs, so that focus, selection, scroll position and a half-filled form survive.

const SVG = "http://www.w3.org/2000/svg";
const LISTENERS = Symbol("listeners");

// What belongs to whoever looks at the page: set when an element is made and left alone afterwards.
const THEIRS = new Set(["value", "checked", "open", "selected"]);

function build(element, properties, children) {
  element[LISTENERS] = new Set();
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) {
      element[key] = value;
      element[LISTENERS].add(key);
    } else if (key === "value" || key === "checked") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// h("p", { class: "quiet", onclick: f }, "text", anotherElement)
export const h = (name, properties = {}, ...children) =>
  build(document.createElement(name), properties, children);

export const svg = (name, properties = {}, ...children) =>
  build(document.createElementNS(SVG, name), properties, children);

// Makes the children of `element` like `children`. An element with `data-key` keeps its identity
// wherever it moves; one with `data-own` looks after its own children.
export function update(element, ...children) {
  const fresh = document.createDocumentFragment();
  fresh.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  align(element, fresh);
}

function align(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key;
    let found = key ? keyed.get(key) : at;
    if (key) keyed.delete(key);
    // A node with a key of its own is waiting for its own description.
    if (!key && found?.dataset?.key) found = null;
    if (!found || found.nodeName !== wanted.nodeName) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else old.insertBefore(found, at);
    if (found !== wanted) adopt(found, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function adopt(old, wanted) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !THEIRS.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (!THEIRS.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.nodeName === "PROGRESS" && wanted.hasAttribute("value")) old.value = wanted.value;
  for (const key of old[LISTENERS] ?? []) if (!wanted[LISTENERS]?.has(key)) old[key] = null;
  for (const key of wanted[LISTENERS] ?? []) old[key] = wanted[key];
  old[LISTENERS] = wanted[LISTENERS];
  if (!("own" in old.dataset)) align(old, wanted);
}
