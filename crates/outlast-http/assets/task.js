// One task, followed as it happens: its events and its log come as a stream that resumes by itself.

import { Problem, get, post, reached, remove, taskPath } from "./api.js";
import { h, lasted, progress, show, status, when } from "./dom.js";
import { form } from "./form.js";

const MOST_LINES = 5000;

export function task(id) {
  const path = taskPath(id);
  const title = h("h1", {}, id);
  const state = h("div");
  const questions = h("section", { "aria-label": "Questions" });
  const problem = h("p", { class: "error", role: "alert" });
  const cancel = h("button", { type: "button", onclick: () => act(() => post(`${path}/cancel`)) }, "Cancel");
  const erase = h("button", {
    type: "button",
    onclick: () => act(async () => { await remove(path); location.hash = "#/"; }),
  }, "Delete");
  const facts = h("dl", { class: "facts" });
  const result = h("section", { "aria-label": "Result" });
  const events = h("ol", { class: "events" });
  const follow = h("input", { type: "checkbox", id: "follow", checked: true });
  const search = h("input", { type: "search", id: "search-log", oninput: () => mark() });
  const log = h("pre", { tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Log" });
  const asked = new Map();
  let [stream, drawing, ended] = [null, null, false];

  async function act(work) {
    problem.textContent = "";
    try {
      await work();
      await refresh();
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  async function refresh() {
    drawing = null;
    const found = await get(path);
    title.textContent = found.tool;
    document.title = `${found.tool} · ${found.status} · Outlast`;
    show(state,
      h("p", { class: "figures" }, status(found), found.finishedAt ? null : h("span", { class: "quiet" }, found.phase),
        h("span", {}, found.statusMessage ?? "")),
      progress(found));
    cancel.hidden = Boolean(found.finishedAt);
    erase.hidden = !found.finishedAt;
    show(facts, [
      ["Id", found.taskId],
      ["Owner", found.owner],
      ["Created", when(found.createdAt)],
      ["Ran", lasted(found)],
      ["Attempt", String(found.attempt)],
      ["Labels", Object.entries(found.labels).map(([key, value]) => `${key}=${value}`).join(", ")],
    ].filter(([, value]) => value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    h("dt", {}, "Arguments"), h("dd", {}, h("pre", { tabindex: "0" }, JSON.stringify(found.arguments, null, 2))));
    ask(found.inputRequests ?? {});
    if (found.finishedAt && !ended) {
      ended = true;
      show(result, h("h2", {}, "Result"), ...outcome(await get(`${path}/result`)));
    }
  }

  // A form that somebody is filling in is left alone.
  function ask(open) {
    for (const [key, element] of asked) {
      if (!(key in open)) { element.remove(); asked.delete(key); }
    }
    for (const [key, request] of Object.entries(open)) {
      if (asked.has(key)) continue;
      const element = question(request, (answer) =>
        act(() => post(`${path}/input`, { inputResponses: { [key]: answer } })));
      asked.set(key, element);
      questions.append(element);
    }
  }

  function told(message) {
    const what = JSON.parse(message.data);
    if (what.type === "LOG") {
      log.append(h("span", { class: what.level }, what.text));
      while (log.childNodes.length > MOST_LINES) log.firstChild.remove();
      if (follow.checked) log.scrollTop = log.scrollHeight;
      return;
    }
    if (what.type !== "PROGRESS") {
      events.append(h("li", {}, h("span", { class: "quiet" }, `#${what.seq}`), when(what.at),
        h("span", {}, words(what))));
    }
    drawing ??= setTimeout(() => refresh().catch(() => {}), 100);
  }

  function mark() {
    const wanted = search.value.toLowerCase();
    for (const line of log.children) {
      const hit = wanted && line.textContent.toLowerCase().includes(wanted);
      line.classList.toggle("hit", Boolean(hit));
    }
    log.querySelector(".hit")?.scrollIntoView({ block: "nearest" });
    if (wanted) follow.checked = false;
  }

  refresh().then(() => {
    stream = new EventSource(`${path}/events`);
    stream.onmessage = told;
    stream.addEventListener("end", () => stream.close());
    stream.onopen = () => reached(true);
    stream.onerror = () => { if (stream.readyState === EventSource.CONNECTING) reached(false); };
  }).catch((error) => { problem.textContent = error instanceof Problem ? error.message : String(error); });

  return {
    title: id,
    elements: [
      title, state, problem, questions,
      h("div", { class: "actions" }, cancel, erase),
      result,
      h("h2", {}, "Log"),
      h("div", { class: "filters" },
        h("label", { class: "check", for: "follow" }, follow, " follow"),
        h("div", {}, h("label", { for: "search-log" }, "Find in the log"), search)),
      log,
      h("h2", {}, "What happened"), events,
      h("h2", {}, "About"), facts,
    ],
    leave() {
      stream?.close();
      clearTimeout(drawing);
    },
  };
}

function words(what) {
  const detail = what.message ?? what.reason ?? what.keys?.join(", ")
    ?? (what.attempt === undefined ? "" : String(what.attempt));
  const name = what.type.toLowerCase().replaceAll("_", " ");
  return detail ? `${name}: ${detail}` : name;
}

function question(request, answer) {
  const { message, requestedSchema, url } = request.params ?? {};
  const dismiss = ["decline", "cancel"].map((action) =>
    h("button", { type: "button", onclick: () => answer({ action }) }, action === "decline" ? "Decline" : "Dismiss"));
  if (request.method !== "elicitation/create") {
    return h("div", { class: "question" }, h("p", {}, `The task waits for a client that can do ${request.method}.`));
  }
  return h("div", { class: "question" },
    h("p", {}, message ?? "The task asks:"),
    url ? h("p", {}, h("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, url)) : null,
    form(requestedSchema ?? {}, {
      submit: "Answer",
      extra: dismiss,
      onsubmit: (content) => answer(url ? { action: "accept" } : { action: "accept", content }),
    }));
}

function outcome(ending) {
  if (ending.error) return [h("p", { class: "error" }, `${ending.error.message} (${ending.error.reason})`)];
  if (!ending.result) return [h("p", {}, ending.reason ?? "Cancelled.")];
  const blocks = ending.result.content.map((block) => {
    if (block.type === "text") return h("pre", { tabindex: "0" }, block.text);
    if (block.type === "image") {
      return h("img", { src: `data:${block.mimeType};base64,${block.data}`, alt: "Image in the result" });
    }
    return h("pre", { tabindex: "0" }, JSON.stringify(block, null, 2));
  });
  const structured = ending.result.structuredContent;
  if (structured !== undefined) {
    blocks.push(h("details", {}, h("summary", {}, "Structured content"),
      h("pre", { tabindex: "0" }, JSON.stringify(structured, null, 2))));
  }
  return blocks;
}
