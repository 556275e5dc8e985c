"""The fixture tools of the double. A tool is a function of (run, arguments); it returns a CallToolResult."""

from double_tasks import RpcError, broken


def text(value, **more):
    """A CallToolResult with one text."""
    return {"content": [{"type": "text", "text": value}], "isError": False, **more}


def form(message, **fields):
    """An elicitation."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def greet(run, arguments):
    """No task support."""
    return text(f"Hello, {arguments['name']}!")


def add(run, arguments):
    """Quick, with a structured result."""
    total = arguments["a"] + arguments["b"]
    return text(str(total), structuredContent={"result": total})


def slow_compute(run, arguments):
    """Sleeps."""
    seconds = arguments.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise RpcError(-32602, "seconds must be a number")
    run.sleep(seconds)
    return text(f"{arguments.get('label', '')} computed for {seconds} s")


def failing_job(run, arguments):
    """Ends with a tool error."""
    run.sleep(0.3)
    return {**text("this job always fails"), "isError": True}


def protocol_error_job(run, arguments):
    """Ends with a JSON-RPC error."""
    raise RpcError(-32050, "this job ends with a protocol error")


def confirm_delete(run, arguments):
    """Asks one question."""
    answer = run.ask({"confirm": form(f"Delete {arguments['filename']}?", confirm="boolean")})["confirm"]
    agreed = answer["action"] == "accept" and answer["content"]["confirm"]
    return text(f"{'deleted' if agreed else 'kept'} {arguments['filename']}")


def multi_input(run, arguments):
    """Asks two questions at once."""
    answers = run.ask({"name": form("Name?", name="string"), "colour": form("Colour?", colour="string")})
    return text(" and ".join(str(answer.get("content", answer["action"])) for answer in answers.values()))


def ask_loop(run, arguments):
    """Asks three questions, one after another."""
    for number in range(3):
        # With the fault `keys-repeat` the last round reuses the name of the one before.
        name = "round1" if broken("keys-repeat") and number == 2 else f"round{number}"
        run.ask({name: form(f"Round {number}?", value="string")})
    return text("3 rounds")


def test_tool_with_task(run, arguments):
    """Asked before there was a task; knows the answers."""
    return text(f"Hello, {run.task.answers['user_name']['content']['name']}!")


FIRST_QUESTIONS = {"test_tool_with_task": {"user_name": form("Name?", name="string")}}


def slow_progress(run, arguments):
    """Reports every step."""
    for step in range(1, arguments["steps"] + 1):
        run.sleep(arguments["step_ms"] / 1000)
        run.progress(step, arguments["steps"])
    return text(f"{arguments['steps']} steps")


def panic_job(run, arguments):
    """Fails in a way nobody foresaw."""
    raise RuntimeError("panic")


SUPPORT = {
    greet: "forbidden", add: "optional", slow_compute: "optional", failing_job: "required",
    protocol_error_job: "optional", confirm_delete: "optional", multi_input: "optional", ask_loop: "optional",
    test_tool_with_task: "required", slow_progress: "optional", panic_job: "optional",
}
TOOLS = {function.__name__: function for function in SUPPORT}
TASK_SUPPORT = {function.__name__: support for function, support in SUPPORT.items()}
