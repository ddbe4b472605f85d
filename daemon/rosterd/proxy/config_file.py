"""HAProxy's configuration file on disk: candidate, install, last known good.

Rules:

- HAProxy may start from the file at any moment, so it is one whole version at any moment: a new text is written beside
  it, flushed to the disk, and renamed over it. Mode and owner stay.
- A file that is a mount of its own cannot be renamed over (EBUSY). It is copied over in place, and the finished
  candidate stays beside it until the copy is on the disk: `recover` completes a copy that a crash cut short.
- Nothing is written when the text is the same.
- The last known good copy is a text that HAProxy was proven to run. It lives in the state directory, which survives
  what happens to the file.
- A text that HAProxy refused is kept beside the file, so that the line numbers of its messages can be looked up.
- Every `OSError` becomes a `ConfigFileError` that names the path and what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rosterd.errors import ConfigFileError
from rosterd.places import SERVER_STATE_SUFFIX
from rosterd.proxy.server_state import NO_HEALTH

_DEFAULT_MODE = 0o640

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.EACCES: "permission denied: let rosterd's user write there",
    errno.EPERM: "permission denied: let rosterd's user write there",
    errno.ENOENT: "no such file or directory: create the directory",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EISDIR: "it is a directory, not a file",
}


class ConfigFile:
    """The file at `path` that HAProxy starts from, with a last known good copy in `state_dir`."""

    def __init__(self, path: Path, state_dir: Path) -> None:
        # A link is followed: what it points to is replaced, the link stays.
        self._target = Path(os.path.realpath(path))
        self._good = state_dir / f"{path.name}.good"
        self._pending = self._target.with_name(f".{self._target.name}.pending")
        self._candidate_prefix = f".{self._target.name}.candidate-"
        self._good_prefix = f".{self._good.name}-"
        self._rejected = self._target.with_name(f"{self._target.name}.rejected")
        self._rejected_prefix = f".{self._rejected.name}-"
        self._marked: str | None = None
        self._text: str | None = None
        self._seen: tuple[int, ...] | None = None
        self.path = path
        self.server_state = self._target.with_name(f"{self._target.name}{SERVER_STATE_SUFFIX}")
        """The server state file beside it, by which a reload keeps what HAProxy knows of health."""

    def read(self) -> str | None:
        """The text that HAProxy would start from; None when there is no file.

        A file that looks as it did when it was read is not read again.
        """
        seen = _look_of(self._target)
        if seen is None or self._seen != seen:
            self._text, self._seen = _read(self._target), seen
        return self._text

    def read_good(self) -> str | None:
        """The last text that HAProxy was proven to run; None when there never was one."""
        return _read(self._good)

    def recover(self) -> None:
        """Complete or remove what an earlier run left behind when it was killed. For the start of the daemon."""
        with _told(self._target.parent):
            is_cut_short = self._pending.exists()
        if is_cut_short:
            self.install(self._pending)
        # A daemon that was killed in the middle of a reload has left health that HAProxy's next start must not read. A
        # disk that takes nothing keeps no daemon from starting: HAProxy has the servers checked at any rate.
        with contextlib.suppress(ConfigFileError):
            self.write_server_state(NO_HEALTH)
        leftovers_of = (
            (self._target, self._candidate_prefix),
            (self._good, self._good_prefix),
            (self._rejected, self._rejected_prefix),
        )
        for target, prefix in leftovers_of:
            with _told(target.parent):
                leftovers = list(target.parent.glob(f"{prefix}*"))
            for leftover in leftovers:
                self.discard(leftover)

    def write_candidate(self, text: str) -> Path:
        """Write `text` beside the file, on the disk, with the file's mode and owner."""
        return _write_beside(self._target, self._candidate_prefix, text)

    def discard(self, candidate: Path) -> None:
        """Remove a candidate that is not wanted; one that is gone is fine."""
        with _told(candidate):
            candidate.unlink(missing_ok=True)

    def install(self, candidate: Path) -> None:
        """Make a candidate the file. The candidate is gone afterwards."""
        with _told(self._target):
            try:
                candidate.replace(self._target)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                candidate.replace(self._pending)
                _sync_directory(self._target.parent)
                self._copy_over(self._pending)
            else:
                _sync_directory(self._target.parent)

    def write(self, text: str) -> None:
        """Make `text` the file's content in one step, unless it is already."""
        if self.read() == text:
            return
        candidate = self.write_candidate(text)
        try:
            self.install(candidate)
        finally:
            self.discard(candidate)

    def write_server_state(self, content: str) -> None:
        """Make this the server state file's content in one step, with the mode and owner of the configuration file.

        It is for the next moment only, so nothing is flushed to the disk.
        """
        if _read(self.server_state) == content:
            return
        beside = self.server_state.with_name(f".{self.server_state.name}.new")
        with _told(self.server_state):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode())
                _take_mode_and_owner(file.fileno(), self._target)
            beside.replace(self.server_state)

    def mark_good(self, text: str) -> None:
        """Keep `text` as what HAProxy was proven to run."""
        if self._marked is None:
            self._marked = self.read_good()
        if text == self._marked:
            return
        candidate = _write_beside(self._good, self._good_prefix, text)
        with _told(self._good):
            candidate.replace(self._good)
            _sync_directory(self._good.parent)
        self._marked = text

    def keep_rejected(self, text: str) -> Path:
        """Keep a text that HAProxy refused, for people; its rights are those of the file, its path is returned."""
        if _read(self._rejected) != text:
            candidate = _write_beside(self._target, self._rejected_prefix, text)
            with _told(self._rejected):
                candidate.replace(self._rejected)
        return self._rejected

    def _copy_over(self, source: Path) -> None:
        with source.open("rb") as reader, self._target.open("r+b") as writer:
            text = reader.read()
            writer.write(text)
            writer.truncate()
            writer.flush()
            os.fsync(writer.fileno())
        source.unlink()


def _look_of(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content, however it is written; None when that cannot be told."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _read(path: Path) -> str | None:
    with _told(path):
        try:
            # Bytes that are not UTF-8 are somebody else's work; they come back as they were when written again.
            return path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None


def _write_beside(target: Path, prefix: str, text: str) -> Path:
    """Write `text` into a new file in the directory of `target`, on the disk, with the mode and owner of `target`."""
    with _told(target.parent):
        descriptor, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
    path = Path(name)
    try:
        with _told(path), os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            _take_mode_and_owner(file.fileno(), target)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _take_mode_and_owner(descriptor: int, target: Path) -> None:
    try:
        old = target.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, _DEFAULT_MODE)
        return
    # Only root may give a file away. The group is what matters for who may read it, so try that one alone as well.
    for owner in (old.st_uid, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner, old.st_gid)
            break
    os.fchmod(descriptor, old.st_mode & 0o7777)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says about `path` into our own words."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
        raise ConfigFileError(f"{path}: {remedy}") from error
