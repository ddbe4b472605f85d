"""Actions as lines, replies as outcomes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import ProxyGarbled
from rosterd.model import (
    Action,
    AddServer,
    AdminState,
    CutSessions,
    DisableAgent,
    EnableAgent,
    EnableChecks,
    RemoveServer,
    Server,
    SetEndpoint,
    SetState,
    SetWeight,
)
from rosterd.proxy.actions import MAX_WORDS, Busy, Done, Refused, Result, batch, lines_of, result_of, split_replies

WEB = Server("web-1", 7, ip_address("10.0.0.1"), 80, 100, AdminState.READY)
RECORDED = (
    "\n> New server registered.\n\n> \n> \n> \n> IP changed from '127.0.0.1' to '127.0.0.2', port changed from '9998' "
    "to '9997' by 'stats socket command'\n\n> no need to change the addr, no need to change the port by 'stats socket "
    "command'\n\n> "
)
"""HAProxy 2.6.12: `add`, `enable health`, `enable server`, a weight, an address, the same again."""


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        (
            AddServer("nodes", WEB, ("check", "inter", "2s")),
            (
                "add server nodes/web-1 10.0.0.1:80 id 7 weight 100 check inter 2s",
                "set server nodes/web-1 weight 0",
                "enable server nodes/web-1",
                "enable health nodes/web-1",
            ),
        ),
        (
            AddServer("nodes", Server("v6", 8, ip_address("::1"), 80, 1, AdminState.READY), ("agent-check",)),
            (
                "add server nodes/v6 [::1]:80 id 8 weight 1 agent-check",
                "set server nodes/v6 weight 0",
                "enable server nodes/v6",
            ),
        ),
        (EnableAgent("nodes", "web-1"), ("enable agent nodes/web-1", "set server nodes/web-1 agent up")),
        (DisableAgent("nodes", "web-1"), ("disable agent nodes/web-1",)),
        (EnableChecks("nodes", "web-1"), ("enable health nodes/web-1",)),
        (SetWeight("nodes", "web-1", 0), ("set server nodes/web-1 weight 0",)),
        (
            SetEndpoint("nodes", "web-1", ip_address("::1"), 81),
            ("set server nodes/web-1 addr ::1 port 81",),
        ),
        (SetState("nodes", "web-1", AdminState.MAINT), ("set server nodes/web-1 state maint",)),
        (CutSessions("nodes", "web-1", 3), ("shutdown sessions server nodes/web-1",)),
        (RemoveServer("nodes", "web-1"), ("del server nodes/web-1",)),
    ],
)
def test_each_action_has_its_lines(action: Action, lines: tuple[str, ...]) -> None:
    """As the management guide writes them; a new server has its initial weight, and none for now."""
    assert lines_of(action) == lines


@pytest.mark.parametrize(
    ("action", "reply", "result"),
    [
        (AddServer("nodes", WEB, ()), "New server registered.", Done()),
        (
            AddServer("nodes", WEB, ()),
            "'cookie' option is not accepted for dynamic server",
            Refused("'cookie' option is not accepted for dynamic server"),
        ),
        (SetWeight("nodes", "web-1", 1), "", Done()),
        (SetWeight("nodes", "web-1", 1), "No such server.", Refused("No such server.")),
        (SetWeight("nodes", "web-1", 1), "No such backend.", Refused("No such backend.")),
        (RemoveServer("nodes", "web-1"), "No such server.", Done()),
        (RemoveServer("nodes", "web-1"), "Server deleted.", Done()),
        (RemoveServer("nodes", "web-1"), "Server still has connections attached to it, cannot remove it.", Busy()),
        (
            RemoveServer("nodes", "web-1"),
            "Only servers in maintenance mode can be deleted.",
            Refused("Only servers in maintenance mode can be deleted."),
        ),
    ],
)
def test_each_reply_means_something(action: Action, reply: str, result: Result) -> None:
    """What is not known as success is a refusal, with HAProxy's words."""
    assert result_of(action, [reply]) == result


def test_the_first_refusal_of_an_action_counts() -> None:
    """An addition that was refused makes the lines after it fail, too."""
    replies = ["Already exists a server with the same name in backend.", "No such server.", ""]
    assert result_of(AddServer("nodes", WEB, ("check",)), replies) == Refused(replies[0])


def test_recorded_replies_are_told_apart() -> None:
    """Each of the six has its own, the empty ones too."""
    replies = split_replies(RECORDED, 6)
    assert [bool(reply) for reply in replies] == [True, False, False, False, True, True]
    assert result_of(SetEndpoint("a", "b", WEB.address, 1), [replies[4]]) == Done()
    assert result_of(SetEndpoint("a", "b", WEB.address, 1), [replies[5]]) == Done()


@pytest.mark.parametrize("text", ["", "\n> ", RECORDED[:-3], RECORDED[2:], "Unknown command\n\n", RECORDED + "more"])
def test_another_number_of_replies_is_garbled(text: str) -> None:
    """A worker that dies in the middle is never taken for one that did it all."""
    with pytest.raises(ProxyGarbled):
        split_replies(text, 6)


@given(st.lists(st.text("abc.' ", max_size=9).map(str.strip)), st.sampled_from(["", "\n"]))
def test_replies_come_back_as_they_were(replies: list[str], ending: str) -> None:
    """However HAProxy ends them: with a blank line or without."""
    text = "\n> " + "".join(f"{reply}{ending}\n> " for reply in replies)
    assert split_replies(text, len(replies)) == tuple(replies)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=80), st.text(min_size=1, max_size=20))
def test_no_word_becomes_another_command(options: list[str], name: str) -> None:
    """Whatever the options and the name: the lines are whole words, few enough, or there is an error and no line."""
    server = Server(name, 7, WEB.address, 80, 100, AdminState.READY)
    try:
        lines = lines_of(AddServer("nodes", server, tuple(options)))
    except ValueError:
        return
    assert batch(lines).split("\n") == ["prompt", *lines, "quit"]
    for line in lines:
        assert len(line.split(" ")) <= MAX_WORDS
        assert not set(line) & set(";\n\r\\\"'#<\0\t")
        assert line.isascii()
