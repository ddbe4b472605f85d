"""All that HAProxy should serve."""

from __future__ import annotations

from dataclasses import dataclass

from rosterd.model.server import Backend, ServerKey
from rosterd.model.text import Contents


@dataclass(frozen=True, slots=True)
class Desired:
    """What HAProxy should serve.

    `structure` is a digest of everything that is not a member's server line: two texts with equal digests differ in
    members' servers at most. `text` is the configuration that says all of this, each server with all its options, and
    `contents` is that text read back; None where only servers are compared.
    """

    structure: str
    backends: tuple[Backend, ...]
    text: str
    contents: Contents | None = None

    @property
    def omitted(self) -> tuple[ServerKey, ...]:
        """The servers that the text has no line for."""
        if self.contents is None:
            return ()
        keys = ((backend.service, server.name) for backend in self.backends for server in backend.servers)
        return tuple(key for key in keys if key not in self.contents.options)
