"""The requests: the bench's generator in a process of its own, and its records as they come."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.bench.generator import PIPE_SIZE
from tests.bench.samples import RECORD_SIZE, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.bench.samples import Sample

RATE = 100.0
_STOP_S = 20.0


class Load:
    """Requests to one address while the context lasts; each sample is told when its request has ended."""

    def __init__(self, target: tuple[str, int], longest_s: float, told: Callable[[Sample], None]) -> None:
        self._arguments = [*map(str, target), str(RATE), str(longest_s)]
        self._told = told
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it still sends, as it should until it is told to stop."""
        return self._process is not None and self._process.returncode is None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.bench.generator", *self._arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=PIPE_SIZE,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None or self._reading is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._reading
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        if self._process.returncode and kind is None:
            raise RuntimeError(f"the load generator ended with exit code {self._process.returncode}")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        records = process.stdout
        if records is None:
            return
        rest = b""
        while data := await records.read(RECORD_SIZE * 1024):
            data = rest + data
            whole = len(data) - len(data) % RECORD_SIZE
            rest = data[whole:]
            for sample in unpacked(data[:whole]):
                self._told(sample)
