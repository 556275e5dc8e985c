// How the last hour went, minute by minute: drawn by hand, and as numbers beside each drawing.

import { h, svg } from "./dom.js";
import { some, span, timeOfDay } from "./words.js";

const MINUTES = 60;
const [WIDTH, HEIGHT] = [600, 100];
const NOTHING = { created: 0, started: 0, completed: 0, unsuccessful: 0 };

export function charts({ process }) {
  const minutes = lastHour(process.minutes);
  const heads = (minute) => timeOfDay(minute.at).slice(0, 5);
  return h("div", { class: "charts", "data-key": "charts" },
    chart({
      title: "Ended tasks a minute",
      keys: [["good", "well"], ["bad", "otherwise"]],
      draw: bars(minutes, ["completed", "unsuccessful"], ["good", "bad"]),
      most: some(Math.max(...minutes.map((minute) => minute.completed + minute.unsuccessful)), "task"),
      columns: ["Minute", "Well", "Otherwise", "Created"],
      rows: minutes.map((minute) => [heads(minute), minute.completed, minute.unsuccessful, minute.created]),
    }),
    chart({
      title: "Waiting time",
      keys: [["one", "mean"], ["two", "longest"]],
      draw: lines(minutes, ["meanWaitMs", "longestWaitMs"], (minute) => minute.started > 0),
      most: span(Math.max(...minutes.map((minute) => minute.longestWaitMs ?? 0))),
      columns: ["Minute", "Mean", "Longest", "Started"],
      rows: minutes.map((minute) => [heads(minute), ...times(minute.started, minute.meanWaitMs, minute.longestWaitMs), minute.started]),
    }),
    chart({
      title: "Running time",
      keys: [["one", "mean"], ["two", "longest"]],
      draw: lines(minutes, ["meanRunMs", "longestRunMs"], (minute) => minute.completed + minute.unsuccessful > 0),
      most: span(Math.max(...minutes.map((minute) => minute.longestRunMs ?? 0))),
      columns: ["Minute", "Mean", "Longest", "Ended"],
      rows: minutes.map((minute) => [heads(minute), ...times(minute.completed + minute.unsuccessful, minute.meanRunMs, minute.longestRunMs), minute.completed + minute.unsuccessful]),
    }),
    h("p", { class: "quiet wide" }, "As this process has seen it since ", h("time", { datetime: process.since }, new Date(process.since).toLocaleString()), "."));
}

const times = (count, ...values) => values.map((value) => (count ? span(value) : "–"));

// The last sixty minutes, those without any tasks too.
function lastHour(seen) {
  const minute = (at) => Math.floor(new Date(at) / 60_000);
  const known = new Map(seen.map((each) => [minute(each.at), each]));
  const now = minute(Date.now());
  return Array.from({ length: MINUTES }, (_, at) => {
    const which = now - MINUTES + 1 + at;
    return known.get(which) ?? { ...NOTHING, at: new Date(which * 60_000).toISOString() };
  });
}

function chart({ title, keys, draw, most, columns, rows }) {
  // The latest first, and only minutes in which something happened.
  const told = rows.filter((row) => row.slice(1).some((value) => value !== 0 && value !== "–")).reverse();
  return h("figure", { class: "chart", "data-key": title },
    h("figcaption", {}, title, h("ul", { class: "key-list" }, keys.map(([name, words]) => h("li", { class: name }, words)))),
    h("div", { class: "ends" }, h("span", {}, told.length ? most : "")),
    draw,
    h("div", { class: "ends" }, h("span", {}, "an hour ago"), h("span", {}, "now")),
    h("details", {}, h("summary", {}, "As a table"), told.length
      ? h("div", { class: "numbers", tabindex: "0", role: "region", "aria-label": `${title} as a table` }, h("table", {},
        h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, told.map(([head, ...values]) => h("tr", {}, h("th", { scope: "row" }, head), values.map((value) => h("td", {}, String(value))))))))
      : h("p", { class: "quiet" }, "Nothing in this hour.")));
}

const canvas = (...children) => svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
  svg("path", { class: "axis", d: `M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}` }), ...children);

function bars(minutes, names, classes) {
  const most = Math.max(1, ...minutes.map((minute) => names.reduce((sum, name) => sum + minute[name], 0)));
  const wide = WIDTH / minutes.length;
  return canvas(minutes.flatMap((minute, at) => {
    let y = HEIGHT;
    return names.map((name, which) => {
      const high = (minute[name] / most) * HEIGHT;
      y -= high;
      return high ? svg("rect", { class: classes[which], x: (at * wide + 1).toFixed(1), y: y.toFixed(1), width: (wide - 2).toFixed(1), height: high.toFixed(1) }) : null;
    });
  }));
}

function lines(minutes, names, has) {
  const most = Math.max(1, ...minutes.flatMap((minute) => names.map((name) => minute[name] ?? 0)));
  const wide = WIDTH / minutes.length;
  return canvas(names.map((name, which) => {
    let on = false;
    const path = minutes.map((minute, at) => {
      if (!has(minute)) {
        on = false;
        return "";
      }
      const [x, y] = [(at + 0.5) * wide, HEIGHT - (minute[name] / most) * HEIGHT];
      const step = on ? "L" : "M";
      // A minute by itself is a short stroke.
      const dot = on ? "" : "h0.1";
      on = true;
      return `${step}${x.toFixed(1)} ${y.toFixed(1)}${dot}`;
    }).join("");
    return svg("path", { class: `line ${["one", "two"][which]}`, d: path || "M0 0" });
  }));
}
