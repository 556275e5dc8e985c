#!/usr/bin/env bash
# A server with users, reached by its address from another machine, as far as one machine can play two:
# from a second network namespace. Without a token it says 401 and how to get one, with one it serves;
# and a server without users does not listen there at all.
#
#   tests/exposure/second_namespace.sh [OUTLAST]      OUTLAST is by default target/debug/outlast
#
# Needs Linux, ip, unshare, nsenter and curl; without them it says that it was skipped, which is a
# failure where CI is set. Where it has no right to make namespaces, the server is reached by an address of
# this machine that is not loopback, which shows the same but for the way there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
outlast=$(realpath "${1:-target/debug/outlast}")

skip() {
    echo "SKIP second namespace: $1"
    [[ -z "${CI:-}" ]] || exit 1
    exit 0
}
for tool in ip unshare nsenter curl; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done
if [[ "${1:-}" != --inside && -z "${OUTLAST_NAMESPACE:-}" ]]; then
    # In namespaces of our own nothing of the machine is touched, and all of it is gone at the end.
    if unshare --net --mount --pid --fork --mount-proc true 2>/dev/null; then
        OUTLAST_NAMESPACE=1 exec unshare --net --mount --pid --fork --mount-proc "$0" "$outlast"
    fi
    echo "no right to make namespaces"
fi

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
cat >outlast.toml <<'TOML'
[server]
store = "sqlite:tasks.db"
[auth]
tokens = "tokens.json"
[tools.hello]
description = "Says hello."
command = ["echo", "hello"]
TOML

there() { "$@"; }
if [[ -z "${OUTLAST_NAMESPACE:-}" ]]; then
    address=$(hostname -I | tr ' ' '\n' | grep -m 1 -F . || true)
    [[ -n "$address" ]] || skip "this machine has no address but loopback"
else
    # Here the server, there the other machine.
    address=10.9.8.1
    ip link set lo up
    unshare --net sleep infinity &
    other=$!
    for _ in $(seq 100); do
        [[ $(readlink /proc/$other/ns/net) != $(readlink /proc/self/ns/net) ]] && break
        sleep 0.05
    done
    ip link add here type veth peer name there netns "$other"
    ip address add "$address/24" dev here
    ip link set here up
    there() { nsenter --net="/proc/$other/ns/net" "$@"; }
    there ip address add 10.9.8.2/24 dev there
    there ip link set there up
fi

expect() {
    [[ "$2" == *"$3"* ]] || { echo "FAIL $1: expected $3, got: $2" >&2; exit 1; }
    echo "PASS $1"
}

refused=$("$outlast" serve --config <(sed '/auth/,/tokens/d' outlast.toml) --listen $address:9876 2>&1 || true)
expect "without users nothing listens there" "$refused" "will not listen on $address:9876"

token=$("$outlast" token add alice 2>/dev/null)
"$outlast" serve --listen $address:9876 2>server.log &
for _ in $(seq 200); do
    grep -q "listening on" server.log && break
    sleep 0.05
done
url=http://$address:9876/mcp
answer=$(there curl -sSi -X POST "$url")
expect "without a token it says 401" "$answer" "401"
metadata=$(sed -n 's/.*resource_metadata="\([^"]*\)".*/\1/p' <<<"$answer")
expect "and where its metadata are" "$(there curl -sS "$metadata")" "\"resource\":\"$url\""
expect "a name that is not its own is refused" \
    "$(there curl -sSi -H 'Host: evil.example' -X POST "$url")" "403"
expect "with a token it lists its tools" \
    "$(OUTLAST_TOKEN=$token there "$outlast" tools --url "$url")" "hello"
expect "and calls them" \
    "$(OUTLAST_TOKEN=$token there "$outlast" call hello --url "$url")" "hello"
signed=$(there curl -sSi -H "Origin: http://$address:9876" -H 'Content-Type: application/json' \
    -d "{\"token\": \"$token\"}" "http://$address:9876/session")
expect "a browser there signs in from the dashboard's own page" "$signed" "outlast_session="
