// Which page is shown: the part of the address behind #.

import { get } from "./api.js";
import { list } from "./list.js";
import { task } from "./task.js";
import { start, tools } from "./tools.js";

const content = document.getElementById("content");
let page = null;

function route() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [, first, rest] = path.match(/^\/?([^/]*)\/?(.*)$/);
  const name = decodeURIComponent(rest);
  page?.leave();
  if (first === "tasks" && name) page = task(name);
  else if (first === "tools" && name) page = start(name);
  else if (first === "tools") page = tools();
  else page = list(new URLSearchParams(query));
  document.title = `${page.title} · Outlast`;
  content.replaceChildren(...page.elements);
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.dataset.nav === (first === "tools" ? "tools" : "tasks");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

addEventListener("hashchange", () => {
  route();
  content.focus();
});
route();

get("/health").then((health) => {
  document.getElementById("server").textContent = `${health.name} ${health.version}`;
}).catch(() => {});
