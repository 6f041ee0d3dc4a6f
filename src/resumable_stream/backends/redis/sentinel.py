"""The master of a set of servers, as its Sentinels name it."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from .commands import send
from .connections import Address, Connect, Connections, DirectConnection, disconnect, make_closed_error
from .errors import is_forbidden

_ASK_TIMEOUT = 1.0
_DOWN = {"s_down", "o_down"}


class SentinelMaster:
    """Connects to whichever server is the master. It asks for each connection anew, and keeps none to a Sentinel.

    Args:
        sentinels: How to connect to each.
        service: The name under which they watch the set.
        connections: How to connect to the master, wherever it is.
        min_other_sentinels: How many others a Sentinel must see to be believed.
        host: Where the master is, whatever host they name.
    """

    def __init__(
        self,
        sentinels: Sequence[Connect],
        service: str,
        connections: Connections,
        *,
        min_other_sentinels: int = 0,
        host: str | None = None,
    ) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._connections = connections
        self._min_other_sentinels = min_other_sentinels
        self._host = host

    async def connect(self) -> AbstractConnection:
        """Return a new connection to the master.

        Raises:
            RedisError, OSError, TimeoutError: There is none, or it cannot be reached.
        """
        connection = await self._connections.connect(await self._find())
        try:
            await _check_role(connection)
        except BaseException:
            await disconnect(connection)
            raise
        return connection

    async def _find(self) -> Address:
        problem: Exception = MasterNotFoundError("no Sentinel knows a master that is up")
        for sentinel in list(self._sentinels):
            try:
                found = await self._ask(sentinel)
            except (RedisError, OSError) as error:
                if is_forbidden(error):
                    problem = error
                continue
            if found is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)  # it answers, so it is asked first next time
                return found
        raise problem

    async def _ask(self, sentinel: Connect) -> Address | None:
        connection = DirectConnection(sentinel, _ASK_TIMEOUT)
        try:
            reply = await send(connection, "SENTINEL", "MASTER", self._service)
        finally:
            await connection.aclose(make_closed_error)
        state = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
        is_cut_off = int(state["num-other-sentinels"]) < self._min_other_sentinels
        if is_cut_off or _DOWN & set(state["flags"].split(",")):
            return None
        return Address(self._host or state["ip"], int(state["port"]))


async def _check_role(connection: AbstractConnection) -> None:
    """Raise if this is no master: a Sentinel may not have heard yet."""
    await connection.send_packed_command(connection.pack_command("ROLE"), check_health=False)
    try:
        role, *_ = await connection.read_response(disable_decoding=True)
    except ResponseError:
        return  # users who may not ask find out when they write
    if role != b"master":
        raise ReadOnlyError("not the master any more")
