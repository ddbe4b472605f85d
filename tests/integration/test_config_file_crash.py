"""The configuration file under a writer that is killed over and over."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from rosterd.proxy.config_file import ConfigFile

_KILLS = 10
_TEXTS = tuple(f"# {letter}\n" * 20_000 for letter in "ab")

_WRITER = """
import sys
from pathlib import Path
from rosterd.proxy.config_file import ConfigFile

directory = Path(sys.argv[1])
file = ConfigFile(directory / "haproxy.cfg", directory)
print("ready", flush=True)
for number in range(100_000):
    text = f"# {'ab'[number % 2]}\\n" * 20_000
    file.write(text)
    file.mark_good(text)
"""


def test_the_file_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    """File and good copy are one of the written texts after each kill -9, and the next start cleans up."""
    file = ConfigFile(tmp_path / "haproxy.cfg", tmp_path)
    file.write(_TEXTS[0])
    file.mark_good(_TEXTS[0])
    moments = random.Random(20)  # noqa: S311  a seed, so that the moments are the same each time
    for _ in range(_KILLS):
        _write_until_killed(tmp_path, moments.uniform(0.0, 0.05))
        assert file.read() in _TEXTS
        assert file.read_good() in _TEXTS
    file.recover()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["haproxy.cfg", "haproxy.cfg.good", "haproxy.cfg.server-state"]


def _write_until_killed(directory: Path, seconds: float) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        writer.kill()
