#!/bin/sh
# Proves that the assertions bite: runs them against FastMCP and requires exactly the violations that are listed.
#
#   teeth/run.sh VENV_PYTHON [3.4|4.1]
#
# VENV_PYTHON is the Python of an environment with `pip install "fastmcp[tasks]==3.4.11"` (or 4.1.x for 4.1).
# The server is started here, on loopback and on standard streams, and ended again. Exit status as of run.py.
set -eu

python=${1:?usage: teeth/run.sh VENV_PYTHON [3.4|4.1]}
version=${2:-3.4}
name=fastmcp$(printf %s "$version" | tr -d .)
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -f "$here/$name.expected" ]; then
    echo "run.sh: no list of violations for FastMCP $version; known are 3.4 and 4.1" >&2
    exit 2
fi
installed=$("$python" -c 'import importlib.metadata as m; print(m.version("fastmcp"))') || {
    echo "run.sh: $python has no fastmcp; pip install \"fastmcp[tasks]==$version.*\" into its environment" >&2
    exit 2
}
case $installed in
    "$version".*) echo "FastMCP $installed" ;;
    *)
        echo "run.sh: $python has FastMCP $installed, the list is of $version" >&2
        exit 2
        ;;
esac

# Short deadlines: much of what is listed shows itself by never happening.
bite() {
    python3 "$here/../run.py" \
        --profile "$here/../profiles/$name.json" \
        --expect-failures "$here/$name.expected" \
        --strict-skips "$here/$name.skips" \
        --deadline "${DEADLINE:-12}" \
        --server-command "$python $here/${name}_server.py http {port}" \
        --stdio "$python" "$here/${name}_server.py" stdio
}

# A server that is not ours may drop a connection, which says nothing of the assertions.
bite || {
    echo "run.sh: once more"
    bite
}
