"""One root file system in namespaces of its own (mounts, processes, host name, IPC), and commands that run in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fresh.options import Command, User
from tests.fresh.pip_settings import PipSettings, carried
from tests.fresh.roots import run

TREE = Path(__file__).resolve().parents[2]
HOST_NAME = "fresh"
USER_NAME = "person"
USER_ID = 1000
HOMES = {User.ROOT: "/root", User.SUDO: f"/home/{USER_NAME}"}
# A login on Debian: an ordinary user's has no sbin.
PATHS = {
    User.ROOT: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    User.SUDO: "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
}
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PIP_CACHE = "/srv/pip-cache"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PREPARE_S = 120.0
TIMED_OUT = 124


def pip_settings() -> PipSettings:
    """The pip configuration of this machine, for a root file system."""
    listed = run([sys.executable, "-m", "pip", "config", "list"], PREPARE_S)
    return carried(listed, os.path.exists)


@dataclass(frozen=True, slots=True)
class Machine:
    """A root file system that is laid out for one user, with a clone of this tree in the user's home."""

    root: Path
    user: User
    pip: PipSettings
    pip_cache: Path

    def prepare(self) -> None:
        """Make the user, the clone and the files that the network needs.

        Raises:
            RootFailedError: a program failed.
        """
        name = os.uname().nodename
        hosts = Path("/etc/hosts").read_text(encoding="utf-8")
        (self.root / "etc/hosts").write_text(f"{hosts}\n127.0.1.1 {HOST_NAME} {name}\n", encoding="utf-8")
        (self.root / "etc/hostname").write_text(f"{HOST_NAME}\n", encoding="utf-8")
        shutil.copyfile("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "etc/pip.conf").write_text(f"{self.pip.text}cache-dir = {PIP_CACHE}\n", encoding="utf-8")
        proxies = run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"], PREPARE_S).splitlines()
        proxies = [line for line in proxies if "proxy" in line.lower() or "check-valid-until" in line.lower()]
        (self.root / "etc/apt/apt.conf.d/99machine").write_text("\n".join([*proxies, ""]), encoding="utf-8")
        if self.user is User.SUDO:
            run(
                ["chroot", str(self.root), "useradd", "-m", "-u", str(USER_ID), "-s", "/bin/bash", USER_NAME], PREPARE_S
            )
            (self.root / "etc/sudoers.d/person").write_text(f"{USER_NAME} ALL=(ALL) NOPASSWD: ALL\n", encoding="utf-8")
        clone = self.root / self.tree.relative_to("/")
        run(["git", "clone", "--quiet", "--no-hardlinks", str(TREE), str(clone)], PREPARE_S)
        run(["git", "-C", str(clone), "remote", "remove", "origin"], PREPARE_S)
        self.pip_cache.mkdir(parents=True, exist_ok=True)
        if self.user is User.SUDO:
            for path in (clone, self.pip_cache):
                run(["chown", "-R", f"{USER_ID}:{USER_ID}", str(path)], PREPARE_S)

    @property
    def tree(self) -> Path:
        """The clone, as it is named inside."""
        return Path(HOMES[self.user]) / "rosterd"

    def execute(self, command: Command, log: Path) -> tuple[int, float]:
        """Run a command as the user would; its exit code and its seconds. Its output is in the log."""
        begin = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command_line(command.line), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                code = process.wait(command.deadline_s)
            except subprocess.TimeoutExpired:
                code = TIMED_OUT
            finally:
                process.kill()  # and with it, by --kill-child, all that runs inside
                process.wait()
        return code, time.monotonic() - begin

    def versions(self) -> str:
        """The HAProxy and the Python that the commands used."""
        query = ["chroot", str(self.root), "dpkg-query", "-W", "-f", "${Version}", "haproxy"]
        haproxy = run(query, PREPARE_S).partition("-")[0]
        config = self.root / self.tree.relative_to("/") / ".venv/pyvenv.cfg"
        lines = config.read_text(encoding="utf-8").splitlines()
        python = next(line.partition("=")[2].strip() for line in lines if line.startswith("version"))
        return f"HAProxy {haproxy}, Python {python}"

    def remove(self) -> None:
        """Remove the root file system."""
        shutil.rmtree(self.root)

    def _command_line(self, line: str) -> list[str]:
        environ = {"HOME": HOMES[self.user], "USER": HOMES[self.user].rpartition("/")[2], "PATH": PATHS[self.user]}
        environ |= {key: os.environ[key] for key in PROXIES if key in os.environ}
        inner = ["env", "-i", *(f"{key}={value}" for key, value in environ.items())]
        inner += ["sh", "-c", f"cd {shlex.quote(str(self.tree))} && {line}"]
        if self.user is User.SUDO:
            inner = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--init-groups", *inner]
        first = (Path(__file__).parent / "first_process.py").read_text(encoding="utf-8")
        namespaces = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "--propagation=private"]
        enter = ["chroot", str(self.root), "/usr/bin/python3", "-c", first, *inner]
        return ["unshare", *namespaces, "sh", "-euc", f'{self._mounts()}\nexec "$@"', "sh", *enter]

    def _mounts(self) -> str:
        """The shell commands that lay out the mounts, before the root file system is entered."""
        root = shlex.quote(str(self.root))
        lines = [
            f"hostname {HOST_NAME}",
            f"mount --bind {root} {root}",
            f"cd {root}",
            "mount -t proc proc proc",
            "mount -t sysfs sysfs sys",
            "mount -t tmpfs -o mode=755 tmpfs run",
            "mount -t tmpfs -o mode=755 tmpfs dev",
            "mkdir dev/pts dev/shm run/lock && chmod 1777 run/lock",
            "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts",
            "mount -t tmpfs -o mode=1777 tmpfs dev/shm",
            "ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd",
            "ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout && ln -s fd/2 dev/stderr",
        ]
        lines += [f"touch dev/{device} && mount --bind /dev/{device} dev/{device}" for device in DEVICES]
        for path, inside in self.pip.shown.items():
            lines += _shown(Path(path), inside, "ro")
        lines += _shown(self.pip_cache, PIP_CACHE, "rw")
        return "\n".join(lines)


def _shown(path: Path, inside: str, access: str) -> list[str]:
    """The shell commands that show a path of this machine inside."""
    source, target = shlex.quote(str(path)), shlex.quote(inside.lstrip("/"))
    make = f"mkdir -p {target}" if path.is_dir() else f'mkdir -p "$(dirname {target})" && touch {target}'
    return [make, f"mount --bind {source} {target}", f"mount -o remount,bind,{access} {target}"]
