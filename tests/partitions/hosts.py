"""Hosts on one network, which can be cut off from it.

Two ways, with the same methods. `Namespaces`: each host is a network namespace of its own, on a bridge; a cut takes
its port out of forwarding, so that packets vanish without a word, and one direction is lost in a route of Redis'
host that leads nowhere. `Forwarders`, where nobody may make namespaces: each host reaches Redis through a forwarder
in this process, which stands still in one direction or in both, as a connection does whose packets are lost.

Decision: nothing here but what iproute2 does with every kernel. Filters (nft, tc) need modules that a machine may lack.
"""

import os
import socket
import subprocess
import sys
import threading
import time

HOSTS = ("redis", "server", "worker-a", "worker-b")
# `forwarders` asks for those; `namespaces` is said by who has made some.
INSIDE = "OUTLAST_PARTITIONS"
PATIENCE = 60

# Everything that `Namespaces` does, once: a kernel may lack a part of it.
PROBE = """
command -v nsenter hostname >/dev/null &&
ip link add probe type bridge && ip link set probe up &&
ip link add near type veth peer name far && ip link set far up && ip link set near up &&
ip link set near master probe && bridge link set dev near state 0 && bridge link set dev near state 3 &&
ip address add 10.77.0.1/24 dev far && ip route add blackhole 10.77.0.2/32 &&
unshare --net --uts hostname probe
"""


def enter():
    """Goes on in namespaces of its own if this machine allows it; everything in them is gone at the end."""
    if os.environ.get(INSIDE):
        return
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    for more in ([], ["--user", "--map-root-user"]):
        if _works([*unshare, *more, "sh", "-c", PROBE]):
            os.environ[INSIDE] = "namespaces"
            os.execvp("unshare", [*unshare, *more, sys.executable, *sys.argv])
    print("no right to make namespaces", flush=True)


def network():
    """The network that this machine allows, or the environment asks for."""
    return Namespaces() if os.environ.get(INSIDE) == "namespaces" else Forwarders()


def _works(command):
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Namespaces:
    """Hosts in network namespaces: Redis' network, and that of clients, on which the server alone is."""

    redis_options = ("--port", "6379", "--bind", "10.77.0.1", "--protected-mode", "no")
    listen = "10.78.0.2:9876"

    def __init__(self):
        self._holders = {}
        run = self._run
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "store", "type", "bridge")
        run("ip", "link", "set", "store", "up")
        for number, host in enumerate(HOSTS, 1):
            holder = subprocess.Popen(["unshare", "--net", "--uts", "sleep", "infinity"])
            self._holders[host] = holder
            self._await_namespace(holder.pid)
            run("nsenter", f"--uts=/proc/{holder.pid}/ns/uts", "hostname", host)
            self._plug(host, f"p-{host}", "store0", f"10.77.0.{number}")
            run("ip", "link", "set", f"p-{host}", "master", "store")
        self._plug("server", "clients", "clients0", "10.78.0.2")
        run("ip", "address", "add", "10.78.0.1/24", "dev", "clients")

    def name(self, host):
        """What a host calls itself."""
        return host

    def redis_address(self, host):
        """Where `host` reaches Redis."""
        return "redis://10.77.0.1"

    def start(self, host, command, **options):
        """Starts a process on a host."""
        pid = self._holders[host].pid
        enter = ["nsenter", f"--net=/proc/{pid}/ns/net", f"--uts=/proc/{pid}/ns/uts", "--"]
        return subprocess.Popen([*enter, *command], **options)

    def cut(self, host):
        """Nothing reaches the host, and nothing leaves it."""
        self._run("bridge", "link", "set", "dev", f"p-{host}", "state", "0")

    def heal(self, host):
        """Undoes a cut."""
        self._run("bridge", "link", "set", "dev", f"p-{host}", "state", "3")

    def deafen(self, host):
        """What the host sends to Redis arrives; what Redis answers is lost."""
        self._in("redis", "ip", "route", "add", "blackhole", self._address(host))

    def cure(self, host):
        """Undoes a deafening."""
        self._in("redis", "ip", "route", "del", "blackhole", self._address(host))

    def close(self):
        """Gives the hosts up."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()

    def _plug(self, host, port, inside, address):
        pid = str(self._holders[host].pid)
        self._run("ip", "link", "add", port, "type", "veth", "peer", "name", inside, "netns", pid)
        self._run("ip", "link", "set", port, "up")
        self._in(host, "ip", "link", "set", "lo", "up")
        self._in(host, "ip", "address", "add", f"{address}/24", "dev", inside)
        self._in(host, "ip", "link", "set", inside, "up")

    def _address(self, host):
        return f"10.77.0.{HOSTS.index(host) + 1}/32"

    def _in(self, host, *command):
        self._run("nsenter", f"--net=/proc/{self._holders[host].pid}/ns/net", *command)

    @staticmethod
    def _run(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")

    @staticmethod
    def _await_namespace(pid):
        deadline = time.monotonic() + PATIENCE
        ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "uts")]
        while any(os.readlink(f"/proc/{pid}/ns/{kind}") in ours for kind in ("net", "uts")):
            if time.monotonic() > deadline:
                raise SystemExit("a namespace was never made")
            time.sleep(0.01)


class Forwarders:
    """Hosts that are none: processes of this machine, each with a forwarder of its own to Redis."""

    redis_options = ("--port", "0")
    listen = "127.0.0.1:0"

    def __init__(self):
        self._ways = {host: _Way() for host in HOSTS}

    def name(self, host):
        """What all hosts call themselves."""
        return os.uname().nodename

    def redis_at(self, path):
        """Says where Redis is."""
        for way in self._ways.values():
            way.redis = path

    def redis_address(self, host):
        """Where `host` reaches Redis."""
        return f"redis://127.0.0.1:{self._ways[host].port}"

    def start(self, host, command, **options):
        """Starts a process."""
        return subprocess.Popen(command, **options)

    def cut(self, host):
        """Nothing passes the host's forwarder; Redis' host is that of all."""
        for way in self._of(host):
            way.set(up=False, down=False)

    def heal(self, host):
        """Undoes a cut."""
        for way in self._of(host):
            way.set(up=True, down=True)

    def deafen(self, host):
        """What the host sends to Redis arrives; what Redis answers does not."""
        self._ways[host].set(up=True, down=False)

    cure = heal

    def close(self):
        """The threads end with the process."""

    def _of(self, host):
        return list(self._ways.values()) if host == "redis" else [self._ways[host]]


class _Way:
    """One host's way to Redis."""

    def __init__(self):
        self.redis = None
        self._open = {"up": True, "down": True}
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, **is_open):
        with self._changed:
            self._open.update(is_open)
            self._changed.notify_all()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.redis)
            for direction, source, target in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._carry, args=(direction, source, target), daemon=True).start()

    def _carry(self, direction, source, target):
        try:
            while data := source.recv(1 << 16):
                with self._changed:
                    self._changed.wait_for(lambda: self._open[direction])
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
