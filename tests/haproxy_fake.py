"""A HAProxy that is none: master and runtime socket with the answers that a real one of that version gave.

It knows as much as the callers rely on: a file that holds the word `bogus` cannot be loaded, another one gives a new
worker that runs the structure of the file; servers of the backend `nodes` are added, changed and deleted. The contract
tests hold for it and for the real one, so that tests of other parts may trust it. `mood` makes it misbehave.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "haproxy"
_AWAY_S = 0.03


class Mood(Enum):
    """How the fake answers from now on."""

    WELL = "well"
    SILENT = "silent"
    CUT_SHORT = "cut short"
    GARBLED = "garbled"
    ENDLESS = "endless"
    DEAF_TO_RELOAD = "deaf to reload"


@dataclass
class FakeServer:
    """A server that was added at run time; its check is good as soon as it is enabled."""

    id: str
    address: str
    port: str
    weight: str = "0"
    admin: str = "1"
    checked: bool = False


class HAProxyFake:
    """Answers as the recorded HAProxy of `version` does, with its files and sockets in `directory`."""

    def __init__(self, directory: Path, version: str) -> None:
        self.config = directory / "haproxy.cfg"
        self.runtime_socket = directory / "run.sock"
        self.master_socket = directory / "master.sock"
        self.mood = Mood.WELL
        self._fixtures = FIXTURES / version
        number = tuple(int(part) for part in version.split("."))
        self._synchronous = number >= (2, 7)
        self._prompts_by_line = number >= (3, 2)
        self._worker_pid = 1001
        self._structure = ""
        self._reloads = 0
        self._failed = 0
        self._members: dict[str, FakeServer] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def text(self, structure: str, *lines: str) -> str:
        """Return a configuration as far as the fake understands one."""
        return "\n".join((f"description rosterd:{structure}", *lines, ""))

    async def start(self) -> None:
        """Load the file and listen."""
        self._structure = self._structure_of_file()
        for path in (self.runtime_socket, self.master_socket):
            await self._listen(path)

    async def stop(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            server.close()
        self.runtime_socket.unlink(missing_ok=True)
        self.master_socket.unlink(missing_ok=True)

    async def _listen(self, path: Path) -> None:
        self._servers.append(await asyncio.start_unix_server(self._accept, path))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = (await _question(reader)).decode().strip()
            if self.mood is Mood.SILENT:
                await asyncio.Event().wait()
            while self.mood is Mood.ENDLESS:
                writer.write(b"x" * 1_000_000)
                await writer.drain()
            writer.write(self._answer(question).encode())
            await writer.drain()
        except OSError:
            # The client went away; a real HAProxy does not care either.
            return
        finally:
            writer.close()

    def _answer(self, question: str) -> str:
        if self.mood is Mood.GARBLED:
            return "Unknown command\n\n"
        if question.startswith(f"@!{self._worker_pid} "):  # for the worker, by way of its master
            whole = self._answer(question.replace(f"@!{self._worker_pid} ", ""))
        elif question.startswith("prompt"):
            whole = self._conversation(question)
        elif question == "":  # a client that only looks which process listens
            whole = ""
        elif question in ("show info", "show servers state"):
            whole = f"{self._shown(question)}\n"
        else:
            whole = {
                "show info;show servers state": self._observation,
                "show proc": self._processes,
                "reload": self._reload,
            }[question]()
        return whole[: len(whole) * 2 // 3] if self.mood is Mood.CUT_SHORT else whole

    def _conversation(self, text: str) -> str:
        """Answer with a prompt after each command; from 3.2 on, after each line."""
        said = ""
        for line in text.split("\n"):
            replies = []
            for command in line.split(";"):
                if command == "quit":
                    return said
                replies.append("" if command == "prompt" else self._reply(command))
            said += f"{''.join(replies)}\n> " if self._prompts_by_line else "".join(f"{one}\n> " for one in replies)
        return said

    def _observation(self) -> str:
        text = re.sub(r"(?m)^Pid: .*$", f"Pid: {self._worker_pid}", self._recorded("observation_no_servers.txt"))
        text = re.sub(r"(?m)^description: .*$", f"description: rosterd:{self._structure}", text)
        return text[:-1] + "".join(f"{self._row(name)}\n" for name in self._members) + "\n"

    def _reply(self, command: str) -> str:
        # A batch has thousands of commands; only few of them are a question.
        return self._shown(command) if command.startswith("show ") else self._command(command.split())

    def _shown(self, command: str) -> str:
        info, _, servers = self._observation().partition("\n\n")
        stat = "# pxname,svname,qcur,scur\n" + "".join(f"nodes,{name},0,0\n" for name in self._members)
        shown = {"show info": f"{info.lstrip()}\n", "show servers state": servers[:-1], "show stat -1 4 -1": stat}
        return shown[command]

    def _row(self, name: str) -> str:
        columns = re.search(r"(?m)^# (be_id .*)$", self._recorded("observation_no_servers.txt"))
        assert columns is not None
        server = self._members[name]
        known = {
            "be_name": "nodes",
            "srv_name": name,
            "srv_id": server.id,
            "srv_addr": server.address,
            "srv_port": server.port,
            "srv_op_state": "2",
            "srv_admin_state": server.admin,
            "srv_uweight": server.weight,
            "srv_check_result": "3" if server.checked else "0",
            "srv_check_state": "6" if server.checked else "0",
        }
        return " ".join(known.get(column, "0") for column in columns[1].split())

    def _command(self, words: list[str]) -> str:
        """Do as HAProxy does with one command, and say what it says."""
        name = words[2 if words[0] != "shutdown" else 3].removeprefix("nodes/")
        server = self._members.get(name)
        if words[:2] == ["add", "server"]:
            if server is not None:
                return "Already exists a server with the same name in backend.\n"
            address, _, port = words[3].rpartition(":")
            self._members[name] = FakeServer(words[words.index("id") + 1], address, port)
            return "New server registered.\n"
        if server is None:
            return "No such server.\n" if words[0] != "del" else "No such server."
        return self._change(name, server, words)

    def _change(self, name: str, server: FakeServer, words: list[str]) -> str:
        match words:
            case ["enable", "health", _]:
                server.checked = True
            case ["enable", "server", _] | ["set", "server", _, "state", "ready"]:
                server.admin = "0"
            case ["set", "server", _, "state", "maint"]:
                server.admin = "1"
            case ["set", "server", _, "weight", weight]:
                if int(weight) > 256:
                    return "Absolute weight can only be between 0 and 256 inclusive.\n"
                server.weight = weight
            case ["del", "server", _]:
                if server.admin != "1":
                    return "Only servers in maintenance mode can be deleted."
                del self._members[name]
                return "Server deleted."
        return ""

    def _processes(self) -> str:
        recorded = self._recorded("proc.txt")
        master = re.sub(r"0 \[failed: 0\]", f"{self._reloads} [failed: {self._failed}]", recorded)
        return re.sub(r"(?m)^\d+( +worker)", rf"{self._worker_pid}\1", master)

    def _reload(self) -> str:
        if self.mood is Mood.DEAF_TO_RELOAD:
            return ""
        self._reloads += 1
        if "bogus" in self.config.read_text(encoding="utf-8"):
            self._failed += 1
            answer = self._recorded("reload_failed.txt")
        else:
            self._failed = 0
            self._worker_pid += 1
            self._structure = self._structure_of_file()
            answer = self._recorded("reload.txt")
        if not self._synchronous:
            task = asyncio.ensure_future(self._go_away_for_a_moment())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answer

    async def _go_away_for_a_moment(self) -> None:
        """The master of 2.6 executes itself anew and refuses connections meanwhile."""
        self._servers.pop().close()
        self.master_socket.unlink(missing_ok=True)
        await asyncio.sleep(_AWAY_S)
        await self._listen(self.master_socket)

    def _structure_of_file(self) -> str:
        found = re.search(r"description rosterd:(\S+)", self.config.read_text(encoding="utf-8"))
        return found[1] if found else ""

    def _recorded(self, name: str) -> str:
        return (self._fixtures / name).read_text(encoding="utf-8")


async def _question(reader: asyncio.StreamReader) -> bytes:
    """Read until the client closes its half, or to the end of a conversation that ends with `quit`."""
    question = b""
    while chunk := await reader.read(65536):
        question += chunk
        if question.startswith(b"prompt") and question.endswith(b"\nquit\n"):
            break
    return question
