"""What the environment asks of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class OptionsRefusedError(Exception):
    """A variable asks for what cannot be done."""


@dataclass(frozen=True, slots=True)
class Options:
    """The variables DEMO (a mode by name), DEMO_STAY (leave the cluster up), DEMO_REPORT (a file for the report)."""

    mode: str | None = None
    stay: bool = False
    report: Path | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Options:
        """Read them. An empty variable counts as none, and `DEMO_STAY=0` means no.

        Raises:
            OptionsRefusedError: the report could not be written there; better told before the demo than after it.
        """
        report = environ.get("DEMO_REPORT")
        if report and not Path(report).absolute().parent.is_dir():
            raise OptionsRefusedError(f"DEMO_REPORT={report}: there is no directory {Path(report).absolute().parent}")
        return cls(
            mode=environ.get("DEMO", "").strip() or None,
            stay=environ.get("DEMO_STAY", "") not in {"", "0"},
            report=Path(report) if report else None,
        )
