// What can be run, and a form to run it.

import { get, getExact, post, postExact, taskPath, toolPath } from "./api.js";
import { h, update } from "./dom.js";
import { Exact } from "./exact.js";
import { form } from "./form.js";
import { problem } from "./parts.js";
import { result } from "./results.js";

const SUPPORT = {
  forbidden: "runs while you wait", optional: "runs as a task", required: "runs as a task",
};

// How often the list is read again: tools come and go while a server runs.
const PAUSE = 10_000;

export function tools() {
  const view = h("div", {}, h("p", { class: "quiet", role: "status" }, "Loading…"));
  let shown = false;
  const load = () => get("/tools").then(({ tools: list }) => { shown = true; update(view, list.length
    ? h("ul", { class: "tools" }, list.map((tool) => h("li", {},
      h("a", { class: "card", href: `#/tools/${encodeURIComponent(tool.name)}` },
        h("strong", {}, tool.title ?? tool.name), h("span", { class: "id" }, tool.title ? tool.name : ""),
        h("span", { class: "about" }, tool.description ?? ""),
        h("span", { class: "quiet" }, [SUPPORT[tool.taskSupport], ...hints(tool)].join(" · "))))))
    : h("div", { class: "empty" }, h("p", {}, "This server offers no tools."),
      h("p", { class: "quiet" }, "Tools come from its configuration file or its code; a server that wraps another offers that one's."))); },
  ).catch((error) => { if (!shown) update(view, problem(error)); });
  load();
  const timer = setInterval(() => { if (!document.hidden) load(); }, PAUSE);
  addEventListener("reached", load);
  return {
    title: "Tools",
    elements: [h("h1", {}, "Tools"), view],
    leave() {
      clearInterval(timer);
      removeEventListener("reached", load);
    },
  };
}

const hints = ({ annotations }) => [
  annotations?.readOnlyHint ? "only reads" : null,
  annotations?.destructiveHint && !annotations.readOnlyHint ? "may destroy something" : null,
].filter(Boolean);

export function start(name, asked) {
  const title = h("h1", {}, name);
  const about = h("div", {});
  const place = h("div", {});
  const done = h("div", { "aria-live": "polite" });
  const from = asked.get("from");
  let asText = false;

  async function load() {
    const [{ tools: list }, earlier] = await Promise.all([get("/tools"), from ? getExact(taskPath(from), "arguments") : null]);
    const tool = list.find((each) => each.name === name);
    if (!tool) throw new Error(`This server has no tool ${JSON.stringify(name)}.`);
    title.textContent = tool.title ?? tool.name;
    document.title = `${tool.title ?? tool.name} · Outlast`;
    update(about,
      tool.description ? h("p", { class: "lead" }, tool.description) : null,
      h("p", { class: "quiet" }, [SUPPORT[tool.taskSupport], ...hints(tool)].join(" · ")),
      earlier ? h("p", { class: "quiet" }, "With the arguments of ", h("a", { href: `#/tasks/${from}` }, `task ${from.slice(0, 8)}`), ". Secret ones are to be given again.") : null);
    place.replaceChildren(build(tool, told(earlier?.arguments ?? {})));
  }

  function build(tool, values) {
    const inline = tool.taskSupport === "forbidden";
    const options = inline ? null : advanced();
    const schema = asText ? { properties: { arguments: { type: "object", title: "Arguments", default: values } }, required: ["arguments"] } : tool.inputSchema;
    const made = form({
      schema, values: asText ? {} : values, submit: inline ? "Run" : "Start",
      extra: options?.element ?? [],
      actions: [h("button", {
        type: "button", class: "plain", onclick: () => { asText = !asText; place.replaceChildren(build(tool, values)); },
      }, asText ? "As a form" : "As JSON")],
      async onsubmit(given) {
        update(done);
        const args = asText ? given.arguments : given;
        if (inline) {
          update(done, result(await postExact(toolPath(tool.name), args, "content", "structuredContent")));
          return;
        }
        const { body, headers } = options.read();
        const task = await post("/tasks", { tool: tool.name, arguments: args, ...body }, headers);
        location.hash = `#/tasks/${task.taskId}`;
      },
    });
    return made;
  }

  // What is there stays, with what was typed into it.
  const again = () => { if (!place.querySelector("form")) load().catch((error) => update(place, problem(error))); };
  again();
  addEventListener("reached", again);
  return {
    title: name,
    elements: [h("p", { class: "crumbs" }, h("a", { href: "#/tools" }, "Tools")), title, about, place, done],
    leave() { removeEventListener("reached", again); },
  };
}

// The arguments without the secret ones, in whose place dots are shown.
function told(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof Exact) return value;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== "•••").map(([name, each]) => [name, told(each)]));
}

function advanced() {
  const field = (id, words, hint, placeholder) => {
    const input = h("input", { id, type: "text", placeholder, autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-hint` });
    return { input, element: h("div", { class: "field" }, h("label", { for: id }, words), h("p", { class: "hint", id: `${id}-hint` }, hint), input) };
  };
  const labels = field("labels", "Labels", "Words to find the task by, separated by spaces.", "team=web release=7");
  const delay = field("delay", "Delay", "How long to wait before it may run.", "30s, 5m, 2h");
  const priority = h("input", { id: "priority", type: "number", step: "1", min: "-100", max: "100" });
  const key = field("idempotency", "Idempotency key", "Starting twice with the same key makes one task.", "order-4711");
  return {
    element: h("details", { class: "advanced" }, h("summary", {}, "Labels, delay, priority, idempotency key"), labels.element, delay.element,
      h("div", { class: "field" }, h("label", { for: "priority" }, "Priority"), h("p", { class: "hint" }, "Larger runs earlier. By default the tool’s."), priority),
      key.element),
    read() {
      const body = {};
      const words = labels.input.value.trim().split(/\s+/).filter(Boolean);
      if (words.length) {
        body.labels = Object.fromEntries(words.map((word) => {
          const at = word.indexOf("=");
          return at < 0 ? [word, ""] : [word.slice(0, at), word.slice(at + 1)];
        }));
      }
      if (delay.input.value.trim()) body.delay = delay.input.value.trim();
      if (priority.value !== "") body.priority = Number(priority.value);
      const headers = key.input.value.trim() ? { "Idempotency-Key": key.input.value.trim() } : undefined;
      return { body, headers };
    },
  };
}

