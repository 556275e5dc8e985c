#!/usr/bin/env bash
# Drives servers nobody here wrote with our client: FastMCP 3.4 (2025-11-25, tasks
# of SEP-1686) and FastMCP 4.1 (2026-07-28, tasks of SEP-2663), over HTTP and as
# child processes, through the library and through the `outlast` command.
#
#   tests/interop/our_client_foreign_servers.sh
#
# Needs `scripts/setup interop`; builds what it runs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
servers=tests/assertions/teeth

fail() {
    echo "interop: $*" >&2
    exit 1
}

for venv in fastmcp3 fastmcp4; do
    [[ -x .deps/$venv/bin/python ]] || fail "$venv is not installed; run scripts/setup interop"
done

# The library. CI makes a missing server a failure instead of a skip.
CI=1 cargo test --quiet -p outlast-mcp --features client --test client foreign

# The command.
cargo build --quiet -p outlast-cli
outlast=${CARGO_TARGET_DIR:-target}/debug/outlast
checks=0

# check WANTED-CODE WANTED-TEXT ARGUMENT...: the exit code, and a text in the output.
check() {
    local wanted=$1 text=$2 code=0 said
    shift 2
    said=$("$outlast" "$@" 2>&1 </dev/null) || code=$?
    [[ $code == "$wanted" ]] || fail "outlast $*: exit code $code, not $wanted: $said"
    [[ $said == *"$text"* ]] || fail "outlast $*: no \"$text\" in: $said"
    checks=$((checks + 1))
}

for server in "fastmcp3 fastmcp34_server.py" "fastmcp4 fastmcp41_server.py"; do
    command=(--command ".deps/${server% *}/bin/python" "$servers/${server#* }" stdio)
    check 0 "slow_progress" tools "${command[@]}"
    check 0 "5" call add a=2 b=3 "${command[@]}"
    check 0 '"status":"completed"' call add a=2 b=3 --wait --json "${command[@]}"
    check 0 "2 steps" call slow_progress steps=2 step_ms=50 --wait "${command[@]}"
    check 0 "Hello, 01!" call greet name=01 --wait "${command[@]}"
    check 1 "always fails" call failing_job --wait "${command[@]}"
    check 2 "not an integer" call add a=two b=3 "${command[@]}"
    check 6 "no tool" call nothing "${command[@]}"
    check 6 "nothing" tasks show nothing "${command[@]}"
    check 6 "nothing" tasks logs nothing "${command[@]}"
done
# A server over HTTP keeps its tasks from one command to the next.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port/mcp
for server in "fastmcp3 fastmcp34_server.py" "fastmcp4 fastmcp41_server.py"; do
    ".deps/${server% *}/bin/python" "$servers/${server#* }" http "$port" >/dev/null 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    for _ in $(seq 600); do
        "$outlast" tools --url "$url" >/dev/null 2>&1 && break
        sleep 0.1
    done
    id=$("$outlast" call add a=2 b=3 --task --url "$url")
    check 0 "5" tasks result "$id" --url "$url"
    check 0 "completed" tasks show "$id" --url "$url"
    check 0 "completed" tasks watch "$id" --url "$url"
    check 3 "does not offer logs" tasks logs "$id" --url "$url"
    id=$("$outlast" call slow_compute seconds=600 --task --url "$url")
    check 0 "cancelled" tasks cancel "$id" --url "$url"
    check 4 "" tasks result "$id" --url "$url"
    kill "$pid"
    wait "$pid" || true
done
echo "interop: the outlast command passed $checks checks against FastMCP 3 and 4"
