"""Trying what the start of HAProxy needs, before HAProxy is asked to load a text.

`haproxy -c` does not see that a folder is missing or that HAProxy may not do what a line asks for. A start that meets
one of these fails, and up to HAProxy 3.0 some of them end the master together with the worker that serves. Rules:

- Everything is looked at as HAProxy's own process sees it: its root, its working directory, its rights and limits.
- What cannot be seen from here proves nothing, and HAProxy is asked.
- Each refusal names file and line, and what to do.
"""

from __future__ import annotations

import grp
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

from rosterd.errors import ConfigRefused
from rosterd.proxy.binds import try_listeners
from rosterd.proxy.needs import Line, Needs, read_needs
from rosterd.proxy.process import Capability, Surroundings
from rosterd.proxy.versions import CHROOT_AUTO_SINCE, CHROOT_NEEDS_RIGHT_BEFORE, Version

_FIRST_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def try_start(text: str, held: str | None, seen_by: Surroundings | None, version: Version, shown_as: Path) -> None:
    """Raise `ConfigRefused` with file and line where a HAProxy of this version could not start with `text`.

    `held` is the text that HAProxy was last proven to run, and None where that is not known. What HAProxy's process
    sees is None where this machine does not show it: then only what it listens on is tried.
    """
    name = socket.gethostname()
    needs = read_needs(text, name)
    if seen_by is not None:
        _try_paths_and_rights(needs, seen_by, version, shown_as)
    if seen_by is None or not seen_by.is_in_other_network:
        try_listeners(needs, None if held is None else read_needs(held, name), shown_as)


def _try_paths_and_rights(needs: Needs, seen_by: Surroundings, version: Version, shown_as: Path) -> None:
    found = [
        *_chroot_problems(needs, seen_by, version),
        *_folder_problems(needs, seen_by),
        *_program_problems(needs, seen_by),
        *_identity_problems(needs, seen_by),
        *_open_file_problems(needs, seen_by),
        *_low_port_problems(needs, seen_by),
    ]
    if found:
        raise ConfigRefused(
            "\n".join(f"[{shown_as}:{number}] : {words}: {why}" for (number, words), why in sorted(found))
        )


def _chroot_problems(needs: Needs, seen_by: Surroundings, version: Version) -> Iterator[tuple[Line, str]]:
    for chroot in needs.chroots:
        if chroot.path == "auto":
            if version < CHROOT_AUTO_SINCE:
                yield chroot.line, "HAProxy knows 'auto' since 3.4: give the path of an empty directory"
            continue
        if reason := _no_directory(seen_by.path(chroot.path)):
            yield chroot.line, f"{chroot.path} {reason}: create an empty directory there, or name another one"
        elif version < CHROOT_NEEDS_RIGHT_BEFORE and seen_by.lacks(Capability.SYS_CHROOT):
            yield chroot.line, "HAProxy does not run as root, and may not change its root: leave the line out"


def _folder_problems(needs: Needs, seen_by: Surroundings) -> Iterator[tuple[Line, str]]:
    for needed in (*needs.socket_files, *needs.pidfiles):
        folder = needed.path.rpartition("/")[0] or ("/" if needed.path.startswith("/") else ".")
        if reason := _no_directory(seen_by.path(folder)):
            yield needed.line, f"the directory {folder} {reason}: create it, or name another one"
        elif seen_by.cannot_write(folder):
            yield needed.line, f"HAProxy's user may not create files in {folder}: let it write there"


def _program_problems(needs: Needs, seen_by: Surroundings) -> Iterator[tuple[Line, str]]:
    for program in needs.programs:
        if _is_absent(seen_by.path(program.path)):
            yield program.line, f"{program.path} is not there: install the program, or name another one"


def _identity_problems(needs: Needs, seen_by: Surroundings) -> Iterator[tuple[Line, str]]:
    for line, keyword, value in needs.identities:
        is_user = keyword in ("user", "uid")
        number = _number_of(keyword, value)
        own = seen_by.uid if is_user else seen_by.gid
        right = Capability.SETUID if is_user else Capability.SETGID
        if number is not None and own is not None and number != own and seen_by.lacks(right):
            kind = "user" if is_user else "group"
            yield line, f"HAProxy does not run as root, and may not become another {kind}: leave the line out"


def _number_of(keyword: str, value: str) -> int | None:
    try:
        match keyword:
            case "user":
                return pwd.getpwnam(value).pw_uid
            case "group":
                return grp.getgrnam(value).gr_gid
            case _:
                return int(value)
    except (KeyError, ValueError):
        return None


def _open_file_problems(needs: Needs, seen_by: Surroundings) -> Iterator[tuple[Line, str]]:
    limit = seen_by.max_open_files
    if limit is None or not needs.is_strict or not seen_by.lacks(Capability.SYS_RESOURCE):
        return
    remedy = "lower the number, or raise the limit of its service (LimitNOFILE=, ulimit -Hn)"
    for needed in needs.open_files:
        if needed.count > limit:
            yield needed.line, f"it takes {needed.count} open files or more, and HAProxy may open {limit}: {remedy}"


def _low_port_problems(needs: Needs, seen_by: Surroundings) -> Iterator[tuple[Line, str]]:
    first_free = _first_unprivileged_port()
    if not seen_by.lacks(Capability.NET_BIND_SERVICE) or seen_by.is_in_other_network:
        return
    remedy = "start it as root, or give it CAP_NET_BIND_SERVICE (AmbientCapabilities= of its service)"
    for listener in needs.listeners:
        if any(port < first_free for _, port in listener.endpoints[:1]):
            yield listener.line, f"HAProxy may not listen on ports below {first_free}: {remedy}"


def _first_unprivileged_port() -> int:
    try:
        return int(_FIRST_UNPRIVILEGED.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _no_directory(path: Path | None) -> str:
    """Why nothing can be created in this directory; empty where there is nothing against it, or it cannot be seen."""
    if path is None:
        return ""
    if _is_absent(path):
        return "does not exist"
    try:
        return "" if path.is_dir() else "is no directory"
    except OSError:
        return ""


def _is_absent(path: Path | None) -> bool:
    if path is None:
        return False
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
