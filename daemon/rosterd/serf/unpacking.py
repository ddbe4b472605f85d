"""Cuts the agent's byte stream into msgpack objects, and decodes each within bounds. No I/O, no clock.

A few bytes on the wire can become many objects in memory: an empty map is one byte there and 64 bytes here. So the
stream is cut into objects first, by a pass that makes no Python object, and only a whole object is decoded. Rules:

- Every message of the protocol is a map, and no list occurs but that of members, which the caller reads one by one.
- A message is bounded in bytes by `MESSAGE_LIMIT` and in map entries, those of nested maps included, by `ENTRY_LIMIT`;
  a map by `MAP_LIMIT`; nesting by the decoder's own stack.
- A length that the stream announces reserves no memory.
- Whatever exceeds a bound, and memory that is not there, raises `SerfOutOfStep`. The stream then has no known position.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeAlias, TypeVar

import msgpack

from rosterd.errors import SerfOutOfStep

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one message. 10,000 members take 2 MB; the rest is for long names and full tags."""

ENTRY_LIMIT: Final = 1_000_000
"""Map entries of one message. 10,000 members with 20 tags each have 330,000."""

MAP_LIMIT: Final = 256
"""Entries of one map. Serf bounds all tags of a member to 512 bytes, so to fewer than 200."""

LIST_LIMIT: Final = 65_536
"""Items of one list, so members too."""

FEED_SIZE: Final = 65_536
"""Bytes that are taken in at once: what is held of a message is checked at least this often."""

Map: TypeAlias = dict[object, object]
_Read = TypeVar("_Read")

Partial: TypeAlias = Generator[None, None, _Read]
"""Yields whenever it needs more bytes, and returns what it reads."""


class Unpacking:
    """Reads the objects of one stream. Feed it at most `FEED_SIZE` bytes at a time, and read until more is needed."""

    def __init__(self) -> None:
        self._cutter = msgpack.Unpacker(raw=True, max_buffer_size=MESSAGE_LIMIT + FEED_SIZE)
        self._bytes = bytearray()
        self._start = 0
        self._message_start = 0
        self._entries = 0

    def feed(self, data: bytes) -> None:
        """Take bytes of the stream."""
        self._bytes += data
        self._cutter.feed(data)

    def check_length(self) -> None:
        """Check the message that has begun and is not complete, once all that can be read of it was read.

        Raises:
            SerfOutOfStep: it is too long.
        """
        if self._start + len(self._bytes) - self._message_start > MESSAGE_LIMIT:
            raise SerfOutOfStep(f"a message of more than {MESSAGE_LIMIT} bytes")

    def begin_message(self) -> None:
        """Count bytes and entries anew."""
        self._message_start = self._start
        self._entries = 0

    def map(self, where: str) -> Partial[object]:
        """Read a map; `where` names it in an error."""
        for _ in range(2 * (yield from self._map_header(where))):
            yield from self._wait_for(self._cutter.skip)
        return self._decode(where)

    def open_map(self, where: str) -> Partial[int]:
        """Read how many entries a map has; its keys and values come next, one by one."""
        length = yield from self._map_header(where)
        self._drop()
        return length

    def open_list(self, where: str) -> Partial[int]:
        """Read how many items a list has; they come next, one by one."""
        length: int = yield from self._wait_for(self._cutter.read_array_header, f"{where} is no list")
        if length > LIST_LIMIT:
            raise SerfOutOfStep(f"{where} is a list of {length} items; {LIST_LIMIT} are the most")
        self._drop()
        return length

    def item(self, where: str) -> Partial[object]:
        """Read one object of any kind but a list with items."""
        yield from self._wait_for(self._cutter.skip)
        return self._decode(where)

    def skip_map(self, where: str) -> Partial[None]:
        """Pass over a map without decoding it."""
        for _ in range(2 * (yield from self._map_header(where))):
            yield from self._wait_for(self._cutter.skip)
        self._drop()

    def skip(self) -> Partial[None]:
        """Pass over one object without decoding it."""
        yield from self._wait_for(self._cutter.skip)
        self._drop()

    # --- inside -------------------------------------------------------------------------------------------------

    def _map_header(self, where: str) -> Partial[int]:
        length: int = yield from self._wait_for(self._cutter.read_map_header, f"{where} is no map")
        if length > MAP_LIMIT:
            raise SerfOutOfStep(f"{where} is a map of {length} entries; {MAP_LIMIT} are the most")
        return length

    def _wait_for(self, read: Callable[[], _Read], misfit: str = "") -> Partial[_Read]:
        while True:
            try:
                return read()
            except msgpack.OutOfData:
                yield
            except (ValueError, msgpack.exceptions.UnpackException) as error:
                raise SerfOutOfStep(misfit or _undecodable(error)) from None

    def _decode(self, where: str) -> object:
        """Decode the bytes up to where the stream was cut."""
        try:
            return msgpack.unpackb(
                self._taken(), raw=True, max_array_len=0, max_map_len=MAP_LIMIT, object_hook=self._count
            )
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise SerfOutOfStep(f"{where}: {_undecodable(error)}") from None
        except MemoryError:
            raise SerfOutOfStep(f"{where}: there is no memory to decode it") from None

    def _count(self, decoded: Map) -> Map:
        self._entries += 1 + len(decoded)
        if self._entries > ENTRY_LIMIT:
            raise SerfOutOfStep(f"a message of more than {ENTRY_LIMIT} map entries")
        return decoded

    def _taken(self) -> bytes:
        length = self._cutter.tell() - self._start
        taken = bytes(memoryview(self._bytes)[:length])
        self._drop()
        return taken

    def _drop(self) -> None:
        end = self._cutter.tell()
        del self._bytes[: end - self._start]
        self._start = end


def _undecodable(error: Exception) -> str:
    return f"undecodable bytes: {str(error) or type(error).__name__}"
