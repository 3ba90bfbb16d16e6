"""What a contract's code, storage and events tell about its kind: the tables and the scanner.

Pure. The follower asks the node for what is named here and puts what it finds into `streams.records.Contract`; the
classifier reads the same tables to name a class. Selectors, topics and interface ids are lower-case hex with `0x`.

Sources: the ERCs and EIPs named beside each constant; for events of projects, the interfaces in their repositories
(Uniswap, Safe, Axelar, GLIF, Filecoin Pay, PDP).
"""

import re
from dataclasses import dataclass

from streams.records import Address, Hash

IMPLEMENTATION_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
"""Where a proxy keeps its implementation (EIP-1967: keccak of "eip1967.proxy.implementation", less one)."""
BEACON_SLOT = "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"
"""Where a beacon proxy keeps its beacon (EIP-1967); the beacon answers `BEACON_CALL` with the implementation."""
BEACON_CALL = "0x5c60da1b"
"""`implementation()`."""

INTERFACES = {"0x80ac58cd": "ERC-721", "0xd9b67a26": "ERC-1155"}
"""The ERC-165 ids that `supportsInterface` is asked about. Few: each costs one `eth_call` per contract."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A standard or a well-known contract: code that answers all `functions` and logs all `events` has this shape."""

    name: str
    functions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()

    def fits(self, selectors: frozenset[str], topics: frozenset[Hash]) -> bool:
        """Whether all of the shape stands in the code."""
        return all(selector_of(one) in selectors for one in self.functions) and all(topic_of(one) in topics for one in self.events)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address stands in a log with `topics` topics: in topic number `topic`, or else in data word `word`."""

    topics: int
    topic: int | None = None
    word: int = 0


@dataclass(frozen=True, slots=True)
class Factory:
    """A kind of factory: the event that announces a child, and where the child's address stands in it.

    `places` are tried in turn, each for the number of topics it goes with: `topic` is an index into the topics, `word`
    into the 32-byte words of the data.
    """

    name: str
    event: str
    places: tuple[Place, ...]


TRANSFER = "Transfer(address,address,uint256)"
APPROVAL = "Approval(address,address,uint256)"
_DEPOSIT = "Deposit(address,address,uint256,uint256)"
_WITHDRAW = "Withdraw(address,address,address,uint256,uint256)"

FACTORIES = (
    Factory("univ2", "PairCreated(address,address,address,uint256)", (Place(topics=3, word=0),)),
    Factory("univ3", "PoolCreated(address,address,uint24,int24,address)", (Place(topics=4, word=1),)),
    # Safe 1.4 indexes the proxy, 1.3 does not; the topic is the same.
    Factory("safe-proxy", "ProxyCreation(address,address)", (Place(topics=2, topic=1), Place(topics=1, word=0))),
    Factory("glif-agent", "CreateAgent(uint256,address,address)", (Place(topics=4, topic=2),)),
)

STANDARDS = (
    Shape("Uniswap v2 pair", ("getReserves()", "token0()", "token1()")),
    Shape("Uniswap v3 pool", ("slot0()", "liquidity()", "token0()", "token1()")),
    Shape("Uniswap v2 factory", ("createPair(address,address)", "getPair(address,address)")),
    Shape("Uniswap v3 factory", ("createPool(address,address,uint24)", "getPool(address,address,uint24)")),
    Shape("Uniswap v2 router", ("swapExactTokensForTokens(uint256,uint256,address[],address,uint256)", "factory()")),
    Shape("Uniswap v3 router", ("exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))",)),
    Shape("Uniswap v3 router 2", ("exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))",)),
    Shape("Uniswap universal router", ("execute(bytes,bytes[],uint256)",)),
    Shape("Curve pool", ("exchange(int128,int128,uint256,uint256)", "get_dy(int128,int128,uint256)")),
    Shape("Axelar gateway", ("callContract(string,string,bytes)", "validateContractCall(bytes32,string,string,bytes32)")),
    Shape("Celer message bus", ("sendMessage(address,uint256,bytes)", "calcFee(bytes)")),
    Shape("Celer pool bridge", ("send(address,address,uint256,uint64,uint64,uint32)", "relay(bytes,bytes[],address[],uint256[])")),
    Shape("Wormhole core", ("publishMessage(uint32,bytes,uint8)", "parseAndVerifyVM(bytes)")),
    Shape("Chainlink aggregator", ("latestRoundData()", "getRoundData(uint80)")),
    Shape("Pyth", ("getPriceUnsafe(bytes32)", "updatePriceFeeds(bytes[])")),
    Shape("Tellor", ("submitValue(bytes32,bytes,uint256,bytes)", "retrieveData(bytes32,uint256)")),
    Shape("Governor", ("propose(address[],uint256[],bytes[],string)", "castVote(uint256,uint8)")),
    Shape("Governor Bravo", ("propose(address[],uint256[],string[],bytes[],string)", "castVote(uint256,uint8)")),
    Shape("timelock", ("schedule(address,uint256,bytes,bytes32,bytes32,uint256)", "getMinDelay()")),
    Shape(
        "Safe",
        ("execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)", "getThreshold()"),
    ),
    Shape("Safe proxy", ("masterCopy()",)),
    Shape("Filecoin Pay", ("settleRail(uint256,uint256)",)),
    Shape("PDP verifier", ("provePossession(uint256,(bytes32,bytes32[])[])",)),
    Shape("Lido-like staking", ("getPooledEthByShares(uint256)", "getSharesByPooledEth(uint256)")),
    Shape("Aave-like pool", ("getReserveData(address)", "liquidationCall(address,address,address,uint256,bool)")),
    Shape("Compound-like market", ("borrow(uint256)", "redeemUnderlying(uint256)", "exchangeRateStored()")),
    Shape(
        "ERC-4626",
        ("asset()", "totalAssets()", "convertToAssets(uint256)", "deposit(uint256,address)", "redeem(uint256,address,address)"),
    ),
    Shape("ERC-721", ("ownerOf(uint256)", "safeTransferFrom(address,address,uint256)", "setApprovalForAll(address,bool)")),
    Shape(
        "ERC-1155",
        ("balanceOfBatch(address[],uint256[])", "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)"),
    ),
    Shape("wrapped native token", ("deposit()", "withdraw(uint256)", "balanceOf(address)", "transfer(address,uint256)")),
    Shape(
        "ERC-20",
        (
            "totalSupply()",
            "balanceOf(address)",
            "transfer(address,uint256)",
            "transferFrom(address,address,uint256)",
            "approve(address,uint256)",
            "allowance(address,address)",
        ),
    ),
    Shape("Multicall3", ("aggregate3((address,bool,bytes)[])",)),
    Shape("ERC-4337 entry point", ("getNonce(address,uint192)", "depositTo(address)")),
)
"""Shapes of the functions that code answers, the most telling first: a pair is a token too, a vault as well."""

EVENT_SHAPES = (
    Shape("Uniswap v2 swaps", events=("Swap(address,uint256,uint256,uint256,uint256,address)",)),
    Shape("Uniswap v3 swaps", events=("Swap(address,address,int256,int256,uint160,uint128,int24)",)),
    Shape("pair creation", events=("PairCreated(address,address,address,uint256)",)),
    Shape("pool creation", events=("PoolCreated(address,address,uint24,int24,address)",)),
    Shape("Axelar calls", events=("ContractCall(address,string,string,bytes32,bytes)",)),
    Shape("Axelar transfers", events=("TokenSent(address,string,string,string,uint256)",)),
    Shape("Wormhole messages", events=("LogMessagePublished(address,uint64,uint32,bytes,uint8)",)),
    Shape("Chainlink answers", events=("AnswerUpdated(int256,uint256,uint256)",)),
    Shape("Pyth prices", events=("PriceFeedUpdate(bytes32,uint64,int64,uint64)",)),
    Shape("votes", events=("VoteCast(address,uint256,uint8,uint256,string)",)),
    Shape("Safe executions", events=("ExecutionSuccess(bytes32,uint256)",)),
    Shape("Safe creation", events=("ProxyCreation(address,address)",)),
    Shape("settled rails", events=("RailSettled(uint256,uint256,uint256,uint256,uint256,uint256)",)),
    Shape("settled rails before v1", events=("RailSettled(uint256,uint256,uint256,uint256,uint256)",)),
    Shape("proof fees", events=("ProofFeePaid(uint256,uint256)",)),
    Shape("vault deposits and withdrawals", events=(_DEPOSIT, _WITHDRAW)),
    Shape("GLIF loans", events=("Borrow(uint256,uint256)", "Pay(uint256,uint256,uint256,uint256,uint256)")),
    Shape("GLIF agents", events=("CreateAgent(uint256,address,address)",)),
    Shape("ERC-1155 transfers", events=("TransferSingle(address,address,address,uint256,uint256)",)),
    Shape("ERC-721 transfers", events=(TRANSFER, "ApprovalForAll(address,address,bool)")),
    Shape("ERC-20 transfers", events=(TRANSFER, APPROVAL)),
)
"""Shapes of the events that code logs, for code whose functions say nothing (jump tables of newer Vyper, hand-written code)."""

SELECTORS: dict[str, str] = {
    "0x0902f1ac": "getReserves()",
    "0x0dfe1681": "token0()",
    "0xd21220a7": "token1()",
    "0x3850c7bd": "slot0()",
    "0x1a686502": "liquidity()",
    "0xc9c65396": "createPair(address,address)",
    "0xe6a43905": "getPair(address,address)",
    "0xa1671295": "createPool(address,address,uint24)",
    "0x1698ee82": "getPool(address,address,uint24)",
    "0x38ed1739": "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)",
    "0xc45a0155": "factory()",
    "0x414bf389": "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))",
    "0x04e45aaf": "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))",
    "0x3593564c": "execute(bytes,bytes[],uint256)",
    "0x3df02124": "exchange(int128,int128,uint256,uint256)",
    "0x5e0d443f": "get_dy(int128,int128,uint256)",
    "0x1c92115f": "callContract(string,string,bytes)",
    "0x5f6970c3": "validateContractCall(bytes32,string,string,bytes32)",
    "0x9f3ce55a": "sendMessage(address,uint256,bytes)",
    "0x5335dca2": "calcFee(bytes)",
    "0xa5977fbb": "send(address,address,uint256,uint64,uint64,uint32)",
    "0xcdd1b25d": "relay(bytes,bytes[],address[],uint256[])",
    "0xb19a437e": "publishMessage(uint32,bytes,uint8)",
    "0xc0fd8bde": "parseAndVerifyVM(bytes)",
    "0xfeaf968c": "latestRoundData()",
    "0x9a6fc8f5": "getRoundData(uint80)",
    "0x96834ad3": "getPriceUnsafe(bytes32)",
    "0xef9e5e28": "updatePriceFeeds(bytes[])",
    "0x5eaa9ced": "submitValue(bytes32,bytes,uint256,bytes)",
    "0xc5958af9": "retrieveData(bytes32,uint256)",
    "0x7d5e81e2": "propose(address[],uint256[],bytes[],string)",
    "0x56781388": "castVote(uint256,uint8)",
    "0xda95691a": "propose(address[],uint256[],string[],bytes[],string)",
    "0x01d5062a": "schedule(address,uint256,bytes,bytes32,bytes32,uint256)",
    "0xf27a0c92": "getMinDelay()",
    "0x6a761202": "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)",
    "0xe75235b8": "getThreshold()",
    "0xa619486e": "masterCopy()",
    "0xbcd40bf8": "settleRail(uint256,uint256)",
    "0xf58f952b": "provePossession(uint256,(bytes32,bytes32[])[])",
    "0x7a28fb88": "getPooledEthByShares(uint256)",
    "0x19208451": "getSharesByPooledEth(uint256)",
    "0x35ea6a75": "getReserveData(address)",
    "0x00a718a9": "liquidationCall(address,address,address,uint256,bool)",
    "0xc5ebeaec": "borrow(uint256)",
    "0x852a12e3": "redeemUnderlying(uint256)",
    "0x182df0f5": "exchangeRateStored()",
    "0x38d52e0f": "asset()",
    "0x01e1d114": "totalAssets()",
    "0x07a2d13a": "convertToAssets(uint256)",
    "0x6e553f65": "deposit(uint256,address)",
    "0xba087652": "redeem(uint256,address,address)",
    "0x6352211e": "ownerOf(uint256)",
    "0x42842e0e": "safeTransferFrom(address,address,uint256)",
    "0xa22cb465": "setApprovalForAll(address,bool)",
    "0x4e1273f4": "balanceOfBatch(address[],uint256[])",
    "0x2eb2c2d6": "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
    "0xd0e30db0": "deposit()",
    "0x2e1a7d4d": "withdraw(uint256)",
    "0x70a08231": "balanceOf(address)",
    "0xa9059cbb": "transfer(address,uint256)",
    "0x18160ddd": "totalSupply()",
    "0x23b872dd": "transferFrom(address,address,uint256)",
    "0x095ea7b3": "approve(address,uint256)",
    "0xdd62ed3e": "allowance(address,address)",
    "0x82ad56cb": "aggregate3((address,bool,bytes)[])",
    "0x35567e1a": "getNonce(address,uint192)",
    "0xb760faf9": "depositTo(address)",
}
"""Every selector that the scanner knows, with its function's signature."""
TOPICS: dict[Hash, str] = {
    "0x0d3648bd0f6ba80134a33ba9275ac585d9d315f0ad8355cddefde31afa28d0e9": "PairCreated(address,address,address,uint256)",
    "0x783cca1c0412dd0d695e784568c96da2e9c22ff989357a2e8b1d9b2b4e6b7118": "PoolCreated(address,address,uint24,int24,address)",
    "0x4f51faf6c4561ff95f067657e43439f0f856d97c04d9ec9070a6199ad418e235": "ProxyCreation(address,address)",
    "0x804d5b2bc79ae16fc8fefb3681f47fbc5dd07c51404c26ef178a24dc8c037c4b": "CreateAgent(uint256,address,address)",
    "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822": "Swap(address,uint256,uint256,uint256,uint256,address)",
    "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67": "Swap(address,address,int256,int256,uint160,uint128,int24)",
    "0x30ae6cc78c27e651745bf2ad08a11de83910ac1e347a52f7ac898c0fbef94dae": "ContractCall(address,string,string,bytes32,bytes)",
    "0x651d93f66c4329630e8d0f62488eff599e3be484da587335e8dc0fcf46062726": "TokenSent(address,string,string,string,uint256)",
    "0x6eb224fb001ed210e379b335e35efe88672a8ce935d981a6896b27ffdf52a3b2": "LogMessagePublished(address,uint64,uint32,bytes,uint8)",
    "0x0559884fd3a460db3073b7fc896cc77986f16e378210ded43186175bf646fc5f": "AnswerUpdated(int256,uint256,uint256)",
    "0xd06a6b7f4918494b3719217d1802786c1f5112a6c1d88fe2cfec00b4584f6aec": "PriceFeedUpdate(bytes32,uint64,int64,uint64)",
    "0xb8e138887d0aa13bab447e82de9d5c1777041ecd21ca36ba824ff1e6c07ddda4": "VoteCast(address,uint256,uint8,uint256,string)",
    "0x442e715f626346e8c54381002da614f62bee8d27386535b2521ec8540898556e": "ExecutionSuccess(bytes32,uint256)",
    "0x14e2efd598f2db6bfe762fcf9a830ffdfcba170d263d4a4956f36176ba82d3f3": "RailSettled(uint256,uint256,uint256,uint256,uint256,uint256)",
    "0xe42468614e092798732296ffa7d33bc600fa46894019c210f8d21153b485822d": "RailSettled(uint256,uint256,uint256,uint256,uint256)",
    "0x58b7742b13c8873fc0ba58f695b33ca0044b2db7ff9c5208181dbaec2a5b291e": "ProofFeePaid(uint256,uint256)",
    "0xdcbc1c05240f31ff3ad067ef1ee35ce4997762752e3a095284754544f4c709d7": "Deposit(address,address,uint256,uint256)",
    "0xfbde797d201c681b91056529119e0b02407c7bb96a4a2c75c01fc9667232c8db": "Withdraw(address,address,address,uint256,uint256)",
    "0x044ec4d36b0d76019c4b5aec2a216dbca5ad6c6d671940c8fbbcd23cfe4e804b": "Borrow(uint256,uint256)",
    "0xbf0d333142d8550a97625890e80f07dc447be1a140bf10f54fbc8da279668ff6": "Pay(uint256,uint256,uint256,uint256,uint256)",
    "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62": "TransferSingle(address,address,address,uint256,uint256)",
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef": "Transfer(address,address,uint256)",
    "0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31": "ApprovalForAll(address,address,bool)",
    "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925": "Approval(address,address,uint256)",
}
"""Every first topic that the scanner knows, with its event's signature."""
_SELECTOR_OF = {function: selector for selector, function in SELECTORS.items()}
_TOPIC_OF = {event: topic for topic, event in TOPICS.items()}
FACTORY_OF: dict[Hash, Factory] = {_TOPIC_OF[factory.event]: factory for factory in FACTORIES}
"""The kind of factory by the first topic of its announcement."""


def selector_of(function: str) -> str:
    """The selector of a function in the tables, by its signature: `transfer(address,uint256)` is `0xa9059cbb`."""
    return _SELECTOR_OF[function]


def topic_of(event: str) -> Hash:
    """The first topic of an event in the tables, by its signature."""
    return _TOPIC_OF[event]


_PUSH1, _PUSH3, _PUSH4, _PUSH32 = 0x60, 0x62, 0x63, 0x7F
_JUMPDEST, _INVALID = b"\x5b", 0xFE
_KNOWN_SELECTORS = {bytes.fromhex(one[2:]): one for one in SELECTORS}
_KNOWN_TOPICS = {bytes.fromhex(one[2:]): one for one in TOPICS}

_COMPARED = re.compile(rb"(?:[\x80-\x8f]|\x60\x00\x51)?[\x14\x18]", re.DOTALL)
"""What follows the selector of a function that the code answers: EQ or XOR, maybe behind a DUP or (Vyper) MLOAD of word 0."""
_COMPARED_WITH_CALLDATA = re.compile(rb"\x60\x00\x35\x14")
"""What follows a selector that is held as a whole word: EQ with the first word of the input (the Safe proxy does so)."""


def scan(code: bytes) -> tuple[tuple[str, ...], tuple[Hash, ...]]:
    """The known selectors that `code` answers and the known topics that stand in it, each sorted.

    Walks the instructions, so data of a PUSH is never taken for one. A selector counts where the code compares it with
    its input, not where it calls another contract with it. What follows the code (metadata, the code of contracts that
    it creates) is left out: a factory of tokens is no token.
    """
    selectors: set[str] = set()
    topics: set[Hash] = set()
    place, end = 0, len(code)
    while place < end:
        operation = code[place]
        if operation == _INVALID and code[place + 1 : place + 2] != _JUMPDEST:
            break  # nothing can go on behind INVALID but at a JUMPDEST: the rest is data
        following = place + 1
        if _PUSH1 <= operation <= _PUSH32:
            following += operation - _PUSH1 + 1
            if operation in (_PUSH3, _PUSH4):
                known = _KNOWN_SELECTORS.get(code[place + 1 : following].rjust(4, b"\0"))
                if known is not None and _COMPARED.match(code, following):
                    selectors.add(known)
            elif operation == _PUSH32:
                word = code[place + 1 : following]
                if word in _KNOWN_TOPICS:
                    topics.add(_KNOWN_TOPICS[word])
                elif word[4:] == bytes(28) and word[:4] in _KNOWN_SELECTORS and _COMPARED_WITH_CALLDATA.match(code, following):
                    selectors.add(_KNOWN_SELECTORS[word[:4]])
        place = following
    return tuple(sorted(selectors)), tuple(sorted(topics))


_MINIMAL_PROXIES = (
    # EIP-1167 as written there
    re.compile(rb"\x36\x3d\x3d\x37\x3d\x3d\x3d\x36\x3d\x73(.{20})\x5a\xf4\x3d\x82\x80\x3e\x90\x3d\x91\x60\x2b\x57\xfd\x5b\xf3", re.DOTALL),
    # ERC-7511: the same with PUSH0
    re.compile(rb"\x36\x5f\x5f\x37\x5f\x5f\x36\x5f\x73(.{20})\x5a\xf4\x3d\x5f\x5f\x3e\x5f\x3d\x91\x60\x2a\x57\xfd\x5b\xf3", re.DOTALL),
)


def minimal_proxy_target(code: bytes) -> Address | None:
    """Where a minimal proxy (EIP-1167) sends every call, None for other code. Immutable arguments may follow it."""
    for form in _MINIMAL_PROXIES:
        if found := form.match(code):
            return "0x" + found[1].hex()
    return None


_HEX = re.compile("[0-9a-f]*")


def address_in(word: str) -> Address | None:
    """The address in a 32-byte word as hex (a storage slot, a topic), None if it is zero or not an address."""
    digits = word[2:].lower()
    if len(digits) != 64 or digits[:24].strip("0") or not digits[24:].strip("0") or not _HEX.fullmatch(digits):
        return None
    return "0x" + digits[24:]


def child(topics: tuple[Hash, ...], data: str) -> Address | None:
    """The contract that a factory announces by this log, None for any other log.

    Anybody can log anything: who trusts the announcement must look at the emitter.
    """
    factory = FACTORY_OF.get(topics[0]) if topics else None
    if factory is None:
        return None
    for place in factory.places:
        if place.topics == len(topics):
            start = 2 + 64 * place.word
            return address_in(topics[place.topic] if place.topic is not None else "0x" + data[start : start + 64])
    return None
