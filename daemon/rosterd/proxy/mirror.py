"""A directory for a check that leaves no trace, in which relative paths lead where they lead beside the real file.

HAProxy may look for the files that its configuration names beside it (`default-path config`), and a command that only
checks may neither write there nor have the right to.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mirror_of(directory: Path) -> Iterator[Path]:
    """Make a directory that holds links to all that `directory` holds; its parent holds links to the neighbours.

    Links to what cannot be listed are left out.
    """
    directory = directory.absolute()
    with tempfile.TemporaryDirectory(prefix="rosterd-check-") as place:
        mirror = Path(place) / (directory.name or "root")
        mirror.mkdir()
        _link_entries(directory, mirror)
        if directory.name:
            _link_entries(directory.parent, Path(place))
        yield mirror


def _link_entries(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in source.iterdir():
            with contextlib.suppress(FileExistsError):
                (target / entry.name).symlink_to(entry)
