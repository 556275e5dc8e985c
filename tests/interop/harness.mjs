// What harness.py is to the Python drivers: runs the checks of one foreign client against one
// server and reports each of them, in the same words and with the same command line.
//
// Every check opens its own connections, so a broken one spoils no other. A check passes, fails
// with a reason, or is skipped with a reason. No check compares clock times: it polls a condition
// up to a deadline that only a hung server reaches.

import { isDeepStrictEqual, parseArgs } from "node:util";

/** Milliseconds that a condition may take to come true; far above what a healthy server needs. */
export const DEADLINE = 60_000;

/** Milliseconds after which a whole check counts as hung. */
const CHECK_DEADLINE = 180_000;

/** Long enough that a task of this many seconds never ends by itself in a check. */
export const FOREVER = 600;

/** The call that one client starts and other clients fetch. */
export const HANDOVER = ["slow_progress", { steps: 10, step_ms: 100 }];

/** What the client under test answers when its model or its folders are asked for; `answerTo` has its name. */
export const SAMPLE = { role: "assistant", content: { type: "text", text: "Paris" }, model: "none" };
export const ROOTS = { roots: [{ uri: "file:///home/alice/project" }] };

/** The tools that ask while their caller waits, and what each must have been told. */
export const ASKING = {
    test_input_required_result_sampling: ["Paris"],
    test_input_required_result_list_roots: [ROOTS.roots[0].uri],
    test_input_required_result_multiple_inputs: ["Alice", "Paris", ROOTS.roots[0].uri],
};

/** The last of them as a task. */
export const ASKING_TASK = "ask_around";

export const TERMINAL = new Set(["completed", "failed", "cancelled"]);

export const RELATED = "io.modelcontextprotocol/related-task";

/** An answer was not what it has to be. */
export class Failed extends Error {}

/** The check does not apply here; the text says why. */
export class Skipped extends Error {}

export function need(condition, what) {
    if (!condition) throw new Failed(what);
}

export function same(actual, expected, what) {
    if (!isDeepStrictEqual(actual, expected))
        throw new Failed(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Settles as `promise` does, or fails once `ms` have passed. */
export async function within(promise, what, ms = DEADLINE) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Failed(`hung: ${what} did not come in time`)), ms);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** Asks until the answer `holds` and returns it; fails with the last answer. */
export async function eventually(ask, holds, what) {
    const end = performance.now() + DEADLINE;
    for (;;) {
        const answer = await ask();
        if (holds(answer)) return answer;
        if (performance.now() > end)
            throw new Failed(`${what}: still not so after ${DEADLINE / 1000} s; last answer ${JSON.stringify(answer)}`);
        await sleep(50);
    }
}

/** Awaits a call that must be refused with `code`; returns the error. */
export async function refused(call, code, what) {
    let answer;
    try {
        answer = await call;
    } catch (error) {
        if (error.code === code) return error;
        throw new Failed(`${what}: expected error ${code}, got ${error.code} ${error.message}`);
    }
    throw new Failed(`${what}: expected error ${code}, got ${JSON.stringify(answer)}`);
}

/** The text of a result whose first block is a text block. */
export function textOf(result) {
    const block = result.content?.[0];
    need(block?.type === "text" && block.text, `the result does not begin with text: ${JSON.stringify(result.content)}`);
    return block.text;
}

/** Checks that the fixture server's tools are listed once each, with their arguments. */
export function checkTools(tools) {
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    same(byName.size, tools.length, "number of different names among the tools listed");
    for (const [name, properties] of Object.entries({
        greet: ["name"],
        add: ["a", "b"],
        slow_compute: ["label", "seconds"],
        slow_progress: ["step_ms", "steps"],
        failing_job: [],
        confirm_delete: ["filename"],
    })) {
        const tool = byName.get(name);
        need(tool, `tool ${name} is missing from ${[...byName.keys()]}`);
        same(Object.keys(tool.inputSchema.properties ?? {}).sort(), properties, `arguments of ${name}`);
    }
}

/** Checks the progress notifications of a call of slow_progress. */
export function checkProgress(seen) {
    need(seen.length >= 2, `too few progress notifications: ${JSON.stringify(seen)}`);
    const values = seen.map((n) => n.progress);
    need(values.every((v, i) => i === 0 || v > values[i - 1]), `progress does not increase: ${values}`);
}

/** Checks that a tool that asked was told these. */
export function checkTold(text, expected, tool) {
    const missing = expected.filter((answer) => !text.includes(answer));
    need(!missing.length, `${tool} was not told ${missing}: ${text}`);
}

/** Checks that a task was seen working and then ended in `end`, for good. */
export function checkStatuses(statuses, end) {
    need(statuses.includes("working"), `never seen working: ${statuses}`);
    same(statuses.at(-1), end, "the last status");
    need(!statuses.slice(0, -1).some((s) => TERMINAL.has(s)), `a finished task changed its status: ${statuses}`);
}

/** An answer to an elicitation that fits its schema: everything, agreeing. */
export function answerTo(schema) {
    const value = (field) => {
        if (field.enum) return field.enum[0];
        if (field.type === "boolean") return true;
        if (field.type === "integer" || field.type === "number") return field.minimum ?? 1;
        return "Alice";
    };
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, field]) => [name, value(field)]));
}

/** A result as canonical() of harness.py prints it, so that clients can be compared. */
function canonical(result) {
    const sorted = (value) => {
        if (Array.isArray(value)) return `[${value.map(sorted).join(", ")}]`;
        if (value === null || typeof value !== "object") return JSON.stringify(value);
        const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}: ${sorted(value[key])}`);
        return `{${members.join(", ")}}`;
    };
    return sorted({
        content: result.content,
        structuredContent: result.structuredContent ?? null,
        isError: Boolean(result.isError),
    });
}

function describe(error) {
    if (error instanceof Failed) return error.message;
    return `${error?.name}${error?.code === undefined ? "" : ` ${error.code}`}: ${error?.message}`.replace(/\s+/g, " ");
}

/** The checks of one client, in the order in which they were added. */
export class Suite {
    #client;
    #checks = [];
    #start;
    #fetch;

    constructor(client) {
        this.#client = client;
    }

    check(name, run) {
        this.#checks.push([name, run]);
    }

    /** Gives the client its part in a handover: one starts a task, others fetch it. */
    handsOver(start, fetch) {
        this.#start = start;
        this.#fetch = fetch;
    }

    /** Parses the command line, does what it asks for and exits with 0, 1 or 2. */
    async main() {
        const split = process.argv.indexOf("--stdio");
        const command = split < 0 ? [] : process.argv.slice(split + 1);
        const { values } = parseArgs({
            args: process.argv.slice(2, split < 0 ? undefined : split),
            options: {
                only: { type: "string" },
                url: { type: "string" },
                trace: { type: "boolean" },
                start: { type: "boolean" },
                fetch: { type: "string" },
            },
        });
        if (Boolean(values.url) === Boolean(command.length)) {
            console.error("give either --url URL or --stdio COMMAND ARGUMENT...");
            process.exit(2);
        }
        const target = { url: values.url, command, stdio: command.length > 0 };
        // A client that keeps a timer or a connection must not keep the process.
        if (values.start || values.fetch) process.exit(await this.#handOver(target, values.fetch));
        process.exit(await this.#run(target, values.only ?? "", values.trace));
    }

    async #handOver(target, id) {
        if (id) console.log(canonical(await within(this.#fetch(target, id), "the handover", CHECK_DEADLINE)));
        else console.log(await within(this.#start(target), "the handover", CHECK_DEADLINE));
        return 0;
    }

    async #run(target, only, trace) {
        let passed = 0, failed = 0, skipped = 0;
        for (const [name, run] of this.#checks) {
            if (!name.includes(only)) continue;
            try {
                await within(run(target), "the check's end", CHECK_DEADLINE);
                passed += 1;
                console.log(`ok   ${this.#client}: ${name}`);
            } catch (error) {
                if (error instanceof Skipped) {
                    skipped += 1;
                    console.log(`skip ${this.#client}: ${name}: ${error.message}`);
                    continue;
                }
                failed += 1;
                console.log(`FAIL ${this.#client}: ${name}: ${describe(error)}`);
                if (trace) console.log(error.stack);
            }
        }
        console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
        return failed || !(passed + skipped) ? 1 : 0;
    }
}
