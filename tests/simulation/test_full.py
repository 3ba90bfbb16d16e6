"""A few histories before the product's own processes."""

import pytest

from tests.brokers import Broker
from tests.simulation.__main__ import again_in_full
from tests.simulation.full import play

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("seed", [0, 2])
async def test_one_process_ends_in_the_recount(seed: int) -> None:
    """`fvm-pulse run` between faulty nodes and a Redis that is killed: the recount."""
    await _play(seed, None)


@pytest.mark.kafka
@pytest.mark.parametrize("seed", [1])
async def test_many_processes_end_in_the_recount(kafka: Broker, seed: int) -> None:
    """A follower and two workers on Kafka, each of which may be killed: the recount."""
    await _play(seed, kafka)


async def _play(seed: int, kafka: Broker | None) -> None:
    try:
        await play(seed, kafka)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{again_in_full(seed)}") from error
