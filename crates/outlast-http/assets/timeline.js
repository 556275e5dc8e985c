// When what was done: attempts and recorded steps as bars on one scale, each with its duration in words,
// and beside it what happened as sentences.

import { h, svg } from "./dom.js";
import { json } from "./json.js";
import { section, time } from "./parts.js";
import { number, plain, sentence, span } from "./words.js";

// How many entries are shown at first.
export const SHOWN = 60;
// Kinds of entries that have bars; the others are shown where they belong.
const KINDS = new Set(["step", "sleep", "ask", "child", "undo", "undone", "race"]);
const WIDTH = 1000;

const ENDS = {
  finished: "", error: "failed", crash: "the server crashed", reboot: "the machine was restarted",
  lease_expired: "the worker was lost", released: "handed back by a clean stop",
};

export function timeline(record, { attempts, journal, shown = SHOWN }, more) {
  if (!attempts.length && !journal.length) return null;
  const begin = new Date(record.createdAt).getTime();
  const end = Math.max(record.finishedAt ? new Date(record.finishedAt).getTime() : Date.now(), begin + 1);
  const scale = (at) => Math.max(0, Math.min(WIDTH, ((at - begin) / (end - begin)) * WIDTH));
  const entries = journal.filter((entry) => KINDS.has(entry.kind));
  const hidden = Math.max(0, entries.length - shown);
  const waited = attempts.length ? new Date(attempts[0].startedAt) - begin : 0;
  return section("Timeline", { "data-key": "timeline" },
    h("p", { class: "scale quiet" }, h("span", {}, "0"), h("span", {}, span((end - begin) / 2)), h("span", {}, span(end - begin))),
    h("ol", { class: "timeline" },
      waited > 100 ? bar("waited", { name: "In the queue", from: begin, to: begin + waited, kind: "waited", scale }) : null,
      attempts.map((attempt) => bar(`attempt ${attempt.attempt}`, {
        name: `Attempt ${attempt.attempt}`,
        from: new Date(attempt.startedAt).getTime(),
        to: attempt.endedAt ? new Date(attempt.endedAt).getTime() : end,
        kind: `attempt ${attempt.ended ?? "open"}${attempt.ended === "finished" && (record.status === "failed" || record.isError) ? " error" : ""}`,
        note: [ENDS[attempt.ended] ?? (record.phase === "suspended" ? "waits" : "runs"), attempt.message,
          attempt.nextAttemptAt && !attempt.message ? "" : null].filter(Boolean).join(": "),
        scale,
      })),
      hidden ? h("li", { class: "quiet", "data-key": "hidden" }, `${number(hidden)} earlier entries are not shown. `,
        h("button", { type: "button", class: "plain small", onclick: more }, "Show more of them")) : null,
      entries.slice(-shown).map((entry) => {
        const to = new Date(entry.at).getTime();
        const name = entry.kind === "step" ? entry.name : `${entry.kind}: ${entry.name}`;
        return bar(`${entry.kind} ${entry.name}`, {
          name, from: to - (entry.tookMs ?? 0), to, kind: `entry ${entry.kind}${entry.failed ? " error" : ""}`,
          took: entry.tookMs, note: entry.failed ? "failed" : "", value: entry.value, scale,
        });
      })));
}

function bar(key, { name, from, to, kind, note = "", took = to - from, value, scale }) {
  const x = Math.min(WIDTH - 3, scale(from));
  const head = [
    h("span", { class: "name" }, name),
    svg("svg", { class: kind, viewBox: `0 0 ${WIDTH} 10`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      svg("rect", { x: x.toFixed(1), y: 0, width: Math.max(3, scale(to) - x).toFixed(1), height: 10 })),
    h("span", { class: "took" }, took === undefined ? "" : span(took)),
    note ? h("span", { class: "note" }, note) : null,
  ];
  const shows = value !== undefined && value !== null;
  return h("li", { "data-key": key }, shows
    ? h("details", {}, h("summary", {}, head), json(value, `what ${name} recorded`))
    : h("div", { class: "row" }, head));
}

const QUIET = new Set(["PROGRESS"]);

// `dropped` of the earliest events are no longer on the page.
export function history(events, record, dropped) {
  const told = events.filter((event) => !QUIET.has(event.type));
  if (!told.length) return null;
  return section("What happened", { "data-key": "history" },
    dropped ? h("p", { class: "quiet" }, `${number(dropped)} earlier events are not shown.`) : null,
    h("ol", { class: "events" },
    told.map((event) => h("li", { "data-key": `event-${event.seq}` }, time(event.at), h("span", {}, words(event, record))))));
}

const SENTENCES = {
  TASK_STARTED: () => "Created",
  TASK_QUEUED: () => "Ready to run",
  NO_WORKER: ({ requires }) => `No worker runs it${requires.length ? ` with the labels ${requires.join(", ")}` : ""}`,
  ATTEMPT_STARTED: ({ attempt }) => (attempt > 1 ? `Attempt ${attempt} started` : "Started"),
  TASK_SUSPENDED: () => "Waits, without holding a worker",
  TASK_RESCUED: ({ reason }) => `Taken back: ${plain(reason)}`,
  TASK_RELEASED: () => "Handed back by a clean stop",
  ATTEMPT_FAILED: ({ message }) => `Attempt failed: ${message}`,
  INPUT_REQUIRED: ({ keys }) => `Asked: ${keys.join(", ")}`,
  INPUT_ANSWERED: ({ keys }) => `Answered: ${keys.join(", ")}`,
  SIGNAL_RECEIVED: ({ name }) => `Signal ${name}`,
  CANCEL_REQUESTED: () => "Asked to cancel",
  TASK_COMPLETED: (_, { isError }) => (isError ? "Completed with an error" : "Completed"),
  PARTIAL: ({ number: nth }) => `Partial result ${nth}`,
  ARTIFACT: ({ name }) => `File ${name}`,
};

function words(event, record) {
  const known = SENTENCES[event.type];
  if (known) return known(event, record);
  const detail = event.change?.type ?? event.name ?? event.message ?? event.reason;
  return detail && event.type === "CHANGED" ? sentence(detail) : `${sentence(event.type.replace(/^TASK_/, ""))}${detail ? `: ${plain(String(detail))}` : ""}`;
}
