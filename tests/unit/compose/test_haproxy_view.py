from __future__ import annotations

import pytest

from compose.haproxy_view import HAProxyUnreadableError, Master, ServerView, parse_master, parse_servers

STAT = """# pxname,svname,status,weight,type,addr,
traffic,FRONTEND,OPEN,,0,,
nodes,web1-ab,UP,100,2,127.9.9.1:3000,
nodes,web2-cd,DOWN,0,2,127.9.9.2:3000,
nodes,web3-ef,UP 1/3,256,2,127.9.9.3:3000,
nodes,BACKEND,UP,200,1,,

"""
PROC = """#<PID>          <type>          <reloads>       <uptime>        <version>
7               master          3 [failed: 0]   0d00h00m02s     2.6.12
# workers
9               worker          0               0d00h00m00s     2.6.12
# old workers
8               worker          1               0d00h00m01s     2.6.12
# programs
"""


def test_servers_are_read() -> None:
    """Only server lines count; their address comes without the port."""
    assert parse_servers(STAT) == (
        ServerView("web1-ab", "127.9.9.1", "UP", 100),
        ServerView("web2-cd", "127.9.9.2", "DOWN", 0),
        ServerView("web3-ef", "127.9.9.3", "UP 1/3", 256),
    )
    assert [server.is_up for server in parse_servers(STAT)] == [True, False, True]


def test_the_master_is_read() -> None:
    """Reloads are the master's; the worker is the new one, whatever old ones still live."""
    assert parse_master(PROC) == Master(reloads=3, worker=9)


@pytest.mark.parametrize("reply", ["", "Unknown command\n", "# pxname,svname\nnodes,web1\n"])
def test_what_is_no_table_is_refused(reply: str) -> None:
    """An answer that cannot be read is said to be so, or has no servers."""
    with pytest.raises(HAProxyUnreadableError):
        parse_master(reply)
    if "pxname" in reply:
        with pytest.raises(HAProxyUnreadableError):
            parse_servers(reply)
