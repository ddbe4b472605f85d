"""Endpoints as people write them: `host`, `host:port`, an IPv6 address bare or as `[v6]:port`."""

from __future__ import annotations

import ipaddress
import re

HIGHEST_PORT = 65_535


def split_endpoint(text: str, default_port: int) -> tuple[str, int]:
    """Host and port; the default where the text names no port."""
    if is_address(text):
        return text, default_port
    host, colon, port = text.rpartition(":")
    if not colon or port_of(port) is None:
        return text.strip("[]"), default_port
    return host.strip("[]"), int(port)


def join_endpoint(host: str, port: int) -> str:
    """The text of host and port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(text: str) -> int | None:
    """The port that the text is; None when it is none."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= HIGHEST_PORT:
        return None
    return int(text)


def is_address(text: str) -> bool:
    """Whether the text is an IP address, of either version."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
