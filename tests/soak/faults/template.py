"""What an operator edits goes wrong, and so does the check of it."""

from __future__ import annotations

import shutil
from typing import ClassVar

from tests.soak.faults.fault import Fault
from tests.soak.schedule import Part

_TEMPLATE = frozenset({Part.TEMPLATE})


def with_header(template: str, value: str) -> str:
    """Return the template with a response header more: an edit that needs a reload."""
    mark = "frontend traffic\n"
    if mark not in template:
        raise ValueError("the template has no frontend `traffic` to edit")
    return template.replace(mark, f"{mark}    http-response set-header x-soak {value}\n")


class Edited(Fault):
    """What all of these have: the text that was there, and the structure that HAProxy ran with it."""

    parts = _TEMPLATE
    lasts: ClassVar[tuple[float, float]] = (0.5, 4.0)

    async def remember(self) -> None:
        """Keep what is there."""
        self.text = self.place.balancer.template.read_text(encoding="utf-8")
        running = await self.place.running()
        self.structure = running.structure if running else ""

    async def until_told(self) -> None:
        """Wait until the daemon says that it does not like the edit."""

        async def is_told() -> bool:
            status = await self.place.status()
            return bool(status and (status["blueprint"]["error"] or status["action_error"]))

        await self.place.until(is_told, "rosterd to tell of the mistake")

    async def heal(self) -> None:
        """Put the text back."""
        self.place.write_template(self.text)

    async def lingers(self) -> str:
        """Until HAProxy runs what it ran."""
        running = await self.place.running()
        is_back = not self.structure or (running is not None and running.structure == self.structure)
        return "" if is_back else "HAProxy runs another structure"


class TemplateEdited(Edited):
    """A good edit, which needs a reload, and the way back, which needs another one."""

    name = "template-edited"
    what = "a good edit of the template, and it is taken back: two reloads"

    async def inject(self) -> None:
        """Edit, and see it in HAProxy."""
        await self.remember()
        self.place.write_template(with_header(self.text, f"{self.dice.getrandbits(32):x}"))

        async def is_in_force() -> bool:
            running = await self.place.running()
            return running is not None and running.structure not in {"", self.structure}

        await self.place.until(is_in_force, "HAProxy to run the edited template")


class TemplateBroken(Edited):
    """An edit that is no template, or no configuration."""

    name = "template-broken"
    what = "an edit that Jinja or `haproxy -c` refuses"

    async def inject(self) -> None:
        """Edit, and wait for the complaint."""
        await self.remember()
        mistake = self.dice.choice(["{% if an_end_that_is_missing %}\n", "backend broken\n    nonsense here\n"])
        self.place.write_template(self.text + mistake)
        await self.until_told()


class TemplateDeleted(Edited):
    """The file is gone."""

    name = "template-deleted"
    what = "the template is deleted"

    async def inject(self) -> None:
        """Delete it."""
        await self.remember()
        self.place.balancer.template.unlink()
        await self.until_told()


class TemplateUnreadable(Edited):
    """There is something, and it cannot be read, by root neither."""

    name = "template-unreadable"
    what = "the template cannot be read: a folder is in its place"

    async def inject(self) -> None:
        """Put a folder in its place."""
        await self.remember()
        self.place.balancer.template.unlink()
        self.place.balancer.template.mkdir()
        await self.until_told()

    async def heal(self) -> None:
        """Put the text back."""
        self.place.balancer.template.rmdir()
        await super().heal()


class CheckHangs(Edited):
    """A text that has to be checked, and a check that does not end."""

    name = "check-hangs"
    what = "`haproxy -c` hangs while the template is edited, for 1 to 5 s after rosterd has said so"
    lasts: ClassVar[tuple[float, float]] = (1.0, 5.0)
    script: ClassVar[str] = "#!/bin/sh\nexec sleep 60\n"

    async def inject(self) -> None:
        """Replace the program, edit, and wait for the complaint."""
        await self.remember()
        self.spoil()
        self.place.write_template(with_header(self.text, "unchecked"))
        await self.until_told()

    def spoil(self) -> None:
        """Replace the program."""
        self.place.write_checker(self.script)

    async def heal(self) -> None:
        """Put the program back, and the text."""
        self.place.write_checker()
        await super().heal()


class CheckMissing(CheckHangs):
    """There is no program to check with."""

    name = "check-missing"
    what = "the `haproxy` that checks is gone while the template is edited"

    def spoil(self) -> None:
        """Delete it."""
        self.place.checker.unlink()


class StateGone(Fault):
    """What is kept for a restart cannot be kept."""

    name = "state-gone"
    what = "the state directory is deleted while a web node's weight changes"
    parts = frozenset({Part.STATE})
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (1.0, 6.0)

    async def inject(self) -> None:
        """Delete it, and change something that the file follows."""
        shutil.rmtree(self.place.state)
        await self.place.set_tags(self.victims[0], {"weight": "50"})

    async def heal(self) -> None:
        """Make it again, and change that back."""
        self.place.state.mkdir()
        await self.place.set_tags(self.victims[0], {"weight": ""})
