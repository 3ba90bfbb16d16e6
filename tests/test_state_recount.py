"""The samples of the bundled recording, through one process, against the naive recount: equal at every tipset that it tells of."""

import pytest
from redis.asyncio import Redis

from processors.run import replay
from processors.store import Store
from streams import sampler
from streams.settings import load
from tests.recount import Recount
from tests.state_recount import answers
from tests.test_recount import BUNDLED

EVERY_TIPSET = (
    *("power:raw_bytes", "power:quality_adjusted_bytes", "power:position_q128", "power:velocity_q128", "power:pledge_attofil"),
    *("burnt:attofil", "network_version"),
    *(f"supply:{part}_attofil" for part in ("vested", "mined", "burnt", "locked", "circulating", "reserve_disbursed")),
)


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_power_supply_and_f099_are_reproduced_at_every_tipset(
    redis: Redis, redis_socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first head to the last, through the reorgs of the recording: each canonical tipset has its samples, and no other height."""
    # However slow this machine is: nothing counts as far behind the head, and nothing that waits is given up.
    monkeypatch.setattr(sampler, "NEAR_EPOCHS", 10_000)
    monkeypatch.setattr(sampler, "MOST_WAITING", 10_000)
    flags = {"listen": "127.0.0.1:0", "replay_pace": 40, "windows": "20e", "redis_url": f"unix://{redis_socket}"}
    (snapshot,) = await replay(load({**flags, "nodes": ["replay:devnet"], "supply_every_epochs": 1}))
    told = answers(BUNDLED)
    chain = {int(block["number"], 16): block["hash"] for block in Recount(BUNDLED, lambda _: "unknown").chain()}
    store = Store(redis, "testing")
    for name in EVERY_TIPSET:
        wanted = {height: told[block][name] for height, block in chain.items() if name in told.get(block, {})}
        found = {sample.height: sample.value for sample in (await store.series.points(name)).recent}
        assert len(wanted) > 600
        assert found == wanted, name
    rewards = {sample.height: sample.value for sample in (await store.series.points("reward:minted_attofil")).recent}
    assert len(rewards) > 60
    assert rewards == {height: told[chain[height]]["reward:minted_attofil"] for height in rewards}
    assert snapshot.state.head == max(chain)
