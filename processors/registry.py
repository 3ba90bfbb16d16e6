"""The registry: what public sources (and the user) say about contracts, read from YAML and checked to the line.

`contracts.yaml` beside this module is bundled; a file of the user's in the same form is merged over it, entry by entry. Each
section of the file has its own reader in `_Reader.read`; a new section is one more of them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml
from eth_utils.address import is_address, to_checksum_address
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from processors.classify import CLASSES, UNKNOWN, Contracts, Entry
from streams.errors import RegistryError
from streams.evidence import FACTORIES
from streams.records import Address

BUNDLED = Path(__file__).with_name("contracts.yaml")
VERSION = "1"

_CHAIN_ID = re.compile("[1-9][0-9]{0,18}")
_FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For the bundled file only: six times as fast, but deep nesting ends the process."""


@dataclass(frozen=True)
class Registry:
    """All that is said about contracts, by chain id and lower-case address; `sources` by their short names."""

    chains: Mapping[int, Mapping[Address, Entry]]
    sources: Mapping[str, str]

    @classmethod
    def load(cls, overlay: Path | None = None) -> "Registry":
        """The bundled file, with the entries and sources of `overlay` over it.

        Raises:
            RegistryError: a file can not be read, or something in it is not allowed; names file, line and what is.
        """
        bundled = parse(BUNDLED.read_text(encoding="utf-8"), BUNDLED.name, loader=_FAST)
        return bundled.merged(read(overlay, bundled.sources)) if overlay is not None else bundled

    def merged(self, over: "Registry") -> "Registry":
        """This registry, with each entry replaced for which `over` has one."""
        chain_ids = sorted({*self.chains, *over.chains})
        chains = {one: {**self.chains.get(one, {}), **over.chains.get(one, {})} for one in chain_ids}
        return Registry(chains, {**self.sources, **over.sources})

    def for_chain(self, chain_id: int) -> Contracts:
        """The contracts of one chain; none if nothing is known about it.

        A private network may say 314 too. What is known of mainnet does no harm there: its addresses name other code only
        where a deployment is the same on every chain, and then it has the same class.
        """
        return Contracts(self.chains.get(chain_id, {}))


def read(path: Path, known_sources: Mapping[str, str] | None = None) -> Registry:
    """What one file says; it may name sources of its own and those of `known_sources`.

    Raises:
        RegistryError: the file can not be read, or something in it is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RegistryError(f"{path}: can not be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RegistryError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    return parse(text, str(path), known_sources)


def parse(
    text: str, name: str, known_sources: Mapping[str, str] | None = None, *, loader: type[yaml.SafeLoader] = yaml.SafeLoader
) -> Registry:
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
    return _Reader(name, known_sources or {}).read(root)


_FIELDS = tuple(one for one in Entry.__struct_encode_fields__ if one != "project")
_REQUIRED = ("address", "name", "class")
_CHOICES: dict[str, tuple[str, ...]] = {
    "class": tuple(one for one in CLASSES if one != UNKNOWN),
    "confidence": ("A", "B", "C"),
    "factory": tuple(one.name for one in FACTORIES),
}


@dataclass
class _Reader:
    """Reads one composed file; every complaint has the line of the node that it is about."""

    name: str
    sources: Mapping[str, str]

    def read(self, root: Node | None) -> Registry:
        if root is None:
            raise RegistryError(f"{self.name}: is empty; allowed: version, sources, chains")
        sections = self.mapping(root, "the file", ("version", "sources", "chains"))
        if "version" in sections and (version := self.scalar(sections["version"], "version")) != VERSION:
            self.fail(sections["version"], f"version {version}: allowed: {VERSION}")
        own = self.mapping(sections["sources"], "sources") if "sources" in sections else {}
        named = {name: self.scalar(node, f"source {name}") for name, node in own.items()}
        self.sources = {**self.sources, **named}
        chains = self.pairs(sections["chains"], "chains") if "chains" in sections else []
        return Registry({self.chain_id(key): self.chain(value, self.scalar(key, "a key")) for key, value in chains}, named)

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
        nodes = self.mapping(node, "a contract", _FIELDS)
        for name in _REQUIRED:
            if name not in nodes:
                self.fail(node, f"a contract needs {', '.join(_REQUIRED)}: {name} is missing")
        row: dict[str, Any] = {name: self.plain(value, name) for name, value in nodes.items()}
        for name, allowed in _CHOICES.items():
            if name in row and row[name] not in allowed:
                self.fail(nodes[name], f"{name} {row[name]!r}: allowed: {', '.join(allowed)}")
        for name in {"address", "implementation"} & row.keys():
            row[name] = self.address(nodes[name], name)
        try:
            entry = msgspec.convert({**row, "project": project}, Entry, strict=False)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$.")
            name = re.split(r"[\[`]", place)[0]
            self.fail(nodes.get(name, node), f"{name} {row.get(name, project)!r}: {reason}")
        for source in entry.sources:
            if source not in self.sources:
                self.fail(nodes["sources"], f"source {source!r}: allowed: the keys of `sources` here and in the bundled file")
        return entry

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
