"""Asking a node what a contract is."""

from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from processors.inquire import inquire
from processors.report import print_inquiry
from streams.addresses import delegated
from streams.errors import NodeFault, UsageError
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
