"""The disk with HAProxy's configuration fails, while a web node's weight changes."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from tests.soak.faults.fault import Fault
from tests.soak.place import run_mount
from tests.soak.schedule import Part


class DiskFull(Fault):
    """Not a byte is free."""

    name = "disk-full"
    what = "the disk with HAProxy's configuration is full while a web node's weight changes"
    parts = frozenset({Part.DISK})
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (1.0, 6.0)
    needs_disk = True

    async def inject(self) -> None:
        """Spoil it, change what has to be written, and wait until the file lags behind or the daemon complains."""
        self.spoil()
        await self.place.set_tags(self.victims[0], {"weight": "50"})

        async def cannot_write() -> bool:
            status = await self.place.status()
            return bool(status and (status["action_error"] or not status["file"]["level"]))

        await self.place.until(cannot_write, "the file to lag behind")

    async def heal(self) -> None:
        """Repair it, and change that back."""
        self.repair()
        await self.place.set_tags(self.victims[0], {"weight": ""})

    def spoil(self) -> None:
        """Fill it."""
        with (self.place.disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def repair(self) -> None:
        """Make room."""
        (self.place.disk / "filler").unlink()


class DiskReadOnly(DiskFull):
    """As after an error of a disk."""

    name = "disk-read-only"
    what = "the disk with HAProxy's configuration is read-only while a web node's weight changes"

    def spoil(self) -> None:
        """Remount it."""
        run_mount("mount", "-o", "remount,ro", str(self.place.disk))

    def repair(self) -> None:
        """Remount it again."""
        run_mount("mount", "-o", "remount,rw", str(self.place.disk))
