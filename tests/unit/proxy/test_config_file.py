from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rosterd.errors import ConfigFileError
from rosterd.proxy.config_file import ConfigFile
from rosterd.settings import ProxySettings


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    """A configuration file in a directory of its own, not written yet."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "state").mkdir()
    return ConfigFile(tmp_path / "etc" / "haproxy.cfg", tmp_path / "state")


def names(file: ConfigFile) -> list[str]:
    """Return what is in the file's directory."""
    return sorted(path.name for path in file.path.parent.iterdir())


def test_no_file_reads_as_none(file: ConfigFile) -> None:
    """A first start is no error."""
    assert file.read() is None
    assert file.read_good() is None


def test_a_candidate_changes_nothing_until_it_is_installed(file: ConfigFile) -> None:
    """It stands beside the file, under a name that HAProxy would not read from a directory."""
    file.write("old\n")
    candidate = file.write_candidate("new\n")
    assert candidate.parent == file.path.parent
    assert candidate.name.startswith(".")
    assert candidate.suffix != ".cfg"
    assert file.read() == "old\n"
    file.install(candidate)
    assert file.read() == "new\n"
    assert names(file) == ["haproxy.cfg"]


def test_a_discarded_candidate_is_gone(file: ConfigFile) -> None:
    """Discarding twice is fine."""
    candidate = file.write_candidate("new\n")
    file.discard(candidate)
    file.discard(candidate)
    assert names(file) == []


def test_mode_and_owner_stay(file: ConfigFile) -> None:
    """Whoever could read the file before can read it afterwards, and nobody else."""
    file.write("old\n")
    file.path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(file.path, 12345, 23456)
    before = file.path.stat()
    file.write("new\n")
    after = file.path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_new_file_is_not_for_everybody(file: ConfigFile) -> None:
    """Without a file before it, the owner writes and the group reads."""
    file.write("new\n")
    assert file.path.stat().st_mode & 0o777 == 0o640


def test_the_same_text_is_not_written_again(file: ConfigFile) -> None:
    """Neither the file nor the good copy is touched."""
    file.write("text\n")
    file.mark_good("text\n")
    good = file.path.parents[1] / "state" / "haproxy.cfg.good"
    inodes = file.path.stat().st_ino, good.stat().st_ino
    file.write("text\n")
    file.mark_good("text\n")
    assert (file.path.stat().st_ino, good.stat().st_ino) == inodes


def test_the_good_text_survives_a_new_file_object(file: ConfigFile) -> None:
    """It is read again after a restart, and replaced by a newer one."""
    file.mark_good("proven\n")
    again = ConfigFile(file.path, file.path.parents[1] / "state")
    assert again.read_good() == "proven\n"
    again.mark_good("newer\n")
    assert file.read_good() == "newer\n"


def test_a_link_stays_a_link(file: ConfigFile, tmp_path: Path) -> None:
    """What it points to is replaced, in its own directory."""
    real = tmp_path / "real.cfg"
    real.write_text("old\n", encoding="utf-8")
    file.path.symlink_to(real)
    linked = ConfigFile(file.path, tmp_path / "state")
    linked.write("new\n")
    assert linked.path.is_symlink()
    assert real.read_text(encoding="utf-8") == "new\n"


def test_bytes_that_are_not_utf8_come_back_as_they_were(file: ConfigFile) -> None:
    """Somebody else's file can be put back, with its line ends."""
    strange = b"# caf\xe9\r\nglobal\n"
    file.path.write_bytes(strange)
    text = file.read()
    assert text is not None
    file.write("ours\n")
    file.write(text)
    assert file.path.read_bytes() == strange


def test_leftovers_of_a_crash_are_removed(file: ConfigFile) -> None:
    """The next start removes candidates, ours only, and leaves the file as it is."""
    file.write("old\n")
    file.write_candidate("half-way\n")
    (file.path.parent / "other.cfg").touch()
    file.recover()
    assert names(file) == ["haproxy.cfg", "haproxy.cfg.server-state", "other.cfg"]
    assert file.read() == "old\n"


def test_health_that_a_crash_left_is_emptied(file: ConfigFile) -> None:
    """HAProxy's next start must not read it; with the file there, HAProxy 2.6 has nothing to warn of."""
    file.write("text\n")
    file.path.chmod(0o604)
    file.write_server_state("1\nold health\n")
    file.recover()
    assert file.server_state.read_text() == "1\n"
    assert file.server_state.stat().st_mode & 0o7777 == 0o604
    seen = file.server_state.stat()
    file.recover()
    assert file.server_state.stat() == seen


def test_the_server_state_lies_beside_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    """That is where the daemon may write; the settings name the same place to HAProxy."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "haproxy.cfg"
    link.symlink_to(tmp_path / "real" / "h.cfg")
    file = ConfigFile(link, tmp_path)
    assert file.server_state == tmp_path / "real" / "h.cfg.server-state"
    assert ProxySettings(config_file=link).server_state_file == file.server_state


def test_a_server_state_that_cannot_be_written_keeps_nothing_from_starting(file: ConfigFile) -> None:
    """A start writes nothing else where all is level; a write for a reload names the path."""
    file.server_state.mkdir()
    file.recover()
    with pytest.raises(ConfigFileError, match="server-state: it is a directory"):
        file.write_server_state("1\n")


def test_a_copy_in_place_that_was_cut_short_is_completed(file: ConfigFile) -> None:
    """The finished candidate is still there, so the next start ends with its whole text."""
    file.path.write_text("new text, cut sh", encoding="utf-8")
    file.path.with_name(".haproxy.cfg.pending").write_text("new text, whole\n", encoding="utf-8")
    file.recover()
    assert file.read() == "new text, whole\n"
    assert names(file) == ["haproxy.cfg", "haproxy.cfg.server-state"]


def test_a_missing_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Writing the file, a candidate or the good copy into a directory that is not there says so."""
    file = ConfigFile(tmp_path / "nowhere" / "haproxy.cfg", tmp_path / "nowhere")
    for write in (file.write, file.write_candidate, file.mark_good):
        with pytest.raises(ConfigFileError, match=r"nowhere: .*create the directory"):
            write("text\n")


def test_a_directory_in_the_place_of_the_file_is_told(file: ConfigFile) -> None:
    """It can be neither read nor replaced, and no candidate is left behind."""
    file.path.mkdir()
    with pytest.raises(ConfigFileError, match=r"haproxy\.cfg: it is a directory"):
        file.read()


def test_a_write_that_fails_half_way_leaves_nothing(file: ConfigFile) -> None:
    """The file keeps its text, the candidate that did not fit is gone, and the error names its path."""
    file.write("old\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(ConfigFileError, match=r"\.haproxy\.cfg\.candidate-\w+: File too large"):
            file.write("x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read() == "old\n"
    assert names(file) == ["haproxy.cfg"]


_IN_A_MOUNT = """
mount --bind "$1/haproxy.cfg" "$1/haproxy.cfg" && exec "$2" -c '
import sys
from pathlib import Path
from rosterd.proxy.config_file import ConfigFile
directory = Path(sys.argv[1])
ConfigFile(directory / "haproxy.cfg", directory).write("short\\n")
' "$1"
"""


def test_a_file_that_is_a_mount_is_written_in_place(file: ConfigFile) -> None:
    """It cannot be renamed over, so it keeps its inode and gets the whole new text, a shorter one too."""
    file.write("a longer text than the next one\n")
    inode = file.path.stat().st_ino
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("mounts of its own are not allowed to this user here")
    subprocess.run(
        [*unshare, "sh", "-c", _IN_A_MOUNT, "sh", str(file.path.parent), sys.executable],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert file.read() == "short\n"
    assert file.path.stat().st_ino == inode
    assert names(file) == ["haproxy.cfg"]
