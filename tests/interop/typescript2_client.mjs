// Drives a server with the MCP TypeScript SDK 2.x and its tasks package, in both eras.
//
// The SDK's codecs know no tasks; `@modelcontextprotocol/ext-tasks` adds them. Over 2026-07-28
// it needs a way around the codecs, `raw` below, as a host application has one.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";

import {
    ASKING, ASKING_TASK, FOREVER, HANDOVER, ROOTS, SAMPLE, Suite, TERMINAL,
    answerTo, checkProgress, checkStatuses, checkTold, checkTools, eventually, need, refused, same, textOf, within,
} from "./harness.mjs";

const suite = new Suite("TypeScript SDK 2");

const MODERN = "2026-07-28";
const LEGACY = "2025-11-25";
const CLIENT = { name: "interop", version: "0" };

/** What a client declares that answers whatever it is asked. */
const ASKED = { elicitation: { form: {} }, sampling: {}, roots: {} };

/** Runs `use` with a new connection of one era; `answer` makes it declare all that it can be asked. */
async function connected(target, version, use, answer) {
    const capabilities = answer ? ASKED : {};
    const versionNegotiation = { mode: version === MODERN ? { pin: MODERN } : "legacy" };
    const client = new Client(CLIENT, { capabilities, versionNegotiation });
    const transport = transportTo(target);
    const replies = new Map();
    await client.connect(transport);
    // Answers to requests that did not come from the SDK are kept from it.
    const deliver = transport.onmessage;
    transport.onmessage = (message, extra) => {
        const reply = replies.get(message.id);
        if (reply && message.method === undefined) {
            replies.delete(message.id);
            reply(message);
        } else deliver(message, extra);
    };
    let next = 0;
    const raw = async (request) => {
        const id = `raw-${next++}`;
        const reply = new Promise((resolve) => replies.set(id, resolve));
        await transport.send({ jsonrpc: "2.0", id, ...request }, { headers: headersOf(request) });
        const message = await reply;
        return message.error ? { kind: "error", error: message.error } : { kind: "result", result: message.result };
    };
    const framing = { protocolVersion: MODERN, clientInfo: CLIENT, clientCapabilities: capabilities };
    const session = createTaskSessionFromClient(client, {
        endpointId: "interop",
        onInputRequest: answer && (async ({ kind, params }) => answer(params, kind)),
        ...(version === MODERN ? { rawDispatch: raw, v2RequestFraming: framing } : {}),
    });
    try {
        return await use(session, client);
    } finally {
        // Closing the session would cancel the tasks that it started, those left on purpose too.
        await client.close();
    }
}

/** What a 2026-07-28 request repeats in its headers. */
function headersOf({ method, params }) {
    const name = params?.name ?? params?.taskId;
    return { "Mcp-Method": method, ...(name === undefined ? {} : { "Mcp-Name": name }) };
}

/** Runs `use` with a client that answers whatever its user, its model or its folders are asked. */
async function answering(target, version, use) {
    const capabilities = ASKED;
    const versionNegotiation = { mode: version === MODERN ? { pin: MODERN } : "legacy" };
    const client = new Client(CLIENT, { capabilities, versionNegotiation });
    const accept = ({ params }) => ({ action: "accept", content: answerTo(params.requestedSchema) });
    client.setRequestHandler("elicitation/create", accept);
    client.setRequestHandler("sampling/createMessage", () => SAMPLE);
    client.setRequestHandler("roots/list", () => ROOTS);
    await client.connect(transportTo(target));
    try {
        return await use(client);
    } finally {
        await client.close();
    }
}

const transportTo = (target) => target.stdio
    ? new StdioClientTransport({ command: target.command[0], args: target.command.slice(1) })
    : new StreamableHTTPClientTransport(new URL(target.url));

/** Adds a check in both eras. */
function inBothEras(name, run) {
    for (const version of [MODERN, LEGACY]) suite.check(`${name}, ${version}`, (target) => run(target, version));
}

const start = async (session, name, args = {}) => {
    const execution = await session.callTool(name, args, { task: { preference: "require" } });
    same(execution.kind, "task", `kind of execution of ${name}`);
    need(execution.handle.taskId, "the task has no id");
    return execution;
};

/** The end of an execution and the statuses seen on the way. */
async function settle(execution) {
    const statuses = [];
    // The end may be told twice: in a notification, and in the answer to the last poll.
    const onEvent = (event) => {
        if (event.type === "task" && !(TERMINAL.has(event.task.status) && statuses.at(-1) === event.task.status))
            statuses.push(event.task.status);
    };
    const { outcome } = await within(execution.settle({ onEvent }), "the outcome");
    return { outcome, statuses };
}

inBothEras("tools are listed and called", (target, version) => connected(target, version, async (_, client) => {
    same(client.getNegotiatedProtocolVersion(), version, "protocol version");
    checkTools((await client.listTools()).tools);
    same(textOf(await client.callTool({ name: "greet", arguments: { name: "Ada" } })), "Hello, Ada!", "the greeting");
    same(textOf(await client.callTool({ name: "add", arguments: { a: 19, b: 23 } })), "42", "the sum");
}));

inBothEras("a call without a task reports progress", (target, version) => connected(target, version, async (_, client) => {
    const seen = [];
    const call = { name: "slow_progress", arguments: { steps: 10, step_ms: 100 } };
    textOf(await client.callTool(call, { onprogress: (p) => seen.push(p), resetTimeoutOnProgress: true }));
    checkProgress(seen);
}));

inBothEras("a call as a task, to its end", (target, version) => connected(target, version, async (session) => {
    const { outcome, statuses } = await settle(await start(session, "slow_progress", { steps: 20, step_ms: 100 }));
    textOf(resultFromTaskOutcome(outcome));
    checkStatuses(statuses, "completed");
    same(outcome.status, "completed", "status of the outcome");
}));

inBothEras("cancel a running task", (target, version) => connected(target, version, async (session) => {
    const execution = await start(session, "slow_compute", { seconds: FOREVER, label: "cancel" });
    await execution.cancel();
    const { outcome } = await settle(execution);
    same(outcome.status, "cancelled", "status");
}));

inBothEras("a tool that fails", (target, version) => connected(target, version, async (session) => {
    const { outcome } = await settle(await start(session, "failing_job"));
    need(outcome.status === "failed" || outcome.result.isError, `the outcome shows no error: ${JSON.stringify(outcome)}`);
}));

inBothEras("a task that ends in a protocol error", (target, version) => connected(target, version, async (session) => {
    const { outcome } = await settle(await start(session, "protocol_error_job"));
    same(outcome.status, "failed", "status");
    need(outcome.error.message, "the error has no message");
}));

inBothEras("a question inside a task", async (target, version) => {
    const asked = [];
    await connected(target, version, async (session) => {
        const { outcome, statuses } = await settle(await start(session, "confirm_delete", { filename: "notes.txt" }));
        need(!resultFromTaskOutcome(outcome).isError, `the task failed: ${JSON.stringify(outcome)}`);
        same(asked.length, 1, "how often the question was asked");
        need(asked[0].message, "the question has no text");
        need(statuses.every((s) => !TERMINAL.has(s) || s === "completed"), `statuses: ${statuses}`);
    }, (params) => {
        asked.push(params);
        return { action: "accept", content: answerTo(params.requestedSchema) };
    });
});

inBothEras("a task outlives the connection that started it", async (target, version) => {
    const kept = await connected(target, version, async (session) => {
        const execution = await start(session, "slow_progress", { steps: 20, step_ms: 100 });
        const reference = execution.serializeReference();
        await execution.detach();
        return JSON.stringify(reference);
    });
    await connected(target, version, async (session) => {
        const { outcome } = await settle(await session.resumeTask(JSON.parse(kept)));
        textOf(resultFromTaskOutcome(outcome));
    });
});

const WAITING = "sampling, roots and a question while the caller waits";

inBothEras(WAITING, (target, version) => answering(target, version, async (client) => {
    for (const [name, expected] of Object.entries(ASKING))
        checkTold(textOf(await client.callTool({ name, arguments: {} })), expected, name);
}));

inBothEras("sampling, roots and a question inside a task", (target, version) => connected(target, version, async (session) => {
    const { outcome } = await settle(await start(session, ASKING_TASK));
    checkTold(textOf(resultFromTaskOutcome(outcome)), ASKING.test_input_required_result_multiple_inputs, ASKING_TASK);
}, (params, kind) => {
    switch (kind) {
        case "sampling": return SAMPLE;
        case "roots": return ROOTS;
        default: return { action: "accept", content: answerTo(params.requestedSchema) };
    }
}));

suite.check("a question during a plain call, 2026-07-28", async (target) => {
    const asked = [];
    await connected(target, MODERN, async (session) => {
        // The tool asks before the task exists, with a result that the client answers by a retry.
        const execution = await session.callTool("test_tool_with_task", {});
        const { outcome } = await settle(execution);
        need(textOf(resultFromTaskOutcome(outcome)).includes("Alice"), "the answer is not in the result");
        same(asked.length, 1, "how often the question was asked");
    }, (params) => {
        asked.push(params);
        return { action: "accept", content: answerTo(params.requestedSchema) };
    });
});

suite.check("unknown ids are refused, 2025-11-25", (target) => connected(target, LEGACY, async (session) => {
    const unknown = session.task("00000000-0000-4000-8000-000000000000");
    await refused(unknown.snapshot(), -32602, "tasks/get of an unknown id");
}));

inBothEras("a new connection cancels a running task", async (target, version) => {
    const taskId = await connected(target, version, async (session) => {
        const execution = await start(session, "slow_compute", { seconds: FOREVER, label: "elsewhere" });
        await execution.detach();
        return execution.handle.taskId;
    });
    await connected(target, version, async (session) => {
        await session.cancelTask(taskId);
        const view = await eventually(() => session.task(taskId).snapshot(), (v) => TERMINAL.has(v.status), "the task ends");
        same(view.status, "cancelled", "status");
    });
});

suite.handsOver(
    (target) => connected(target, MODERN, async (session) => {
        const execution = await start(session, ...HANDOVER);
        await execution.detach();
        return execution.handle.taskId;
    }),
    (target, id) => connected(target, MODERN, async (session) =>
        resultFromTaskOutcome(await within(session.task(id).result(), `the result of ${id}`))));

await suite.main();
