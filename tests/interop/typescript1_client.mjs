// Drives a server's tasks with the MCP TypeScript SDK 1.x (protocol 2025-11-25), whose
// experimental API polls a task and yields what it sees.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
    CallToolResultSchema, CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema,
    TaskStatusNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

import {
    ASKING, ASKING_TASK, FOREVER, HANDOVER, RELATED, ROOTS, SAMPLE, Suite, TERMINAL,
    answerTo, checkProgress, checkStatuses, checkTold, checkTools, eventually, need, refused, same, textOf, within,
} from "./harness.mjs";

const suite = new Suite("TypeScript SDK 1");

const INVALID_PARAMS = -32602;
const METHOD_NOT_FOUND = -32601;

/** Runs `use` with a new connection, after its handshake; `answer` makes it declare all that it can be asked. */
async function connected(target, use, answer) {
    const capabilities = answer ? { elicitation: {}, sampling: {}, roots: {} } : {};
    const client = new Client({ name: "interop", version: "0" }, { capabilities });
    if (answer) {
        client.setRequestHandler(ElicitRequestSchema, answer);
        client.setRequestHandler(CreateMessageRequestSchema, () => SAMPLE);
        client.setRequestHandler(ListRootsRequestSchema, () => ROOTS);
    }
    const transport = target.stdio
        ? new StdioClientTransport({ command: target.command[0], args: target.command.slice(1) })
        : new StreamableHTTPClientTransport(new URL(target.url));
    await client.connect(transport);
    try {
        return await use(client);
    } finally {
        await client.close();
    }
}

/** The messages of one call as a task, up to the one that `enough` accepts. */
async function collect(stream, enough = () => false) {
    const seen = [];
    for await (const message of stream) {
        seen.push(message);
        if (enough(message)) break;
    }
    return seen;
}

const stream = (client, name, args = {}, options = {}) =>
    client.experimental.tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, { task: {}, ...options });

/** Calls a tool as a task and returns the task of the answer. */
async function start(client, name, args, options) {
    const [created] = await collect(stream(client, name, args, options), () => true);
    same(created.type, "taskCreated", `answer to a call of ${name} as a task: ${created.error}`);
    need(created.task.taskId, "the task has no id");
    same(created.task.status, "working", "status of a new task");
    need(Date.parse(created.task.createdAt), `createdAt is ${created.task.createdAt}`);
    return created.task;
}

const finish = (client, id) =>
    eventually(() => client.experimental.tasks.getTask(id), (t) => TERMINAL.has(t.status), `task ${id} ends`);

async function result(client, id) {
    const got = await within(client.experimental.tasks.getTaskResult(id, CallToolResultSchema), `the result of ${id}`);
    same(got._meta?.[RELATED]?.taskId, id, "related task of the result");
    return got;
}

suite.check("the handshake declares tasks", (target) => connected(target, async (client) => {
    const { tasks, tools } = client.getServerCapabilities();
    need(tools && tasks?.cancel && tasks.requests?.tools?.call, `declared: ${JSON.stringify({ tasks, tools })}`);
    await client.ping();
}));

suite.check("tools are listed and called", (target) => connected(target, async (client) => {
    const { tools } = await client.listTools();
    checkTools(tools);
    same(tools.find((t) => t.name === "failing_job").execution?.taskSupport, "required", "task support of failing_job");
    same(textOf(await client.callTool({ name: "greet", arguments: { name: "Ada" } })), "Hello, Ada!", "the greeting");
    same(textOf(await client.callTool({ name: "add", arguments: { a: 19, b: 23 } })), "42", "the sum");
}));

suite.check("a call without a task reports progress", (target) => connected(target, async (client) => {
    const seen = [];
    const call = { name: "slow_progress", arguments: { steps: 10, step_ms: 100 } };
    textOf(await client.callTool(call, undefined, { onprogress: (p) => seen.push(p), resetTimeoutOnProgress: true }));
    checkProgress(seen);
}));

suite.check("a call as a task: created, status, result", (target) => connected(target, async (client) => {
    const seen = await collect(stream(client, "slow_progress", { steps: 20, step_ms: 100 }));
    same(seen[0].type, "taskCreated", "the first message");
    same(seen.at(-1).type, "result", `the last message: ${seen.at(-1).error}`);
    textOf(seen.at(-1).result);
    checkStatuses(seen.filter((m) => m.task).map((m) => m.task.status), "completed");
}));

suite.check("progress of a task arrives", (target) => connected(target, async (client) => {
    const seen = [];
    const messages = await collect(
        stream(client, "slow_progress", { steps: 20, step_ms: 100 }, { onprogress: (p) => seen.push(p) }));
    same(messages.at(-1).type, "result", `the last message: ${messages.at(-1).error}`);
    checkProgress(seen);
}));

suite.check("status notifications arrive", (target) => connected(target, async (client) => {
    const seen = [];
    client.setNotificationHandler(TaskStatusNotificationSchema, (n) => void seen.push(n.params));
    const { taskId } = await start(client, "slow_compute", { seconds: 1, label: "told" });
    await eventually(
        async () => seen.filter((n) => n.taskId === taskId).map((n) => n.status),
        (statuses) => statuses.includes("completed"), "a status notification says completed");
}));

suite.check("a finished result is fetched twice", (target) => connected(target, async (client) => {
    const { taskId } = await start(client, "add", { a: 20, b: 22 }, { task: { ttl: 120_000 } });
    same((await finish(client, taskId)).status, "completed", "status");
    const first = await result(client, taskId);
    same(textOf(first), "42", "the sum");
    same(await result(client, taskId), first, "the second answer");
}));

suite.check("cancel a running task", (target) => connected(target, async (client) => {
    const { taskId } = await start(client, "slow_compute", { seconds: FOREVER, label: "cancel" });
    same((await client.experimental.tasks.cancelTask(taskId)).status, "cancelled", "status in the answer");
    same((await client.experimental.tasks.getTask(taskId)).status, "cancelled", "status afterwards");
    await refused(client.experimental.tasks.cancelTask(taskId), INVALID_PARAMS, "cancelling a finished task");
}));

suite.check("a tool that fails", (target) => connected(target, async (client) => {
    const { taskId } = await start(client, "failing_job");
    same((await finish(client, taskId)).status, "failed", "status");
    need((await result(client, taskId)).isError, "the result is not marked as an error");
}));

suite.check("a question inside a task", async (target) => {
    const asked = [];
    await connected(target, async (client) => {
        const seen = await collect(stream(client, "confirm_delete", { filename: "notes.txt" }));
        same(seen.at(-1).type, "result", `the last message: ${seen.at(-1).error}`);
        need(!seen.at(-1).result.isError, `the task failed: ${textOf(seen.at(-1).result)}`);
        same(asked.length, 1, "how often the question was asked");
        same(asked[0]._meta?.[RELATED]?.taskId, seen[0].task.taskId, "task that the question names");
    }, ({ params }) => {
        asked.push(params);
        return { action: "accept", content: answerTo(params.requestedSchema) };
    });
});

const accept = ({ params }) => ({ action: "accept", content: answerTo(params.requestedSchema) });

suite.check("sampling, roots and a question while the caller waits", (target) => connected(target, async (client) => {
    for (const [name, expected] of Object.entries(ASKING))
        checkTold(textOf(await client.callTool({ name, arguments: {} })), expected, name);
}, accept));

suite.check("sampling, roots and a question inside a task", (target) => connected(target, async (client) => {
    const task = await start(client, ASKING_TASK);
    const got = await result(client, task.taskId);
    checkTold(textOf(got), ASKING.test_input_required_result_multiple_inputs, ASKING_TASK);
}, accept));

suite.check("a task outlives the connection that started it", async (target) => {
    const { taskId } = await connected(target, (client) => start(client, "slow_progress", { steps: 20, step_ms: 100 }));
    await connected(target, async (client) => {
        textOf(await result(client, taskId));
        same((await client.experimental.tasks.getTask(taskId)).status, "completed", "status");
    });
});

suite.check("tasks are listed where they may be", (target) => connected(target, async (client) => {
    const { taskId } = await start(client, "add", { a: 3, b: 4 });
    if (!client.getServerCapabilities().tasks.list) {
        need(!target.stdio, "tasks.list is not declared on stdio, where there is one requester");
        await refused(client.experimental.tasks.listTasks(), METHOD_NOT_FOUND, "an undeclared tasks/list");
        return;
    }
    const ids = [];
    let cursor;
    do {
        const page = await client.experimental.tasks.listTasks(cursor);
        ids.push(...page.tasks.map((t) => t.taskId));
        cursor = page.nextCursor;
    } while (cursor);
    need(ids.includes(taskId), `task ${taskId} is not among the ${ids.length} listed`);
}));

suite.check("unknown ids and wrong modes are refused", (target) => connected(target, async (client) => {
    const unknown = "00000000-0000-4000-8000-000000000000";
    await refused(client.experimental.tasks.getTask(unknown), INVALID_PARAMS, "tasks/get of an unknown id");
    const call = (name) => client.request({ method: "tools/call", params: { name, arguments: {} } }, CallToolResultSchema);
    await refused(call("failing_job"), METHOD_NOT_FOUND, "a required tool without a task");
    await refused(call("no_such_tool"), INVALID_PARAMS, "an unknown tool");
}));

suite.handsOver(
    (target) => connected(target, async (client) => (await start(client, ...HANDOVER)).taskId),
    (target, id) => connected(target, (client) => result(client, id)));

await suite.main();
