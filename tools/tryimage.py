"""`make image-test`: build the container image, run a node and send a message, without a Docker engine.

Needs root, buildah and debootstrap. debootstrap makes the base image, so no registry is asked. This machine's
pip configuration and certificates are mounted while the image is built, and are not in it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tools.debian import archive
from tools.trydist import pages

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(os.environ.get("GMQTT_IMAGE_WORK", ROOT / "build" / "image"))
MOUNTED = ("/etc/pip.conf", "/etc/ssl/certs", "/etc/apt/apt.conf.d", "/opt/wheels")
WRITABLE = {
    "/data",
    "/bridge",
    "/tmp",
    "/var/tmp",
    "/run/lock",
    "/dev/shm",
    "/dev/mqueue",
    "/dev",
    "/dev/pts",
}
USER = "10001:10001"


def buildah(*arguments: str) -> list[str]:
    store = ["--storage-driver", "vfs", "--root", str(WORK / "store"), "--runroot", str(WORK / "run")]
    return ["buildah", *store, *arguments]


def call(*arguments: str) -> str:
    done = subprocess.run(buildah(*arguments), check=True, stdout=subprocess.PIPE, text=True, timeout=1800)
    return done.stdout.strip()


def make_base() -> None:
    base = WORK / "base"
    if not (base / "etc" / "debian_version").exists():
        WORK.mkdir(parents=True, exist_ok=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            "bookworm",
            str(base),
            archive(),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    container = call("from", "scratch")
    call("add", "--quiet", container, str(base), "/")
    call("commit", "--quiet", container, "gmqtt-base")
    call("rm", container)


def build() -> None:
    volumes = [part for path in MOUNTED if Path(path).exists() for part in ("-v", f"{path}:{path}:ro")]
    passed = [part for name in os.environ if name.startswith("PIP_") for part in ("--env", name)]
    # Layers: a second run installs no packages again.
    arguments = [
        "build",
        "--layers",
        "--isolation",
        "chroot",
        "--build-arg",
        "BASE=localhost/gmqtt-base",
        *volumes,
    ]
    call(*arguments, *passed, "--format", "docker", "-t", "gmqtt", str(ROOT))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run() -> None:
    """A node as its own user, with one data volume; a message through it; an ordered end."""
    key = WORK / "key"
    key.write_text("k" * 48)
    os.chown(key, 10001, 10001)
    mqtt, http = free_port(), free_port()
    container = call("from", "localhost/gmqtt")
    settings = {
        "GMQTT_LISTENERS__TCP": f"tcp://127.0.0.1:{mqtt}",
        "GMQTT_LISTENERS__HTTP": f"127.0.0.1:{http}",
        "GMQTT_AUTH__CLIENT": "mock",
        "GMQTT_AUTH__ACL": "mock",
        "GMQTT_SECRET_KEY_FILE": "/run/key",
    }
    environ = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    inside = [
        "run",
        "--isolation",
        "chroot",
        "--network",
        "host",
        "--user",
        USER,
        "-v",
        f"{key}:/run/key:ro",
        *environ,
        container,
        "--",
    ]
    try:
        search = "find / -xdev -type d -writable -not -path '/proc/*' 2>/dev/null || true"
        found = call(*inside, "sh", "-c", search).split()
        extra = [path for path in found if path not in WRITABLE]
        assert not extra, f"the user of the image can write to {extra}"
        assert call(*inside, "gmqtt", "--version").startswith("gmqtt ")
        for role in ("run", "bridge", "auth", "worker"):
            assert "sage: " in call(*inside, "gmqtt", role, "--help"), role
        node = subprocess.Popen(buildah(*inside, "gmqtt", "run"), text=True, stdout=subprocess.PIPE)
        try:
            talk(node, mqtt, http)
            assert call(*inside, "gmqtt", "healthcheck") == ""
            os.kill(child(node.pid), signal.SIGINT)
            assert node.wait(60) == 0, f"the node ended with {node.returncode}"
        finally:
            node.kill()
        call(*inside, "test", "!", "-e", "/data/secret_key")  # it came from a file
    finally:
        call("rm", container)


def talk(node: subprocess.Popen[str], mqtt: int, http: int) -> None:
    assert node.stdout is not None
    for line in node.stdout:
        print(line, end="", flush=True)
        if line.startswith("Core"):
            assert "compiled" in line, line
            break
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=10) as answer:
        assert answer.status == 200
    assert not (wrong := pages(f"http://127.0.0.1:{http}")), wrong
    address = ["-h", "127.0.0.1", "-p", str(mqtt), "-t", "image/a"]
    subprocess.run(["mosquitto_pub", *address, "-r", "-q", "1", "-m", "hello"], check=True, timeout=20)
    command = ["mosquitto_sub", *address, "-C", "1", "-W", "20"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "hello\n"


def child(pid: int) -> int:
    """The last descendant of buildah: the process in the container.

    Any thread of a program in Go may be the parent, and each has a list of its own.
    """
    while True:
        lists = Path(f"/proc/{pid}/task").glob("*/children")
        below = [int(each) for children in lists for each in children.read_text().split()]
        if not below:
            return pid
        pid = max(below)


def main() -> int:
    began = time.monotonic()
    make_base()
    build()
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    run()
    size = call("images", "--format", "{{.Size}}", "localhost/gmqtt")
    print(f"a message went through the container; image size {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
