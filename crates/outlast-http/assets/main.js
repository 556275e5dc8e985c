// Which page is shown: the part of the address behind #.

import { activity } from "./activity.js";
import { get, onUnauthorized, remove } from "./api.js";
import { h } from "./dom.js";
import { list } from "./list.js";
import { signIn } from "./signin.js";
import { task } from "./task.js";
import { theme } from "./theme.js";
import { start, tools } from "./tools.js";

const content = document.getElementById("content");
const out = document.getElementById("sign-out");
let page = null;

// An address that was cut off may end in half a letter; then it names nothing, which the page says.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function pageOf(path, query) {
  const [, first, rest] = path.match(/^\/?([^/]*)\/?(.*)$/);
  const name = decoded(rest);
  if (first === "tasks" && name) return ["tasks", task(name)];
  if (first === "tools") return ["tools", name ? start(name, query) : tools()];
  if (first === "activity") return ["activity", activity()];
  if (first && first !== "tasks") return ["", nowhere()];
  return ["tasks", list(query)];
}

const nowhere = () => ({
  title: "Nothing here",
  elements: [h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "All tasks"))],
  leave() {},
});

function show(next, nav) {
  page?.leave();
  page = next;
  document.title = `${page.title} · Outlast`;
  content.replaceChildren(...page.elements);
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.dataset.nav === nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function route() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [nav, next] = pageOf(path, new URLSearchParams(query));
  show(next, nav);
}

// What the focus was on is often there again on the next page, as with filters; otherwise the page
// itself has it, so that a screen reader begins to read there.
addEventListener("hashchange", () => {
  const id = document.activeElement?.id;
  route();
  scrollTo(0, 0);
  const again = id && id !== "content" && document.getElementById(id);
  (again || content).focus({ preventScroll: true });
});

onUnauthorized(() => {
  if (page?.title !== "Sign in") show(signIn(() => { greet(); route(); }), "");
});

// Who serves, and who is signed in. What is wrong with the connection, the page says.
async function greet() {
  const session = await get("/session").catch(() => null);
  out.hidden = !(session?.users && session.signedIn);
  out.title = `Signed in as ${session?.owner}`;
  if (session?.users && !session.signedIn) return;
  const health = await get("/health").catch(() => null);
  if (health) document.getElementById("server").textContent = `${health.name} ${health.version}`;
}

out.onclick = async () => {
  await remove("/session").catch(() => {});
  location.reload();
};

theme(document.getElementById("theme"));
route();
greet();
