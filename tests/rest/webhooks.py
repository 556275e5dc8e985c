"""Takes webhooks, and verifies them with the library of the Standard Webhooks specification."""

import base64
import json
import os
import sys

from standardwebhooks import Webhook, WebhookVerificationError

from server import Receiver, Server, eventually

CONFIG = """
[server]
name = "hooks"
store = "sqlite:tasks.db"
listen = "127.0.0.1:0"
[tools.hello]
description = "Says hello."
command = ["echo", "hello"]
[webhooks]
hosts = ["127.0.0.1"]
private = true
secret = "env:SERVER_KEY"
[webhooks.to.ops]
url = "{url}/ops"
private = true
events = ["completed", "failed"]
"""


def main(outlast):
    receiver = Receiver()
    keys = {name: "whsec_" + base64.b64encode(os.urandom(32)).decode() for name in ("SERVER_KEY", "CALL_KEY")}
    with Server(outlast, CONFIG.replace("{url}", receiver.url), **keys) as server:
        called = server.run(
            "call", "hello", "--task", "--webhook", f"{receiver.url}/call", "--webhook-event", "completed",
            "--webhook-secret", "env:CALL_KEY",
        )
        task = called.strip()
        server.ended(task)
        eventually(lambda: len(receiver.got) >= 2, "two messages")
        told = eventually(
            lambda: (found := server.ask("GET", f"/tasks/{task}/webhooks"))
            and all(one["state"] == "delivered" for one in found["deliveries"])
            and found,
            "both are known to be delivered",
        )
    assert len(told["deliveries"]) == len(receiver.got) == 2, told
    for path, headers, body in receiver.got:
        key = {"/ops": "SERVER_KEY", "/call": "CALL_KEY"}[path]
        message = Webhook(keys[key]).verify(body, headers)
        assert message == json.loads(body) and message["data"]["taskId"] == task, message
        other = {"SERVER_KEY": "CALL_KEY", "CALL_KEY": "SERVER_KEY"}[key]
        for wrong_key, wrong_body in ((keys[other], body), (keys[key], body + b" ")):
            try:
                Webhook(wrong_key).verify(wrong_body, headers)
            except WebhookVerificationError:
                continue
            raise AssertionError(f"verified what it should not: {path}")
    print("webhooks: verified by the library of the specification")


main(sys.argv[1])
