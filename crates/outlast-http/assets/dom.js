// Elements without a framework: h("p", {class: "quiet"}, "text").

export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Replaces what `element` holds, and leaves it alone where nothing changed: a reader's place and
// selection survive an update that brings nothing new.
export function show(element, ...children) {
  const fresh = h("div", {}, ...children);
  if (fresh.innerHTML !== element.innerHTML) element.replaceChildren(...fresh.childNodes);
}

export function status(task) {
  const failed = task.status === "completed" && task.isError;
  const word = failed ? "completed with an error" : task.status.replace("_", " ");
  return h("span", { class: `status ${failed ? "failed" : task.status}` }, word);
}

export function progress(task) {
  const figures = task.progress;
  if (!figures || task.finishedAt) return null;
  const known = figures.percent !== undefined;
  return h("progress", {
    max: "100",
    value: known ? figures.percent : undefined,
    "aria-label": `Progress of ${task.tool}`,
  });
}

export function when(text) {
  if (!text) return "";
  const date = new Date(text);
  const today = new Date().toDateString() === date.toDateString();
  const words = today ? date.toLocaleTimeString() : date.toLocaleString();
  return h("time", { datetime: text, title: date.toString() }, words);
}

export function lasted(task) {
  const begin = task.startedAt;
  if (!begin) return "";
  const end = task.finishedAt ? new Date(task.finishedAt) : new Date();
  let seconds = Math.max(0, (end - new Date(begin)) / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  seconds = Math.round(seconds);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
