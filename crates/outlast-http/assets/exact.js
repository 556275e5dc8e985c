// JSON without loss. A browser reads 9007199254740993 as …992 and 1.0 as 1; what a task was called with
// and what it returned is shown as it is.

export class Exact {
  constructor(source) {
    this.source = source;
  }

  // What JSON.stringify writes: every digit, where the browser can do that.
  toJSON() {
    return JSON.rawJSON ? JSON.rawJSON(this.source) : Number(this.source);
  }
}

// Numbers that JavaScript would change come as Exact.
export function parse(text) {
  return JSON.parse(text, (key, value, context) => {
    const source = context?.source;
    return typeof value === "number" && source !== undefined && String(value) !== source ? new Exact(source) : value;
  });
}

// The number that was typed, for a body to send.
export function typed(text) {
  try {
    return parse(text);
  } catch {
    // "+1", "1." and the like, which a number field takes and JSON does not.
    return Number(text);
  }
}

export const stringify = (value) => JSON.stringify(value, null, 2);
