"""Which first lines the runtime relay lets through to HAProxy."""

from __future__ import annotations

import pytest

from rosterd.proxy.first_line import MAX_FIRST_LINE, refusal

COMMANDS = (
    b"show info\n",
    b"show servers state\r\n",
    b"  show stat\n",
    b"show info;show stat\n",
    b"@1 show info\n",
    b"prompt\n",
    b"help\n",
    b"set server nodes/web1 state maint",
    b"set ssl cert /etc/ssl/a.pem <<\n-----BEGIN",
    b"add map /etc/maps/hosts a b\n",
    b"set map #1 a b\n",
    b"experimental-mode on; show trace\n",
)
REQUESTS = (
    b"POST /;prompt; HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET /\r\n",
    b"POST /;prompt;\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://127.0.0.1:9999/ HTTP/1.1\r\n",
    b"CONNECT 127.0.0.1:9999 HTTP/1.1\r\n",
    b"show /;prompt; HTTP/1.1\r\n",
    b"show /x\n",
    b"  POST  /;prompt;  http/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
)
OTHERS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03;show info;\n",
    b"\x00\x01\x00\x00show info\n",
    b"USER anonymous\r\n",
    b"CLIENT libcurl 7.88.1\r\n",
    b"EHLO localhost\r\n",
    b"show info\x00\n",
    b"{}\n",
    b"<policy-file-request/>\n",
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_passes(line: bytes) -> None:
    """With any line end, several in a line, with a payload, for a worker by number."""
    assert refusal(line) == ""


@pytest.mark.parametrize("line", REQUESTS)
def test_a_request_is_refused(line: bytes) -> None:
    """Whatever its method, version and form."""
    assert refusal(line) == "the first line is an HTTP request"


@pytest.mark.parametrize("line", OTHERS)
def test_another_protocol_is_refused(line: bytes) -> None:
    """TLS, STUN, FTP, DICT, SMTP: no command of HAProxy starts like them."""
    assert refusal(line) == "the first line does not start like a command of HAProxy"


def test_a_line_that_is_too_long_is_refused() -> None:
    """HAProxy takes none of that length."""
    assert refusal(b"show info".ljust(MAX_FIRST_LINE)) == ""
    assert refusal(b"show info".ljust(MAX_FIRST_LINE + 1)) == "the first line is longer than 16384 bytes"
