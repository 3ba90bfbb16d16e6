"""Lua scripts of the package: called by their digest, and given to a Redis that does not know them."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from streams.errors import StoreFault

RUN_ID = "local run = redis.call('INFO', 'server'):match('run_id:(%x+)')\n"
"""Begins scripts that have to know which run of the server they are in."""
_TRIES = 3


class Script:
    """One script. `redis` is a client that answers with bytes, `keys` are what the script may touch.

    Args:
        name: of the file in this package.
    """

    def __init__(self, name: str) -> None:
        self._text = files("processors").joinpath(name).read_text(encoding="utf-8")
        self._digest = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def call(self, redis: Any, keys: Sequence[str], *arguments: bytes | str) -> Any:
        """The script's answer.

        Raises:
            StoreFault: Redis forgets the script again and again.
        """
        for _ in range(_TRIES):
            try:
                return await redis.evalsha(self._digest, len(keys), *keys, *arguments)
            except NoScriptError:
                await self.load(redis)
        raise StoreFault("Redis loses its scripts as fast as it gets them")

    def queue(self, pipeline: Any, keys: Sequence[str], *arguments: bytes | str) -> None:
        """Put a call into a pipeline; its answer is a `NoScriptError` where Redis does not know the script."""
        pipeline.evalsha(self._digest, len(keys), *keys, *arguments)

    async def load(self, redis: Any) -> None:
        """Give Redis the script."""
        await redis.script_load(self._text)
