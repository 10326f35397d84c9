"""What an unproven UDP address gets: never more bytes than came from it.

A packet with another machine's address in it has its answer sent there. So until a client has shown
that it receives what is sent to its address, by acknowledging a sequence id that it cannot know otherwise, no more
is sent to that address than has come from it. What does not fit is dropped: the client asks again, and each time
makes room for more. Clients of ours ask with packets that are longer than their answers; an original client gets the
answer to its second NEW_SESS, five seconds after the first, for its first is 12 bytes shorter than the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from haild.cld.session import Datagrams

MAXIMUM_ADDRESSES: Final = 4096
"""Addresses whose bytes are counted; of one that is dropped, everything counts as sent."""

_Address = tuple[str, int]


class Reflection:
    """Counts, for each address, the bytes that came from it and have not been answered."""

    def __init__(self) -> None:
        self._credit: OrderedDict[_Address, int] = OrderedDict()

    def received(self, peer: Datagrams, size: int) -> None:
        """A datagram of `size` bytes came."""
        address = peer[:2]
        self._credit[address] = self._credit.pop(address, 0) + size
        if len(self._credit) > MAXIMUM_ADDRESSES:
            self._credit.popitem(last=False)

    def may_send(self, peer: Datagrams, size: int, *, proven: bool) -> bool:
        """Whether a datagram of `size` bytes may be sent; if so, it counts as sent."""
        credit = self._credit.get(peer[:2], 0)
        if not proven and credit < size:
            return False
        if credit:
            self._credit[peer[:2]] = max(0, credit - size)
        return True
