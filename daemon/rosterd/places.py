"""Where things are on a machine that follows the file system hierarchy, unless the settings say otherwise.

Vocabulary: what an operator writes, what the daemon keeps, and what is gone with the next boot.
"""

from __future__ import annotations

from pathlib import Path

ETC = Path("/etc/rosterd")
STATE = Path("/var/lib/rosterd")
RUN = Path("/run/rosterd")

SETTINGS_FILE = ETC / "rosterd.toml"

SETTINGS_VARIABLE = "ROSTERD_SETTINGS"
"""Names the settings file, for commands; the one variable of ours that is no key."""

SERVER_STATE_SUFFIX = ".server-state"
"""What the name of HAProxy's server state file has behind that of its configuration file."""
