"""What is written in one turn of the event loop is sent together, and nothing is held back at the end."""

import asyncio
from collections.abc import Iterable

from inferqueue_proxy.connections import Corked


class Wire(asyncio.Transport):
    """Notes each time that something is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_head_and_body_go_together() -> None:
    async def run() -> None:
        wire = Wire()
        corked = Corked(wire, asyncio.get_running_loop())
        corked.write(b"head ")
        corked.write(b"body")
        assert wire.sent == []
        await asyncio.sleep(0)
        corked.write(b"next")
        await asyncio.sleep(0)
        assert wire.sent == [b"head body", b"next"]

    asyncio.run(run())


def test_closing_sends_what_is_pending_first() -> None:
    async def run() -> None:
        wire = Wire()
        corked = Corked(wire, asyncio.get_running_loop())
        corked.write(b"last words")
        corked.close()
        await asyncio.sleep(0)
        assert wire.sent == [b"last words"]
        assert corked.is_closing()

    asyncio.run(run())
