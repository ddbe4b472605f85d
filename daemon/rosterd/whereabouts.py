"""Where the daemon answers: all that a command needs of the settings that only asks it.

A daemon goes on with the settings that were good when somebody breaks the file, and says what is wrong with the edit.
So must the commands that ask it: they take `admin.listen` from what can be read, and warn.
"""

from __future__ import annotations

from pathlib import Path

import typer

from rosterd.errors import SettingsError
from rosterd.settings import load, load_admin


def listen_of(settings_file: Path | None) -> str:
    """`admin.listen`; SettingsError when not even that can be read."""
    try:
        return load(settings_file).admin.listen
    except SettingsError as error:
        try:
            admin = load_admin(settings_file)
        except SettingsError:
            raise error from None
        told = f"the settings are not valid; asking at {admin.listen} all the same"
        typer.echo(f"rosterd: warning: {told} (`rosterd check` lists what is wrong)", err=True)
        return admin.listen
