"""The settings: one TOML file, each key also as an environment variable, all mistakes at once.

Rules:

- `ROSTERD_SECTION__KEY` overrides the file; a list or table is given as JSON (`ROSTERD_SERVICES='[{"name": …}]'`).
- A secret may stand in a file of its own instead: `auth_key_file` for `auth_key`. It is never shown.
- Frozen, typed, unknown keys refused. Durations are seconds and say so in their name.
- `load` raises one `SettingsError` that lists every mistake, each with its key.
- A relative path is relative to the working directory of the daemon.

The parts: `values` (the kinds of value), `sections` (the keys), `load` (file and environment).
"""

from rosterd.settings.load import (
    NEEDS_RESTART,
    changed_keys,
    ignored_variables,
    keep_what_needs_restart,
    load,
    load_admin,
    needs_restart,
    removed_services,
)
from rosterd.settings.sections import (
    ENV_PREFIX,
    AdminSettings,
    CheckSettings,
    LogSettings,
    PolicySettings,
    ProxySettings,
    ReloadSettings,
    SerfSettings,
    ServiceSettings,
    Settings,
)
from rosterd.settings.values import UNIX_PREFIX, WILDCARD, Endpoint, bind_endpoints, split_host_port

__all__ = [
    "ENV_PREFIX",
    "NEEDS_RESTART",
    "UNIX_PREFIX",
    "WILDCARD",
    "AdminSettings",
    "CheckSettings",
    "Endpoint",
    "LogSettings",
    "PolicySettings",
    "ProxySettings",
    "ReloadSettings",
    "SerfSettings",
    "ServiceSettings",
    "Settings",
    "bind_endpoints",
    "changed_keys",
    "ignored_variables",
    "keep_what_needs_restart",
    "load",
    "load_admin",
    "needs_restart",
    "removed_services",
    "split_host_port",
]
