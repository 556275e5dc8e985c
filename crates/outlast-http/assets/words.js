// Figures as people read them.

const units = [["d", 86_400], ["h", 3_600], ["min", 60]];

// 9.4 s · 3 min 12 s · 2 h 5 min · 3 d 4 h
export function span(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const at = units.findIndex(([, size]) => whole >= size);
  if (at < 0) return `${whole} s`;
  const [unit, size] = units[at];
  const [smaller, part] = units[at + 1] ?? ["s", 1];
  const rest = Math.floor((whole % size) / part);
  return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${smaller}` : `${Math.floor(whole / size)} ${unit}`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

// now · 12 s ago · 3 min ago · in 2 h
export function ago(when, now = Date.now()) {
  const seconds = (new Date(when) - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  if (size < 60) return relative.format(Math.trunc(seconds), "second");
  if (size < 3_600) return relative.format(Math.trunc(seconds / 60), "minute");
  if (size < 86_400) return relative.format(Math.trunc(seconds / 3_600), "hour");
  return relative.format(Math.trunc(seconds / 86_400), "day");
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "long" });

export const timeOfDay = (when) => clock.format(new Date(when));
export const exactly = (when) => exact.format(new Date(when));

// 14:03:59 today, 3 Nov, 14:03 before.
export function moment(when) {
  const date = new Date(when);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : day.format(date);
}

export const number = (value) => value.toLocaleString("en");

export const some = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

// At most so many decimals, and none that are zero.
export const figure = (value, decimals = 1) => String(Number(value.toFixed(decimals)));

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  const unit = Math.min(4, Math.floor(Math.log2(size) / 10));
  const value = size / 2 ** (10 * unit);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

// TASK_STARTED and input_required as words.
export const plain = (name) => name.toLowerCase().replaceAll("_", " ");

export const sentence = (name) => {
  const words = plain(name);
  return words.charAt(0).toUpperCase() + words.slice(1);
};
