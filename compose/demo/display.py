"""What the user sees: one line for each thing that happens and, on a terminal, live bars of the traffic below them.

Rules: everything is drawn from the event loop, no thread of rich's own; without a terminal only the lines remain, so
that a log file reads well; NO_COLOR is rich's to obey; where the output cannot show a bar or a tick, ASCII does.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from compose.demo.report import table_of
from compose.load import recent
from compose.logs import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from compose.demo.context import Context
    from compose.demo.mode import Choice
    from compose.demo.report import StepResult
    from compose.demo.stage import Spot
    from compose.demo.step import Step
    from compose.logs import Line

WINDOW_S = 1.0
BAR_CELLS = 40


@dataclass
class Display:
    """Prints the progress of the demo on a console."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    _live: Live | None = field(default=None, init=False)

    @property
    def _unicode(self) -> bool:
        return "utf" in self.console.encoding.lower()

    def print_header(self, choice: Choice, context: Context) -> None:
        """Say where it runs, why, and where to look meanwhile."""
        site = context.site
        traffic, page, stats = (f"http://{host}:{port}/" for host, port in (site.traffic, site.admin, site.stats))
        self._print(
            Text.assemble(("rosterd demo", "bold"), f", {choice.mode.value} mode: {choice.reason}"),
            Text(f"{context.stage.made_of}; meanwhile you may look at"),
            Text(f"  traffic   {traffic}"),
            Text(f"  rosterd   {page}"),
            Text(f"  HAProxy   {stats}"),
            Text("  logs      make logs   (in another terminal)\n"),
        )

    def step_started(self, number: int, total: int, step: Step) -> None:
        """The heading of a step."""
        self._print(Text.assemble((f"{number}/{total} {step.name}", "bold"), (f"  {step.detail}", "dim")))

    def say(self, text: str) -> None:
        """Something happens before or after the steps."""
        self._print(Text(text))

    def note(self, text: str) -> None:
        """Something happened within a step."""
        self._print(Text(f"    {text}"))

    def step_finished(self, step: Step, result: StepResult) -> None:
        """What a step came to."""
        counts = f"{result.requests} requests, {result.failed} failed, {_reloads(result.reloads)}"
        if result.ok:
            tick = "\u2713" if self._unicode else "ok:"
            line = Text.assemble((f"  {tick} {step.effect} after {result.seconds:.2f} s", "green"), f"  {counts}")
        else:
            cross = "\u2717" if self._unicode else "FAILED:"
            line = Text.assemble((f"  {cross} {result.problem}", "bold red"), f"  {counts}")
        self._print(line, Text())

    @contextlib.contextmanager
    def live_bars(self) -> Iterator[None]:
        """Keep bars of the traffic below the lines, where there is a terminal to draw on."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def draw(self, context: Context) -> None:
        """Draw the bars anew."""
        if self._live is None:
            return
        now = context.now()
        latest = recent(context.samples, now - WINDOW_S)
        shares = Counter(sample.backend for sample in latest if sample.failure is None)
        failed = sum(sample.failure is not None for sample in context.samples)
        title = f"last second: {len(latest)} answers   so far: {len(context.samples)} requests, {failed} failed"
        rows = Table.grid(padding=(0, 2))
        for spot in context.known:
            rows.add_row(*self._row(context, spot, shares[spot.address], max(len(latest), 1)))
        self._live.update(Group(Text(title, "bold red" if failed else "bold"), rows), refresh=True)

    def _row(self, context: Context, node: Spot, answers: int, total: int) -> tuple[Text, Text, Text]:
        server = next((server for server in context.servers if server.address == node.address), None)
        state = "out" if server is None else f"{server.status.lower()}, weight {server.weight}"
        style = "dim" if server is None else "" if server.is_up else "yellow"
        cells = round(BAR_CELLS * answers / total)
        bar = ("\u2588" if self._unicode else "#") * cells
        return Text(f"  {node.name}", style), Text(f"{state:<16}", style), Text(f"{bar} {answers or ''}", "cyan")

    def print_results(self, results: Sequence[StepResult]) -> None:
        """The table, and what `followed` means in it."""
        self.console.print(table_of(results))
        self._print(Text("followed: from the change until traffic had followed it; 100 requests a second throughout"))

    def print_problems(
        self, results: Sequence[StepResult], not_reached: Sequence[str], lines: Iterable[Line], rest: str
    ) -> None:
        """Which steps did not hold or were not reached, the last warnings and errors of all programs, and the rest."""
        for result in results:
            if not result.ok:
                self._print(Text.assemble((result.name, "bold red"), f": {result.problem}"))
        if not_reached:
            self._print(Text.assemble(("not run", "bold red"), f": {', '.join(not_reached)}"))
        self._print(Text("the last warnings and errors of all programs:"))
        self._print(*(shown(line) for line in lines))
        if rest:
            self._print(Text(f"all the logs: {rest}"))

    def print_hints(self, hints: Iterable[tuple[str, str]]) -> None:
        """The cluster stays up: say what may be done with it."""
        self._print(Text.assemble(("\nThe cluster stays up.", "bold"), " Try:"))
        self._print(*(Text(f"  {command:<48} {purpose}") for command, purpose in hints))

    def _print(self, *lines: Text) -> None:
        """Whole lines: a terminal wraps them, a file keeps them."""
        for line in lines:
            self.console.print(line, soft_wrap=True)


def _reloads(number: int) -> str:
    return "1 reload" if number == 1 else f"{number} reloads"
