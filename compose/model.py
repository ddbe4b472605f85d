"""The words of the local cluster: a node, its kind, and the error that a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
"""The project's folder: node definitions, template and settings are found from here."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text says what to do about it."""


class Kind(Enum):
    """What a node is."""

    BALANCER = "balancer"
    WEB = "web"

    @property
    def definition(self) -> Path:
        """The supervisord.conf that nodes of the kind run."""
        return HOME / _DEFINITION_FOLDERS[self] / "supervisord.conf"


_DEFINITION_FOLDERS = {Kind.BALANCER: "haproxy", Kind.WEB: "webapp"}


@dataclass(frozen=True, slots=True)
class Node:
    """One node: where it is, on the network and in the run directory."""

    name: str
    kind: Kind
    address: str
    directory: Path

    @property
    def logs(self) -> Path:
        """One file for each program."""
        return self.directory / "logs"

    @property
    def template(self) -> Path:
        """A balancer's own copy of the template, to be edited."""
        return self.directory / "haproxy.cfg.j2"

    @property
    def settings(self) -> Path:
        """A balancer's own copy of the settings, to be edited."""
        return self.directory / "rosterd.toml"

    @property
    def master_socket(self) -> Path:
        """Where a balancer's HAProxy master takes commands."""
        return self.directory / "master.sock"

    @property
    def runtime_socket(self) -> Path:
        """Where a balancer's HAProxy worker takes commands."""
        return self.directory / "haproxy.sock"
