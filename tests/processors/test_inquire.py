"""Asking a node what a contract is."""

from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from msgspec.structs import replace
from redis.asyncio import Redis

from processors.inquire import inquire
from processors.report import print_inquiry
from processors.run import replay
from processors.store import Store
from processors.windows import parse_all
from streams.addresses import delegated
from streams.errors import NodeFault, UsageError
from streams.evidence import topic_of
from streams.records import Child
from streams.settings import Settings, load
from tests.node.server import Server
from tests.node.world import CONTRACT, PLAIN, Node, World

TOKEN_PROXY = "0x990c9b8a74608bf3b4593fbae1c547486a4417d9"
ALIAS = 5000


class Aliased(Node):
    """Knows the contract by an id as well."""

    def _stategetactor(self, actor: str, _key: object) -> dict[str, object]:
        return {"Balance": "0", "DelegatedAddress": delegated(CONTRACT) if actor == f"f0{ALIAS}" else None}


def settings(*nodes: str, **more: object) -> Settings:
    return load({"nodes": list(nodes), **more})


@pytest.mark.parametrize("text", [TOKEN_PROXY, delegated(TOKEN_PROXY), TOKEN_PROXY.upper().replace("X", "x")])
async def test_a_recorded_contract(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A proxy of a token, in any form of its address; every rule is shown with what it found."""
    found = (await inquire(settings("replay:devnet"), text)).plain()
    assert (found["address"], found["chain_id"], found["class"], found["project"]) == (TOKEN_PROXY, 314, "token", None)
    assert found["decided_by"] == "functions: ERC-20"
    assert found["implementation"] == "0x0a1ec37bbfd991308c10983e865b9566aec20c43"
    assert [one["rule"] for one in found["tried"] if one["class"]] == ["functions", "events"]
    print_inquiry(found)
    assert "functions: ERC-20" in capsys.readouterr().out


async def test_the_users_file_is_asked_too(tmp_path: Path) -> None:
    """An entry of it decides."""
    file = tmp_path / "mine.yaml"
    entry = f'{{address: "{to_checksum_address(TOKEN_PROXY)}", name: coin, class: stablecoin}}'
    file.write_text(f"chains:\n  314:\n    Mine:\n      - {entry}\n")
    found = await inquire(settings("replay:devnet", registry=file), TOKEN_PROXY)
    assert (found.verdict.contract_class, found.verdict.project, found.tried[0].verdict) == ("stablecoin", "Mine", found.verdict)


FACTORY, CHILD = "0x9c6f193a1bad24b0da2ca65aebff444f2e93071f", "0xf9911c3b0ea0a698c98eb1c676fbfb680622ce5a"
NFT, VAULT = "0xa07fc3a4a56d5e5d29d6fbaf278c3e36b6a7c78b", "0x8941c19c5765b9c59b7e0b150921a4ed95a836af"
COIN = "0x8dc539b695f2c50c77d502d917556b7714da8756"


def with_factory(tmp_path: Path, kind: str) -> Path:
    """A file that names the factory of the recording as one of this kind."""
    file = tmp_path / "factory.yaml"
    entry = f'{{address: "{to_checksum_address(FACTORY)}", name: factory, class: infra, factory: {kind}}}'
    file.write_text(f"chains:\n  314:\n    Mine:\n      - {entry}\n")
    return file


async def test_who_made_a_contract_is_asked_of_a_followers_redis(
    redis: Redis, redis_socket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No state tells it: with what a trace or an event told, the child of a registered factory has its class and project."""
    asking = settings("replay:devnet", registry=with_factory(tmp_path, "safe-proxy"), data_dir=tmp_path)
    alone = await inquire(asking, CHILD)
    assert (alone.verdict.contract_class, alone.followed) == ("unknown", False)
    print_inquiry(alone.plain())
    assert capsys.readouterr().out.count("not known: name the Redis of a follower") == 2
    store = Store(redis, "testing")
    await store.configure(parse_all(["20e"]))
    asking = settings("replay:devnet", registry=asking.registry, redis_url=f"unix://{redis_socket}")
    child = Child(FACTORY, topic_of("ProxyCreation(address,address)"))
    for born in ({"created_by": FACTORY}, {"child_of": child}):
        await store.save_contracts([replace(alone.contract, **born)])
        found = await inquire(asking, CHILD)
        assert (found.verdict.contract_class, found.verdict.project) == ("multisig", "Mine")
        assert str(found.verdict.evidence) == "registered factory: Mine factory"
        print_inquiry(found.plain())
        assert [FACTORY in line for line in capsys.readouterr().out.splitlines()].count(True) == 1
    await store.save_contracts([replace(alone.contract, code_hash="0x" + "11" * 32, created_by=FACTORY)])
    assert (await inquire(asking, CHILD)).verdict.contract_class == "unknown"
    await store.save_contracts([replace(alone.contract, created_by=FACTORY)])
    await store.write_facts({"chain_id": "5"})
    assert (await inquire(asking, CHILD)).verdict.contract_class == "unknown"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_contracts_of_a_followed_recording(redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """Followed to its end, each of its contracts has its class, what decided it, and the factory's child who made it, from its trace."""
    flags = {"listen": "127.0.0.1:0", "replay_pace": 1000, "windows": "20e", "redis_url": f"unix://{redis_socket}"}
    registry = with_factory(tmp_path, "safe-proxy")
    await replay(settings("replay:devnet", registry=registry, **flags))
    asking = settings("replay:devnet", registry=registry, redis_url=f"unix://{redis_socket}")
    found = {address: (await inquire(asking, address)).plain() for address in (COIN, NFT, VAULT, TOKEN_PROXY, FACTORY, CHILD)}
    assert {address: (one["class"], one["decided_by"]) for address, one in found.items()} == {
        COIN: ("token", "functions: ERC-20"),
        NFT: ("nft", "interface: ERC-721"),
        VAULT: ("defi-lending", "functions: ERC-4626"),
        TOKEN_PROXY: ("token", "functions: ERC-20"),
        FACTORY: ("infra", "registry: Mine factory"),
        CHILD: ("multisig", "registered factory: Mine factory"),
    }
    assert (found[CHILD]["created_by"], found[CHILD]["project"], found[COIN]["created_by"]) == (FACTORY, "Mine", None)


async def test_an_id_stands_for_the_contract_that_has_it() -> None:
    """By the delegated address that the node tells."""
    world = World()
    world.advance(0, 0)
    async with Server(Aliased(world)) as server:
        found = await inquire(settings(server.url), f"f0{ALIAS}")
        assert found.contract.address == CONTRACT
        with pytest.raises(UsageError, match="there is no contract on chain 314"):
            await inquire(settings(server.url), PLAIN)


async def test_the_next_node_is_asked() -> None:
    """Where one can not be reached; where none can, all are named."""
    world = World()
    world.advance(0, 0)
    async with Server(Node(world, native=False)) as server:
        found = await inquire(settings("away=ws://127.0.0.1:1/rpc/v1", server.url), CONTRACT)
        assert found.verdict.contract_class == "unknown"
    with pytest.raises(NodeFault, match=r"away: .*; node2: "):
        await inquire(settings("away=ws://127.0.0.1:1/rpc/v1", "ws://127.0.0.1:2/rpc/v1"), CONTRACT)
