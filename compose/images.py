"""Makes the images of the cluster, with and without network.

    python -m compose images

1. The base `debian:trixie-slim`: there already, or pulled, or, where no registry answers, made here from Debian's own
   packages with debootstrap (which needs root) under the same name.
2. Wheels for the images' Python, so that a build needs no index: pip outside fetches what the lock files name, checked
   against their hashes.
3. `docker compose build`.

Each step says what it does and why. Nothing is fetched that is there already.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from compose import apt_sources
from compose.engine import Engine, EngineError
from compose.model import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BASE = "debian:trixie-slim"
SUITE = "trixie"
PYTHON = "3.13"
WHEELS = HOME / "compose" / "wheels"
LOCKS = ("balancer.lock", "webapp.lock")
NEEDLESS = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""What a slim image leaves out."""

PULL_S = 120.0
BOOTSTRAP_S = 600.0
DOWNLOAD_S = 300.0
BUILD_S = 1200.0

# debootstrap of an older release does not know the newer one by name; this script fits all of them.
_SCRIPT = Path("/usr/share/debootstrap/scripts/sid")


def make_images(engine: Engine, say: Callable[[str], None]) -> None:
    """Make all images of the cluster.

    Raises:
        EngineError: one cannot be made; the text has the last lines of what the program said.
    """
    _make_base(engine, say)
    _fetch_wheels(say)
    say("building the images")
    _run(engine.compose("--profile", "ha2", "build", "--quiet"), BUILD_S, environ=engine.environ)


def _make_base(engine: Engine, say: Callable[[str], None]) -> None:
    if _succeeds(engine.docker("image", "inspect", BASE), engine.environ):
        return
    say(f"pulling {BASE}")
    if _succeeds(engine.docker("pull", "--quiet", BASE), engine.environ):
        return
    say(f"no registry answers: making {BASE} from Debian's packages")
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise EngineError(f"{BASE}: cannot be pulled, and making it needs root and the package debootstrap")
    with tempfile.TemporaryDirectory(prefix="rosterd-base-") as folder:
        root = Path(folder) / "root"
        _run(["debootstrap", "--variant=minbase", SUITE, str(root), debian_mirror(), str(_SCRIPT)], BOOTSTRAP_S)
        for needless in NEEDLESS:
            shutil.rmtree(root / needless, ignore_errors=True)
        archive = Path(folder) / "root.tar"
        _run(["tar", "-C", str(root), "-cf", str(archive), "."], BOOTSTRAP_S)
        imported = engine.docker("import", "--change", 'CMD ["bash"]', str(archive), BASE)
        _run(imported, BOOTSTRAP_S, environ=engine.environ)


def debian_mirror(files: Sequence[Path] = apt_sources.FILES) -> str:
    """The mirror of Debian that this machine's apt uses, as debootstrap takes it: the first one reached over HTTP.

    Raises:
        EngineError: apt has none.
    """
    sources = apt_sources.read_sources(files)
    mirror = apt_sources.debian_mirror(source for source in sources if source.uri.startswith(("http://", "https://")))
    if mirror is None:
        raise EngineError(f"{BASE}: cannot be pulled, and apt's sources name no mirror of Debian to make it from")
    return mirror


def _fetch_wheels(say: Callable[[str], None]) -> None:
    """Fetch what the lock files name and the folder lacks."""
    machine = platform.machine()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{tag}_{machine}"]
    command += ["--require-hashes", "--find-links", str(WHEELS), "--dest", str(WHEELS)]
    for lock in LOCKS:
        wanted = ["--requirement", str(HOME / "requirements" / lock)]
        if not _succeeds([*command, "--no-index", *wanted]):
            say(f"fetching the wheels of {lock}")
            _run([*command, *wanted], DOWNLOAD_S)


def _succeeds(command: Sequence[str], environ: dict[str, str] | None = None) -> bool:
    try:
        return subprocess.run(command, env=environ, capture_output=True, timeout=PULL_S, check=False).returncode == 0  # noqa: S603
    except subprocess.TimeoutExpired:
        return False


def _run(command: Sequence[str], timeout: float, environ: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(  # noqa: S603  programs by name, no shell
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{command[0]}: no end after {timeout:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise EngineError(f"{' '.join(command[:4])} …: exit code {done.returncode}\n{last}")
