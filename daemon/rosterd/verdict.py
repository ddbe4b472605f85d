"""HAProxy's verdict on texts that are only checked: the same that the daemon would come to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rosterd.errors import ConfigFileError, ConfigRefused, ProxyError
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.mirror import mirror_of
from rosterd.proxy.reload import Master, check
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.start_check import try_start
from rosterd.rejection import explain
from rosterd.settings import ProxySettings


def judge(proxy: ProxySettings, texts: Sequence[str], template: str) -> tuple[str, ...]:
    """Return HAProxy's warnings on these texts, each once.

    Raises `ConfigRefused` with the lines that are wrong and where the template has them, or `ProxyBinaryError`.
    """
    warnings: dict[str, None] = {}
    for text in texts:
        warnings |= dict.fromkeys(asyncio.run(judge_text(proxy, text, template)))
    return tuple(warnings)


async def judge_text(proxy: ProxySettings, text: str, template: str) -> tuple[str, ...]:
    """As `judge`, for one text."""
    try:
        return await _judge(proxy, text)
    except ConfigRefused as refused:
        raise ConfigRefused(explain(str(refused), str(proxy.config_file), text, template)) from None


async def _judge(proxy: ProxySettings, text: str) -> tuple[str, ...]:
    master = Master(HAProxySocket(proxy.master_socket, proxy.answer_timeout_s), proxy.reload_timeout_s)
    seen = master.surroundings()
    with mirror_of(proxy.config_file.parent) as directory:
        path = directory / proxy.config_file.name
        path.unlink(missing_ok=True)  # the link to the real file
        path.write_text(text, encoding="utf-8")
        warnings = await check(
            proxy.binary,
            path,
            proxy.check_timeout_s,
            shown_as=proxy.config_file,
            directory=None if seen is None else seen.directory,
        )
    try:
        version = (await master.processes()).version
    except ProxyError:
        return warnings  # no HAProxy runs: what its start would meet is another's then
    try_start(text, _held(proxy), seen, version, proxy.config_file)
    return warnings


def _held(proxy: ProxySettings) -> str | None:
    """The text that HAProxy was last proven to run; None where that is not known, or must not be read."""
    try:
        return ConfigFile(proxy.config_file, Path(proxy.state_dir)).read_good()
    except ConfigFileError:
        return None
