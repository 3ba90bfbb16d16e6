"""The registry: what public sources (and the user) say about contracts, read from YAML and checked to the line.

`contracts.yaml` beside this module is bundled; a file of the user's in the same form is merged over it, entry by entry. Each
section of the file has its own reader in `_Reader.read`; a new section is one more of them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import yaml
from eth_utils.address import is_address, to_checksum_address
from msgspec.structs import fields
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from processors.classify import CLASSES, UNKNOWN, Contracts, Entry
from processors.economy import (
    BridgedToken,
    Declaration,
    Economy,
    Gateway,
    PaymentContract,
    PaymentToken,
    Pool,
    Price,
    conflict,
    economy_of,
    key_of,
)
from streams.errors import RegistryError
from streams.evidence import FACTORIES
from streams.greeting import NETWORKS
from streams.pools import ADAPTERS
from streams.records import Address

T = TypeVar("T", bound=msgspec.Struct)

BUNDLED = Path(__file__).with_name("contracts.yaml")
VERSION = "1"

_CHAIN_ID = re.compile("[1-9][0-9]{0,18}")
_FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For the bundled file only: six times as fast, but deep nesting ends the process."""


@dataclass(frozen=True)
class Registry:
    """All that is said about contracts, by chain id and lower-case address; `sources` by their short names; the money by chain id."""

    chains: Mapping[int, Mapping[Address, Entry]]
    sources: Mapping[str, str]
    economies: Mapping[int, Economy] = field(default_factory=dict)
    own: Mapping[int, Economy] = field(default_factory=dict)
    """What of `economies` the user's file says."""

    @classmethod
    def load(cls, overlay: Path | None = None) -> "Registry":
        """The bundled file, with the entries and sources of `overlay` over it.

        Raises:
            RegistryError: a file can not be read, or something in it is not allowed; names file, line and what is.
        """
        bundled = parse(BUNDLED.read_text(encoding="utf-8"), BUNDLED.name, loader=_FAST)
        if overlay is None:
            return bundled
        over = read(overlay, bundled)
        return replace(bundled.merged(over), own=over.economies)

    def merged(self, over: "Registry") -> "Registry":
        """This registry, with each entry replaced for which `over` has one."""
        chain_ids = sorted({*self.chains, *over.chains})
        chains = {one: {**self.chains.get(one, {}), **over.chains.get(one, {})} for one in chain_ids}
        economies = {one: self.economy(one).merged(over.economy(one)) for one in {*self.economies, *over.economies}}
        return Registry(chains, {**self.sources, **over.sources}, economies)

    def economy(self, chain_id: int, network: str | None = None) -> Economy:
        """The pools, bridges, payments and prices of one chain.

        A private network may say 314 too: where `network` is not the public one with this chain id, nothing bundled is there, and
        only what the user's file says is asked about.
        """
        public = network is None or network == NETWORKS.get(chain_id, network)
        return (self.economies if public else self.own).get(chain_id, Economy())

    def for_chain(self, chain_id: int, network: str | None = None) -> Contracts:
        """The contracts of one chain; none if nothing is known about it.

        What is known of the contracts of mainnet does no harm on a private network that says 314: their addresses name other code
        only where a deployment is the same on every chain, and then it has the same class.
        """
        return Contracts(self.chains.get(chain_id, {}), self.economy(chain_id, network))


def read(path: Path, known: Registry | None = None) -> Registry:
    """What one file says; it may name sources and pools of its own and those of `known`, which it will be merged over.

    Raises:
        RegistryError: the file can not be read, or something in it is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RegistryError(f"{path}: can not be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    return parse(text, str(path), known)


def parse(text: str, name: str, known: Registry | None = None, *, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Registry:
    """What the text of a file says, which complaints call `name`.

    Raises:
        RegistryError: something in it is not allowed.
    """
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise RegistryError(f"{name}{line}: is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise RegistryError(f"{name}: is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise RegistryError(f"{name}: is nested too deeply") from error
    return _Reader(name, known or Registry({}, {})).read(root)


_CHOICES: dict[str, tuple[str, ...]] = {
    "class": tuple(one for one in CLASSES if one != UNKNOWN),
    "confidence": ("A", "B", "C"),
    "factory": tuple(one.name for one in FACTORIES),
    "adapter": tuple(ADAPTERS),
    "pair": ("FIL/USD",),
    "oracle": ("pyth",),
    "underlying": ("FIL", "USD"),
}
_ADDRESSES = ("address", "implementation", "share")
_LISTS_OF_ADDRESSES = ("wrapped",)
_MONEY: dict[str, tuple[str, type[Declaration]]] = {
    "pools": ("a pool", Pool),
    "gateways": ("a gateway", Gateway),
    "bridged_tokens": ("a bridged token", BridgedToken),
    "payment_contracts": ("a payment contract", PaymentContract),
    "payment_tokens": ("a payment token", PaymentToken),
    "prices": ("a price", Price),
}
"""The sections about money; each has a list of such lines by chain id."""
_SECTIONS = ("version", "sources", "chains", *_MONEY)


@dataclass
class _Reader:
    """Reads one composed file; every complaint has the line of the node that it is about."""

    name: str
    known: Registry
    sources: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Node | None) -> Registry:
        if root is None:
            raise RegistryError(f"{self.name}: is empty; allowed: {', '.join(_SECTIONS)}")
        sections = self.mapping(root, "the file", _SECTIONS)
        if "version" in sections and (version := self.scalar(sections["version"], "version")) != VERSION:
            self.fail(sections["version"], f"version {version}: allowed: {VERSION}")
        own = self.mapping(sections["sources"], "sources") if "sources" in sections else {}
        named = {name: self.scalar(node, f"source {name}") for name, node in own.items()}
        self.sources = {**self.known.sources, **named}
        chains = self.pairs(sections["chains"], "chains") if "chains" in sections else []
        by_chain = {self.chain_id(key): self.chain(value, self.scalar(key, "a key")) for key, value in chains}
        return Registry(by_chain, named, self.economies(sections))

    def economies(self, sections: Mapping[str, Node]) -> dict[int, Economy]:
        """The sections about money, by chain id; each line must go with what stands before it, and with what is known."""
        found: dict[int, Economy] = {}
        for section in _MONEY:
            for key, lines in self.pairs(sections[section], section) if section in sections else ():
                chain_id = self.chain_id(key)
                before = found.get(chain_id, Economy())
                found[chain_id] = before.merged(self.lines(section, lines, self.known.economy(chain_id).merged(before)))
        return found

    def lines(self, section: str, node: Node, around: Economy) -> Economy:
        """One section of one chain, that must go with what is `around` it."""
        what, shape = _MONEY[section]
        if not isinstance(node, SequenceNode):
            self.fail(node, f"{section}: expected a list, each {what}")
        found = Economy()
        first: dict[object, int] = {}
        for one in node.value:
            line = self.struct(one, shape, what)
            if (key := key_of(section, line)) in first:
                self.fail(one, f"{what} {key} stands in line {first[key]} already")
            first[key] = _line(one)
            found = found.merged(economy_of(section, line))
            if reason := conflict(around.merged(found)):
                self.fail(one, reason)
        return found

    def chain_id(self, node: Node) -> int:
        text = self.scalar(node, "a chain id")
        if not _CHAIN_ID.fullmatch(text):
            self.fail(node, f"chain id {text!r}: allowed: a positive integer, such as 314 (mainnet) or 314159 (calibration)")
        return int(text)

    def chain(self, node: Node, name: str) -> dict[Address, Entry]:
        found: dict[Address, Entry] = {}
        lines: dict[Address, int] = {}
        for project, contracts in self.mapping(node, f"chain {name}").items():
            if not isinstance(contracts, SequenceNode):
                self.fail(contracts, f"{project}: expected a list of contracts")
            for contract in contracts.value:
                entry = self.entry(contract, project)
                if entry.address in found:
                    self.fail(contract, f"{to_checksum_address(entry.address)} stands in line {lines[entry.address]} already")
                found[entry.address], lines[entry.address] = entry, _line(contract)
        return found

    def entry(self, node: Node, project: str) -> Entry:
        return self.struct(node, Entry, "a contract", project=project)

    def struct(self, node: Node, shape: type[T], what: str, **given: str) -> T:
        """One line of a section, as its struct."""
        known = [one for one in fields(shape) if one.encode_name not in given]
        nodes = self.mapping(node, what, [one.encode_name for one in known])
        required = [one.encode_name for one in known if one.required]
        for name in required:
            if name not in nodes:
                self.fail(node, f"{what} needs {', '.join(required)}: {name} is missing")
        row: dict[str, Any] = {name: self.checked(name, value) for name, value in nodes.items()}
        try:
            found = msgspec.convert({**row, **given}, shape, strict=False)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$.")
            name = re.split(r"[\[`]", place)[0]
            self.fail(nodes.get(name, node), f"{name} {row.get(name, given.get(name))!r}: {reason}")
        for source in row.get("sources", ()):
            if source not in self.sources:
                self.fail(nodes["sources"], f"source {source!r}: allowed: the keys of `sources` here and in the bundled file")
        return found

    def checked(self, name: str, node: Node) -> str | list[str]:
        """A value, as far as it can be checked without the others."""
        if name in _LISTS_OF_ADDRESSES and isinstance(node, SequenceNode):
            return [self.address(one, name) for one in node.value]
        value = self.plain(node, name)
        if name in _CHOICES and value not in _CHOICES[name]:
            self.fail(node, f"{name} {value!r}: allowed: {', '.join(_CHOICES[name])}")
        return self.address(node, name) if name in _ADDRESSES else value

    def address(self, node: Node, name: str) -> Address:
        text = self.scalar(node, name)
        if not text.startswith("0x") or not is_address(text.lower()):
            self.fail(node, f"{name} {text!r}: allowed: 0x and 40 hex digits")
        if text != (right := to_checksum_address(text.lower())):
            self.fail(node, f"{name} {text}: wrong EIP-55 checksum (if the digits are right, it is written {right})")
        return text.lower()

    def mapping(self, node: Node, what: str, allowed: Iterable[str] | None = None) -> dict[str, Node]:
        found = {}
        for key, value in self.pairs(node, what):
            name = self.scalar(key, "a key")
            if allowed is not None and name not in allowed:
                self.fail(key, f"{what}: unknown key {name!r}: allowed: {', '.join(allowed)}")
            found[name] = value
        return found

    def pairs(self, node: Node, what: str) -> list[tuple[Node, Node]]:
        if not isinstance(node, MappingNode):
            self.fail(node, f"{what}: expected keys and values")
        seen: set[str] = set()
        for key, _ in node.value:
            if (name := self.scalar(key, "a key")) in seen:
                self.fail(key, f"{what}: {name} stands there twice")
            seen.add(name)
        return list(node.value)

    def plain(self, node: Node, what: str) -> str | list[str]:
        return [self.scalar(one, what) for one in node.value] if isinstance(node, SequenceNode) else self.scalar(node, what)

    def scalar(self, node: Node, what: str) -> str:
        if not isinstance(node, ScalarNode):
            self.fail(node, f"{what}: expected a single value")
        return str(node.value)

    def fail(self, node: Node, reason: str) -> NoReturn:
        raise RegistryError(f"{self.name}:{_line(node)}: {reason}")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
