"""Trying directories, rights and limits before HAProxy is asked to start with them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import ConfigRefused
from rosterd.proxy.needs import read_needs
from rosterd.proxy.process import MasterProcess, Surroundings, surroundings_of
from rosterd.proxy.start_check import try_start

FILE = Path("/etc/haproxy/haproxy.cfg")
NOTHING_KNOWN = Surroundings(
    root=Path("/"),
    directory=None,
    uid=None,
    gid=None,
    capabilities=None,
    max_open_files=None,
    is_in_other_network=False,
)
WITHOUT_RIGHTS = replace(NOTHING_KNOWN, uid=65534, gid=65534, capabilities=0)
ROOT = replace(NOTHING_KNOWN, uid=0, gid=0, capabilities=2**41 - 1)


def try_global(line: str, seen_by: Surroundings, version: tuple[int, int] = (2, 6)) -> None:
    """Try a text with this line in its global section."""
    try_start(f"global\n    {line}\n", "", seen_by, version, FILE)


@pytest.mark.parametrize(
    "line",
    [
        "chroot {}/absent",
        "chroot {}/file",
        "pidfile {}/absent/haproxy.pid",
        "stats socket {}/absent/haproxy.sock level admin",
        "stats socket unix@{}/absent/haproxy.sock",
    ],
)
def test_missing_directory_is_refused_with_file_and_line(tmp_path: Path, line: str) -> None:
    """The path is looked up as HAProxy sees it: below its own root."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigRefused, match=rf"^\[{FILE}:2\] : .*(does not exist|is no directory)"):
        try_global(line.format(tmp_path), ROOT)
    (tmp_path / "root" / "there").mkdir(parents=True)
    seen = replace(ROOT, root=tmp_path / "root")
    try_global("chroot /there", seen)
    with pytest.raises(ConfigRefused, match="/absent does not exist"):
        try_global("chroot /absent", seen)


def test_every_problem_is_named() -> None:
    """One edit can then mend all of them."""
    text = "global\n    chroot /absent\n    pidfile /absent/pid\nfrontend a\n    bind unix@/absent/a.sock\n"
    with pytest.raises(ConfigRefused) as refused:
        try_start(text, "", ROOT, (2, 6), FILE)
    assert [line.partition(" ")[0] for line in str(refused.value).splitlines()] == [
        f"[{FILE}:{number}]" for number in (2, 3, 5)
    ]


def test_prefix_of_unix_sockets_counts_for_bind_lines_alone(tmp_path: Path) -> None:
    """HAProxy does not put it before its runtime sockets."""
    prefix = f"global\n    unix-bind prefix {tmp_path}\n"
    try_start(f"{prefix}frontend a\n    bind unix@/a.sock\n", "", ROOT, (2, 6), FILE)
    with pytest.raises(ConfigRefused, match="/absent does not exist"):
        try_start(f"{prefix}    stats socket /absent/a.sock\n", "", ROOT, (2, 6), FILE)


def test_relative_path_starts_in_the_directory_of_haproxy(tmp_path: Path) -> None:
    """Where the directory is not known, a relative path proves nothing."""
    (tmp_path / "there").mkdir()
    seen = replace(ROOT, directory=tmp_path)
    try_global("chroot there", seen)
    with pytest.raises(ConfigRefused):
        try_global("chroot absent", seen)
    try_global("chroot absent", ROOT)


def test_chroot_auto_is_a_path_before_3_4() -> None:
    """From 3.4 on, `auto` makes HAProxy create a directory of its own."""
    try_global("chroot auto", ROOT, (3, 4))
    with pytest.raises(ConfigRefused, match=r"since 3\.4"):
        try_global("chroot auto", ROOT, (3, 2))


@pytest.mark.parametrize(
    ("line", "version"),
    [("chroot /", (3, 2)), ("user root", (3, 4)), ("uid 1", (2, 6)), ("group root", (2, 6)), ("gid 1", (2, 6))],
)
def test_what_takes_root_is_refused_without_its_rights(line: str, version: tuple[int, int]) -> None:
    """A worker without them ends when it has been forked."""
    with pytest.raises(ConfigRefused, match="does not run as root"):
        try_global(line, WITHOUT_RIGHTS, version)
    try_global(line, ROOT, version)
    try_global(line, NOTHING_KNOWN, version)


def test_own_user_and_group_take_no_rights() -> None:
    """A line that names what HAProxy is already changes nothing."""
    try_global("uid 65534", WITHOUT_RIGHTS)
    try_global("gid 65534", WITHOUT_RIGHTS)


def test_low_port_takes_a_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From which port on it takes none is the kernel's."""
    limit = tmp_path / "limit"
    monkeypatch.setattr("rosterd.proxy.start_check._FIRST_UNPRIVILEGED", limit)
    text = "frontend a\n    bind 127.0.0.1:81\n"
    limit.write_text("82\n", encoding="ascii")
    with pytest.raises(ConfigRefused, match=r"ports below 82.*CAP_NET_BIND_SERVICE"):
        try_start(text, text, WITHOUT_RIGHTS, (2, 6), FILE)
    try_start(text, text, ROOT, (2, 6), FILE)
    limit.write_text("81\n", encoding="ascii")
    try_start(text, text, WITHOUT_RIGHTS, (2, 6), FILE)


def test_open_files_are_counted_against_the_limit() -> None:
    """Two for each connection, at the least; HAProxy refuses to start unless the text says otherwise."""
    seen = replace(WITHOUT_RIGHTS, max_open_files=20_000)
    with pytest.raises(ConfigRefused, match=r":2\].*100000 open files or more, and HAProxy may open 20000"):
        try_global("maxconn 50000", seen)
    with pytest.raises(ConfigRefused, match="30000 open files"):
        try_global("ulimit-n 30000", seen)
    try_global("maxconn 9000", seen)
    try_global("maxconn 50000\n    no strict-limits", seen)
    try_global("maxconn 50000", replace(ROOT, max_open_files=20_000))


def test_program_that_is_missing_is_refused(tmp_path: Path) -> None:
    """HAProxy up to 3.2 loses its master socket when it cannot start one."""
    try_start("program a\n    command /bin/sh -c true\n    command sh\n", "", ROOT, (2, 6), FILE)
    with pytest.raises(ConfigRefused, match=f"{tmp_path}/absent is not there"):
        try_start(f"program a\n    command {tmp_path}/absent\n", "", ROOT, (2, 6), FILE)


def test_words_that_haproxy_reads_otherwise_are_not_tried() -> None:
    """Only HAProxy resolves quotes, escapes and the environment."""
    for path in ('"/absent"', "/absent\\ path", "${ABSENT}/a", "'/absent'"):
        try_global(f"chroot {path}", ROOT)


def test_directory_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    """Known for a HAProxy of the daemon's own user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user without rights")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):  # noqa: S108  made by pytest
            folder.chmod(0o755)
    probe = (
        "import os, pathlib, sys, encodings.ascii, encodings.idna\n"
        "from tests.unit.proxy.test_start_check import FILE, WITHOUT_RIGHTS, ConfigRefused, try_global\n"
        "os.setgid(65534), os.setuid(65534)\n"
        "try:\n    try_global(f'pidfile {sys.argv[1]}/pid', WITHOUT_RIGHTS)\n"
        "except ConfigRefused as refused:\n    print(refused)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(closed)], capture_output=True, text=True, check=True)
    assert f"may not create files in {closed}" in done.stdout


def test_own_surroundings_are_seen() -> None:
    """Each field, of a process that this user may look at."""
    seen = surroundings_of(MasterProcess(os.getpid(), started=""))
    assert (seen.uid, seen.gid, seen.is_in_other_network) == (os.geteuid(), os.getegid(), False)
    assert seen.path("x") == Path("/proc") / str(os.getpid()) / "cwd" / "x"
    assert seen.root.is_dir()
    assert seen.capabilities is not None


def test_process_that_is_gone_shows_nothing() -> None:
    """Nothing is refused for values that are not known."""
    seen = surroundings_of(MasterProcess(2**22 + 1, started=""))
    assert replace(seen, max_open_files=None) == NOTHING_KNOWN
    assert socket.gethostname()


@given(
    st.text(), st.lists(st.sampled_from(["global", "peers", "bind", "stats", "socket", "maxconn", "9" * 5000, ":1"]))
)
def test_any_text_can_be_read(text: str, words: list[str]) -> None:
    """A template may hold anything; nothing of it is an error here."""
    for source in (text, "\n".join(words), " ".join(words)):
        read_needs(source)
