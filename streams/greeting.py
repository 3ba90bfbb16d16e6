"""The first words on a connection: what the node is, what it will tell by itself, and where tipsets stand."""

from dataclasses import dataclass

from streams.chain import Link
from streams.errors import NodeFault
from streams.records import Hash
from streams.rpc import NO_SUCH_METHOD, NULL_ROUND, Answer, Call, RpcError
from streams.tasks import Fetch
from streams.wire import Cid, EthHeader, HexHeight, NetworkName, Tipset, read

NETWORKS = {314: "mainnet", 314159: "calibrationnet", 31415926: "devnet"}
"""Labels for chain ids whose node does not tell its network's name."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a node says of itself when a connection is opened; `native` nodes serve `Filecoin.*`."""

    chain_id: int
    network: str | None
    native: bool
    streams_logs: bool
    head: Link | None

    @property
    def label(self) -> str:
        """What the network is called: by the node, or else by its chain id."""
        return self.network or NETWORKS.get(self.chain_id, f"chain-{self.chain_id}")

    def check(self, chain_id: int | None, network: str | None) -> None:
        """See that this is the chain and the network that are followed, where they are known.

        Raises:
            NodeFault: it is another one.
        """
        if chain_id is not None and self.chain_id != chain_id:
            raise NodeFault(f"wrong chain id {self.chain_id}, expected {chain_id}", retryable=False)
        if network is not None and self.network is not None and self.network != network:
            raise NodeFault(f"another network, {self.network!r} instead of {network!r}", retryable=False)


def greet() -> Fetch[Greeting]:
    """Learn what the node is, and subscribe.

    Raises:
        NodeFault: not retryable where the node has no eth RPC or no subscriptions.
    """
    chain, network = yield Call("eth_chainId"), Call("Filecoin.StateNetworkName")
    if chain.error is not None and _no_eth(chain.error):
        raise NodeFault("the node has no eth RPC: enable it (Lotus: Fevm.EnableEthRPC), or use another node", retryable=False)
    chain_id = int(read(chain.required(), HexHeight, "eth_chainId"), 16)
    _check_busy(network)
    name = read(network.result, NetworkName, "StateNetworkName") if network.result is not None else None
    notify, heads, logs = yield (
        Call("Filecoin.ChainNotify"),
        Call("eth_subscribe", ("newHeads",)),
        Call("eth_subscribe", ("logs", {})),
    )
    _check_busy(notify, heads)
    native = notify.result is not None
    if not native and heads.result is None:
        raise NodeFault("the node offers neither ChainNotify nor eth_subscribe newHeads over this connection", retryable=False)
    latest = None if native else (yield from latest_link())
    return Greeting(chain_id, name, native, logs.result is not None, latest)


def _check_busy(*answers: Answer) -> None:
    """A node that is busy for a moment is not a node without these methods: one is refused for good, or loses its native view."""
    for answer in answers:
        if answer.error is not None and answer.error.passing:
            answer.required()


def _no_eth(error: RpcError) -> bool:
    """Whether the node has no eth methods at all; a Lotus that has them switched off says so in words, with code 1."""
    return error.code == NO_SUCH_METHOD or "module disabled" in error.message


def latest_link() -> Fetch[Link | None]:
    """The newest executed tipset by the eth view, None if the node will not say."""
    (answer,) = yield (Call("eth_getBlockByNumber", ("latest", False)),)
    return None if answer.result is None else Link.of_header(read(answer.result, EthHeader, "eth_getBlockByNumber"))


def fetch_link(block: Hash, key: tuple[Cid, ...]) -> Fetch[Link]:
    """The place of a tipset in the chain, by its key where it is known, else by its eth hash."""
    if key:
        (answer,) = yield (Call("Filecoin.ChainGetTipSet", (key,)),)
        if answer.result is not None:
            return _expected(Link.of_tipset(read(answer.result, Tipset, "ChainGetTipSet")), block)
    (answer,) = yield (Call("eth_getBlockByHash", (block, True)),)
    return _expected(Link.of_header(read(answer.required(), EthHeader, "eth_getBlockByHash")), block)


def fetch_link_at(height: int, key: tuple[Cid, ...]) -> Fetch[Link | None]:
    """The tipset at `height` (None: a null round), below the tipset `key` where that is known."""
    if key:
        (answer,) = yield (Call("Filecoin.ChainGetTipSetAfterHeight", (height, key)),)
        return Link.of_tipset(read(answer.required(), Tipset, "ChainGetTipSetAfterHeight"))
    (answer,) = yield (Call("eth_getBlockByNumber", (hex(height), False)),)
    if answer.error is not None and answer.error.code == NULL_ROUND:
        return None
    return Link.of_header(read(answer.required(), EthHeader, "eth_getBlockByNumber"))


def _expected(link: Link, block: Hash) -> Link:
    if link.hash != block:
        raise NodeFault(f"asked for the tipset {block}, got {link.hash} at height {link.height}")
    return link
