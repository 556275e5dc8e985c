"""HTTP headers, origins, users and tokens (E70, E71, E73, E74, E87)."""

import http.client
import re
from urllib.parse import urlsplit

from client import encode_header
from harness import assertion, require, unknown_id
from shapes import check_detailed, create_modern, finish_modern, get_modern


@assertion("E70", "modern", "http", "2026-07-28 Streamable HTTP, standard headers; SEP-2663, HTTP headers")
def e70_name_header_is_checked(ctx):
    """tasks/get with a wrong Mcp-Name answers 400 -32020, with the right one in Base64 200; an absent one as stated."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=0.2))["taskId"]
    params = {"taskId": task_id}
    wrong = peer.request("tasks/get", params, headers={"Mcp-Name": unknown_id()})
    wrong.expect_error(-32020, status=400)
    encoded = peer.request("tasks/get", params, headers={"Mcp-Name": encode_header(task_id)})
    require(encoded.status == 200, "a Base64 Mcp-Name must be understood", encoded.message)
    check_detailed(encoded.result)
    absent = peer.request("tasks/get", params, headers={"Mcp-Name": None})
    # The specification asks for -32020; widely used clients leave the header out, so a server may be lenient.
    if ctx.profile.fact("absent_mcp_name", "refused") == "accepted":
        require(absent.status == 200, "an absent Mcp-Name must be accepted, as the profile states", absent.message)
        check_detailed(absent.result)
    else:
        absent.expect_error(-32020, status=400)


@assertion("E71", "modern", "http", "2026-07-28 Streamable HTTP, standard headers")
def e71_method_header_is_checked(ctx):
    """Mcp-Method tasks/get with a body of tasks/cancel answers 400 -32020 and has no effect."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=1))["taskId"]
    reply = peer.request("tasks/cancel", {"taskId": task_id}, headers={"Mcp-Method": "tasks/get"})
    reply.expect_error(-32020, status=400)
    final = finish_modern(ctx, peer, task_id)
    require(final["status"] == "completed", "the refused request must have no effect", final)


@assertion("E73", "modern", "http", "SEP-2663, security; task isolation")
def e73_foreign_tasks_do_not_exist(ctx):
    """Alice's task is to Bob as an unknown one: -32602, with the same text but for the id."""
    ctx.token("alice"), ctx.token("bob")
    alice, bob = ctx.modern(user="alice"), ctx.modern(user="bob")
    task_id = create_modern(alice, ctx.call("slow", seconds=1))["taskId"]
    nobody = unknown_id()
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        extra = {"inputResponses": {}} if method == "tasks/update" else {}
        foreign = bob.request(method, {"taskId": task_id, **extra}).expect_error(-32602)
        unknown = bob.request(method, {"taskId": nobody, **extra}).expect_error(-32602)
        same = [str(error).replace(task_id, "ID").replace(nobody, "ID") for error in (foreign, unknown)]
        require(same[0] == same[1], "a foreign task must look like an unknown one", [foreign, unknown])
    require(finish_modern(ctx, alice, task_id)["status"] == "completed", "alice's task must not be touched")


@assertion("E74", "modern", "http", "2026-07-28 authorization, protected resource metadata")
def e74_unauthorized(ctx):
    """Without a valid token tasks/get answers 401 and names the resource metadata, which anyone can read."""
    ctx.token("alice")
    for authorization in (None, "Bearer no-such-token"):
        peer = ctx.modern(user="alice")
        peer.link.headers["Authorization"] = authorization
        exchange = peer.start("tasks/get", {"taskId": unknown_id()}).exchange.wait_headers(ctx.deadline)
        require(exchange.status == 401, "a request without a valid token must answer 401", exchange.status)
        challenge = exchange.headers.get("www-authenticate", "")
        found = re.search(r'resource_metadata="([^"]+)"', challenge)
        require(found, "WWW-Authenticate must name resource_metadata", challenge)
        where = urlsplit(found[1])
        connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=ctx.deadline)
        try:
            connection.request("GET", where.path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        require(answer.status == 200, "the metadata must be readable without a token", answer.status)
        require(b"authorization_servers" in body, "the metadata must name an authorization server", body.decode())


@assertion("E87", "modern", "http", "2026-07-28 Streamable HTTP, security; 2025-11-25 transports, Security Warning")
def e87_foreign_origin_is_refused(ctx):
    """A request from a foreign Origin answers 403 and has no effect."""
    peer = ctx.modern()
    task_id = create_modern(peer, ctx.call("slow", seconds=1))["taskId"]
    for method in ("tasks/get", "tasks/cancel"):
        pending = peer.start(method, {"taskId": task_id}, headers={"Origin": "http://evil.example"})
        status = pending.exchange.wait_headers(ctx.deadline).status
        require(status == 403, f"{method} from a foreign Origin must answer 403", status)
    final = finish_modern(ctx, peer, task_id)
    require(final["status"] == "completed", "the refused request must have no effect", final)
    get_modern(peer, task_id)
