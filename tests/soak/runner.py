"""Plays the turns of a schedule on a place, one after the other, until the time is over; knows nothing of figures.

A turn ends when all is well again. One that is not within two minutes is a failure of the soak, told with what is amiss
and the end of the daemon's log; where it lasts, the soak ends there.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from compose.model import ClusterError
from compose.waiting import WaitedInVainError
from rosterd.errors import ProxyError
from tests.serf_agent import AgentFailed
from tests.soak import census
from tests.soak.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.faults.fault import Fault
    from tests.soak.place import Place
    from tests.soak.schedule import Turn

_LONGEST_FAULT_S = 240.0
_SAMPLE_EVERY_S = 5.0
_TAIL = 25
_EXPECTED = (ClusterError, WaitedInVainError, ProxyError, AgentFailed, OSError, TimeoutError)
"""What a fault may meet that could not be done or undone: a problem of that turn, and the soak goes on."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long all may take to be well again, and how much longer it is waited for before the soak ends.

    Much more than anything takes: the machine may be busy, and who flaps has to wait.
    """

    healed_within_s: float = 120.0
    given_up_after_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Played:
    """A turn that was played. `healed_at` is when the last fault was undone, `well_at` when all was well, if it was."""

    turn: Turn
    began_at: float
    healed_at: float
    well_at: float | None
    problems: tuple[str, ...]

    @property
    def heal_s(self) -> float | None:
        """How long it took from the one to the other."""
        return None if self.well_at is None else max(0.0, self.well_at - self.healed_at)


@dataclass
class Story:
    """What happened so far; grows meanwhile, so that an interrupted soak can be told too."""

    ledger: Ledger = field(default_factory=lambda: Ledger(0.0))
    left_over: list[str] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    samples: list[census.Sample] = field(default_factory=list)
    guarded_s: float = 0.0
    problems: list[str] = field(default_factory=list)


class Runner:
    """Plays on one place; `say` is told what happens, and the story grows."""

    def __init__(
        self,
        place: Place,
        kinds: Sequence[type[Fault]],
        say: Callable[[str], None],
        story: Story,
        patience: Patience = Patience(),
    ) -> None:
        self._patience = patience
        self._place = place
        self._kinds = {kind.name: kind for kind in kinds}
        self._say = say
        self._story = story

    async def run(self, schedule: Iterator[Turn], seconds: float) -> None:
        """Play until the time is over, or something stays broken."""
        end = self._place.now() + seconds
        watching = asyncio.create_task(self._watch())
        try:
            for turn in schedule:
                if self._place.now() + turn.pause_s >= end:
                    break
                if not await self._play(turn):
                    self._story.problems.append(f"the soak ended at turn {turn.number}: it stayed broken")
                    break
            await asyncio.sleep(max(0.0, end - self._place.now()) if not self._story.problems else 0.0)
            if self._place.load is None or not self._place.load.is_running:
                self._story.problems.append("the load ended by itself")
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    # --- one turn -----------------------------------------------------------------------------------------------

    async def _play(self, turn: Turn) -> bool:
        """Play one turn; whether all is well after it."""
        await asyncio.sleep(turn.pause_s)
        began_at = self._place.now()
        self._say(f"{turn.number}: {' + '.join(turn.faults)}")
        faults = [
            self._kinds[name](self._place, random.Random(f"{turn.seed} {name}"))  # noqa: S311  choices, no secret
            for name in turn.faults
        ]
        happening = [self._happen(fault, number * turn.apart_s) for number, fault in enumerate(faults)]
        problems = [problem for found in await asyncio.gather(*happening) for problem in found]
        healed_at = self._place.now()
        well_at, is_well = await self._recover(faults, healed_at, problems)
        self._place.release()
        played = Played(turn, began_at, healed_at, well_at, tuple(problems))
        self._story.played.append(played)
        self._tell(played)
        return is_well

    async def _happen(self, fault: Fault, wait_s: float) -> list[str]:
        """Have one fault come and go; what could not be done."""
        await asyncio.sleep(wait_s)
        problems = []
        try:
            async with asyncio.timeout(_LONGEST_FAULT_S):
                await fault.inject()
                await asyncio.sleep(fault.seconds)
        except _EXPECTED as error:
            problems.append(f"{fault.name} did not happen as it should: {str(error) or type(error).__name__}")
        try:
            async with asyncio.timeout(_LONGEST_FAULT_S):
                await fault.heal()
        except _EXPECTED as error:
            problems.append(f"{fault.name} could not be undone: {str(error) or type(error).__name__}")
        return problems

    async def _recover(
        self, faults: Sequence[Fault], healed_at: float, problems: list[str]
    ) -> tuple[float | None, bool]:
        """Wait until all is well; since when it is, where that came in time, and whether it is now."""
        until_well = partial(self._place.until_well, healed_at, conditions=[fault.lingers for fault in faults])
        try:
            return await until_well(within=self._patience.healed_within_s), True
        except WaitedInVainError as error:
            problems += [str(error), f"status: {json.dumps(await self._place.status())}", self.tail()]
        try:
            await until_well(within=self._patience.given_up_after_s)
        except WaitedInVainError:
            return None, False
        return None, True

    def _tell(self, played: Played) -> None:
        if played.heal_s is not None:
            self._say(f"    well {played.heal_s:.1f} s after it was over")
        for problem in played.problems:
            self._say(f"    PROBLEM: {problem}")

    def tail(self) -> str:
        """The end of the daemon's log."""
        return "\n".join(lines_of(self._place.balancer.logs / "rosterd.log")[-_TAIL:])

    # --- meanwhile ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the processes all the time, and whether the guard is engaged."""
        while True:
            processes = await asyncio.to_thread(self._place.processes)
            self._story.samples.append(census.sample(self._place.now(), processes, self._place.balancer.directory))
            status = await self._place.status()
            if status.get("guard"):
                self._story.guarded_s += _SAMPLE_EVERY_S
            await asyncio.sleep(_SAMPLE_EVERY_S)


def bugs_in(log: Path) -> list[str]:
    """Return the lines that tell of a bug of the daemon: a turn that failed, or what is no log line at all."""
    return [line for line in lines_of(log) if _is_bug(line)]


def _is_bug(line: str) -> bool:
    if not line.startswith("{"):
        return not line.startswith("rosterd: ")
    try:
        return bool(json.loads(line)["event"] == "turn.failed")
    except (ValueError, KeyError):
        return False  # cut short by a kill


def lines_of(path: Path) -> list[str]:
    """Return the lines of a log; none where it is not there."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
