"""Members for tests: a builder with plain values, and hypothesis strategies for what a network may send."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product

from hypothesis import strategies as st

from rosterd.model import MemberRecord
from rosterd.roster import EMPTY, Table, advance


class Everybody:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


EVERYBODY = Everybody()
"""For tests in which each member has a server."""


def record(name: str, address: str = "10.0.0.1", status: str = "alive", **tags: str) -> MemberRecord:
    """Return what the agent says of a member with the tag `role=backend`, unless `tags` give another role."""
    return MemberRecord(
        name=name.encode(),
        address=ip_address(address).packed,
        port=7946,
        tags={tag.encode(): value.encode() for tag, value in {"role": "backend", **tags}.items()},
        status=status.encode(),
    )


def table_of(*records: MemberRecord) -> Table:
    """Return the table after one reply at second 0."""
    table, _ = advance(EMPTY, records, 0.0, served=EVERYBODY)
    return table


STATUSES = ("alive", "leaving", "left", "failed")

_TAGS: tuple[dict[str, str], ...] = (
    {},
    {"port": "80"},
    {"port": "81", "weight": "0"},
    {"port": "3000", "state": "drain"},
    {"weight": "10", "state": "maint"},
    {"role": "other"},
    {"role": "other", "port": "80"},
    {"port": "0"},
    {"weight": "257"},
    {"state": "gone"},
)
"""Tags of a small cluster; the last three do not parse."""

_FORMS = tuple(product([f"10.0.0.{number}" for number in range(1, 5)], ("alive", *STATUSES), _TAGS))

clusters = st.dictionaries(
    st.sampled_from([f"web-{number}" for number in range(6)]), st.sampled_from(_FORMS), max_size=6
).map(lambda forms: [record(name, address, status, **tags) for name, (address, status, tags) in forms.items()])
"""Replies of an agent: few names and addresses, so that they meet often."""

hostile_text = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"a",
            b"A" * 128,
            b"A" * 129,
            b"a b",
            b"a\nserver evil 10.9.9.9:80",
            b"web-1\n",
            b'a"b',
            b"$HOME",
            b"a\x00b",
            b"-a",
            b".a",
            b"FRONTEND",
            b"BACKEND",
            "\uff11".encode(),
            b"1",
            b"65535",
            b"00080",
        ]
    ),
)
"""What somebody who reaches the gossip port may send in place of text."""

hostile_records = st.builds(
    MemberRecord,
    name=hostile_text,
    address=st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16), st.binary(max_size=20)),
    port=st.integers(0, 2**16),
    tags=st.dictionaries(
        st.one_of(st.sampled_from([b"node", b"role", b"port", b"weight", b"state"]), hostile_text),
        hostile_text,
        max_size=6,
    ),
    status=st.one_of(st.sampled_from([status.encode() for status in STATUSES]), hostile_text),
)


def forms_of(address: str) -> tuple[str, str, str, str, str]:
    """Return IPv6 addresses that lead to an IPv4 address: mapped, compatible, NAT64, 6to4, Teredo."""
    number = int(IPv4Address(address))
    return (
        f"::ffff:{address}",
        str(IPv6Address(number)),
        str(IPv6Address(int(IPv6Address("64:ff9b::")) | number)),
        str(IPv6Address(int(IPv6Address("2002::")) | number << 80)),
        str(IPv6Address(int(IPv6Address("2001:0:cb00:7101::")) | number ^ 0xFFFFFFFF)),
    )
