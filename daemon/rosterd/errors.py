"""Everything that can go wrong, as one tree, and the exit code of each branch.

    RosterdError
    ├── SettingsError          a settings file or variable is wrong: every mistake, each with its key
    ├── TemplateError          the template cannot be read, compiled or rendered: file and line
    ├── MembersFileError       `render --members` was given something that is no member list
    ├── SerfError
    │   ├── SerfUnreachable    no agent, a dead-line passed, the connection broke      retryable
    │   ├── SerfOutOfStep      bytes that do not fit the protocol or what was asked    retryable
    │   ├── SerfRefused        the agent answered a request with an error              retryable
    │   └── SerfAuthRefused    the agent wants another auth key                        fatal at start
    ├── ProxyError
    │   ├── ProxyUnreachable   a HAProxy socket is absent, hangs or breaks             retryable
    │   ├── ProxyGarbled       HAProxy answered what cannot be understood              retryable
    │   ├── ProxyBinaryError   the `haproxy` program is missing, hangs or cannot run   retryable
    │   ├── ConfigRefused      `haproxy -c` refused a configuration                    not by itself
    │   ├── ConfigFileError    the file or its directory cannot be written             retryable
    │   ├── ReloadPostponed    too many old workers are alive for another reload      retryable
    │   └── ReloadFailed       HAProxy refused to reload and kept its old worker      retryable
    │       ├── ReloadUnproven HAProxy did not prove a reload before the deadline      retryable
    │       ├── StartRefused   HAProxy's new worker cannot start with a configuration   not by itself
    │       └── ProxyDied      HAProxy ended when it loaded a configuration           not by itself
    ├── NodeError
    │   ├── NodeUnknown        no alive node, or several, have the name that a command was given
    │   └── NodeUnmoved        a node did not take the state that it was told
    ├── DaemonUnreachable      a command found no running daemon at the admin address, or got no answer of it
    └── AdminAddressTaken      the admin address cannot be listened on

Rules: raise the narrowest; the text names the key, file, member or address, and the remedy where there is one.
Other people's exceptions become one of these at the adapter that met them, so that `except RosterdError` is enough
everywhere else. `exit_code` is what the command line ends with; docs/exit-codes.md lists them and a test compares.
"""

from __future__ import annotations

from typing import ClassVar


class RosterdError(Exception):
    """The root of what this project raises on purpose."""

    exit_code: ClassVar[int] = 1


class SettingsError(RosterdError):
    """One or more settings are wrong."""

    exit_code = 3

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Collect the mistakes, each a sentence that starts with its key or file."""
        super().__init__("\n".join(problems))
        self.problems = problems


class TemplateError(RosterdError):
    """The template cannot be read, compiled or rendered."""

    exit_code = 4


class MembersFileError(RosterdError):
    """A file of members is not what `rosterd members --json` prints."""

    exit_code = 8


class SerfError(RosterdError):
    """Something about the Serf agent."""

    exit_code = 5


class SerfUnreachable(SerfError):
    """The agent does not answer, or the connection to it broke."""


class SerfOutOfStep(SerfError):
    """The agent sent what does not fit the protocol or no request of ours."""


class SerfRefused(SerfError):
    """The agent answered a request with an error."""


class SerfAuthRefused(SerfError):
    """The agent does not accept our auth key, or wants one and we have none."""


class ProxyError(RosterdError):
    """Something about HAProxy."""

    exit_code = 6


class ProxyUnreachable(ProxyError):
    """A HAProxy socket is absent, does not answer in time or breaks."""


class ProxyGarbled(ProxyError):
    """HAProxy answered with something that cannot be understood."""


class ProxyBinaryError(ProxyError):
    """The haproxy program is missing, cannot be run or does not end."""


class ConfigRefused(ProxyError):
    """`haproxy -c` refused a configuration; the text is HAProxy's own message."""


class ConfigFileError(ProxyError):
    """The configuration file or its directory cannot be read or written."""


class ReloadPostponed(ProxyError):
    """A reload has to wait until old workers have ended."""


class ReloadFailed(ProxyError):
    """A reload was asked for and its proof says that it did not happen."""


class ReloadUnproven(ReloadFailed):
    """HAProxy neither proved nor refused a reload before the deadline."""


class StartRefused(ReloadFailed):
    """HAProxy's new worker could not start, for another reason than what it listens on, which may be free later."""


class ProxyDied(ReloadFailed):
    """HAProxy's master or its new worker ended when it loaded a configuration."""


class NodeError(RosterdError):
    """Something about nodes that a command should tell something; a line each."""

    exit_code = 10


class NodeUnknown(NodeError):
    """No alive node has this name, or several have it."""


class NodeUnmoved(NodeError):
    """A node did not answer, refused, or is not seen to have done what it was told."""


class DaemonUnreachable(RosterdError):
    """No running daemon answers at the admin address, or it does not give what it was asked for."""

    exit_code = 7


class AdminAddressTaken(RosterdError):
    """The admin address cannot be listened on."""

    exit_code = 9
