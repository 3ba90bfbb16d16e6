from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from processors.classify import CLASSES, UNKNOWN, Classifier
from processors.economy import KEYS, Economy
from processors.registry import BUNDLED, Registry, parse, read
from streams.errors import RegistryError
from streams.evidence import FACTORIES
from streams.records import Contract

BUNDLE = Registry.load()
WFIL = "0x60E1773636CF5E4A227d9AC24F20fEca034ee25A"
IFIL = "0x690908f7fa93afC040CFbD9fE1dDd2C2668Aa0e0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_all_facts_are_there() -> None:
    """215 contracts of mainnet, 58 of calibration, by class."""
    assert {chain: len(entries) for chain, entries in BUNDLE.chains.items()} == {314: 215, 314159: 58}
    entries = [entry for chain in BUNDLE.chains.values() for entry in chain.values()]
    assert Counter(entry.contract_class for entry in entries) == {
        "defi-lending": 42,
        "storage-service": 40,
        "multisig": 30,
        "token": 26,
        "infra": 25,
        "liquid-staking": 24,
        "dex": 21,
        "dao": 19,
        "oracle": 17,
        "bridge": 12,
        "stablecoin": 9,
        "nft": 8,
    }
    assert sum(entry.factory is not None for entry in entries) == 9
    assert sum(entry.implementation is not None for entry in entries) == 5


def test_every_fact_has_its_source() -> None:
    """No entry without a source, no source without an entry, all in classes that exist."""
    entries = [entry for chain in BUNDLE.chains.values() for entry in chain.values()]
    money = [line for economy in BUNDLE.economies.values() for section in KEYS for line in getattr(economy, section)]
    assert all(one.sources for one in (*entries, *money))
    assert {source for one in (*entries, *money) for source in one.sources} == BUNDLE.sources.keys()
    assert {entry.contract_class for entry in entries} <= set(CLASSES) - {UNKNOWN}
    assert {entry.factory for entry in entries} == {None, *(factory.name for factory in FACTORIES)}


def test_one_contract_a_line() -> None:
    """The file stays readable: an entry is one line."""
    lines = BUNDLED.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("      - {address: ") and line.endswith("}") for line in lines) == 273


@pytest.mark.parametrize(
    "chain_id, address, project, found, confidence",
    [
        (314, "0x60e1773636cf5e4a227d9ac24f20feca034ee25a", "WFIL", "token", "A"),
        (314, "0xe764acf02d8b7c21d2b6a8f0a96c78541e0dc3fd", "GLIF", "defi-lending", "A"),
        (314, "0x3c3501e6c353dbaeddfa90376975ce7ace4ac7a8", "STFIL", "liquid-staking", "A"),
        (314, "0x80b98d3aa09ffff255c3ba4a241111ff1262f045", "Secured Finance", "stablecoin", "A"),
        (314, "0xe432150cce91c13a887f7d836923d5597add8e31", "Axelar", "bridge", "A"),
        (314, "0xce5805cf6c84f71d2897f632e0aa60d2430ccd2a", "lsdFil", "token", "C"),
        (314, "0x8408502033c418e1bbc97ce9ac48e5528f371a9f", "Filecoin Onchain Cloud", "storage-service", "A"),
        (314159, "0x1ebf54537437a372614eb50b6edcbdb643603fe7", "GLIF", "defi-lending", "A"),
    ],
)
def test_known_contracts_are_found(chain_id: int, address: str, project: str, found: str, confidence: str) -> None:
    """By chain and lower-case address."""
    entry = BUNDLE.for_chain(chain_id).get(address)
    assert entry is not None
    assert (entry.project, entry.contract_class, entry.confidence) == (project, found, confidence)


def test_look_ups_are_exact() -> None:
    """By chain id: the WFIL of mainnet is nobody on calibration; an unknown chain is empty."""
    assert BUNDLE.for_chain(314159).get(WFIL.lower()) is None
    assert BUNDLE.for_chain(31415926).projects == ()


def test_a_private_network_has_nothing_bundled_on_it(file: Path) -> None:
    """A devnet that says 314 has none of mainnet's pools, bridges and prices; it has those of the user's file, as mainnet has both."""
    vault = to_checksum_address(f"0x{0xAC:040x}")
    file.write_text(
        f'pools: {{314: [{{pool: mine, project: Mine, class: defi-lending, address: "{vault}", adapter: erc4626}}]}}', encoding="utf-8"
    )
    merged = Registry.load(file)
    assert [pool.pool for pool in merged.economy(314, "localnet-7").pools] == ["mine"]
    assert {pool.pool for pool in merged.economy(314, "mainnet").pools} == {"mine", *(pool.pool for pool in BUNDLE.economy(314).pools)}
    assert merged.economy(314, "mainnet") == merged.economy(314) == merged.for_chain(314).economy
    assert BUNDLE.economy(314, "localnet-7") == BUNDLE.for_chain(314, "localnet-7").economy == Economy()
    assert BUNDLE.economy(314159, "calibrationnet").payment_contracts
    assert BUNDLE.for_chain(314, "localnet-7").get(WFIL.lower()) is not None


def test_projects_are_bounded() -> None:
    """Labels: as many projects as the chain's entries name, sorted."""
    assert len(BUNDLE.for_chain(314).projects) == 47
    assert list(BUNDLE.for_chain(314).projects) == sorted(BUNDLE.for_chain(314).projects)


def test_a_file_of_the_users_goes_over_the_bundled_one(file: Path) -> None:
    """It replaces an entry, adds one, adds a chain, names a source of its own; the rest stays."""
    file.write_text(
        f"""
sources: {{me: "I looked"}}
chains:
  314:
    Mine:
      - {{address: {WFIL}, name: my WFIL, class: infra, sources: [me, glif-go-pools]}}
      - address: "0x00000000000000000000000000000000000000AA"
        name: vault
        class: data-dao
        confidence: C
  31415926:
    Devnet: [{{address: "0x00000000000000000000000000000000000000AB", name: token, class: token}}]
""",
        encoding="utf-8",
    )
    merged = Registry.load(file)
    mainnet = merged.for_chain(314)
    assert len(mainnet.entries) == 216
    assert (replaced := mainnet.get(WFIL.lower())) is not None
    assert (replaced.project, replaced.contract_class, replaced.confidence, replaced.sources) == (
        "Mine",
        "infra",
        "A",
        ("me", "glif-go-pools"),
    )
    assert mainnet.get(IFIL.lower()) == BUNDLE.for_chain(314).get(IFIL.lower())
    assert merged.for_chain(31415926).projects == ("Devnet",)
    assert merged.sources["me"] == "I looked"
    verdict = Classifier(mainnet).classify(Contract("0x00000000000000000000000000000000000000aa", "0x" + "00" * 32))
    assert (verdict.contract_class, verdict.project, verdict.evidence.unconfirmed) == ("data-dao", "Mine", True)


GOOD = f'{{address: "{WFIL}", name: a, class: token}}'


def entry(**changed: str) -> str:
    """A file whose line 4 is one contract, with these fields."""
    fields = {"address": f'"{WFIL}"', "name": "a", "class": "token"} | changed
    return "chains:\n  314:\n    P:\n      - {" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}\n"


def pool(**changed: str) -> str:
    """A file whose line 3 is one pool, with these fields."""
    fields = {"pool": "mine", "project": "P", "class": "dex", "address": f'"{IFIL}"', "adapter": "erc4626"} | changed
    return "pools:\n  314:\n    - {" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}\n"


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("", None, "is empty; allowed: version, sources, chains, pools"),
        ("# nothing\n", None, "is empty"),
        ("chains:\n  314: {a: b\n", 3, "is not YAML"),
        ("chains:\n  314: {a: b\n  c: d}}\n", 3, "is not YAML"),
        ("- a\n", 1, "the file: expected keys and values"),
        ("version: 1\npool: {}\n", 2, "unknown key 'pool': allowed: version, sources, chains, pools"),
        ("version: 2\n", 1, "version 2: allowed: 1"),
        ("chains:\n  mainnet: {}\n", 2, "chain id 'mainnet': allowed: a positive integer"),
        ("chains:\n  0x13a: {}\n", 2, "chain id '0x13a'"),
        ("chains:\n  314: {}\n  314: {}\n", 3, "314 stands there twice"),
        ("chains:\n  314:\n    P: {}\n", 3, "P: expected a list of contracts"),
        ("chains:\n  314:\n    P:\n      - a\n", 4, "a contract: expected keys and values"),
        (f"chains:\n  314:\n    P:\n      - {GOOD}\n    Q:\n      - {GOOD}\n", 6, f"{WFIL} stands in line 4 already"),
        (f"chains:\n  314:\n    P: [{GOOD}]\n    P: []\n", 4, "P stands there twice"),
        ("chains:\n  314:\n    P:\n      - {name: a, class: token}\n", 4, "a contract needs address, name, class: address is missing"),
        (entry(classs="dex"), 4, "unknown key 'classs': allowed: address, name, class, confidence"),
        (entry(project="Q"), 4, "unknown key 'project'"),
        (entry(address='"0x12"'), 4, "address '0x12': allowed: 0x and 40 hex digits"),
        (entry(address=WFIL.lower()), 4, f"wrong EIP-55 checksum (if the digits are right, it is written {WFIL})"),
        (entry(implementation=IFIL.lower()), 4, "implementation 0x690908f7"),
        (entry(**{"class": "bank"}), 4, "class 'bank': allowed: defi-lending, liquid-staking"),
        (entry(**{"class": "unknown"}), 4, "class 'unknown': allowed"),
        (entry(**{"class": "[dex]"}), 4, "class ['dex']: allowed"),
        (entry(confidence="D"), 4, "confidence 'D': allowed: A, B, C"),
        (entry(factory="univ4"), 4, "factory 'univ4': allowed: univ2, univ3, safe-proxy, glif-agent"),
        (entry(sources="[me]"), 4, "source 'me': allowed: the keys of `sources`"),
        (entry(sources="axelar"), 4, "sources 'axelar': Expected `array`, got `str`"),
        (entry(sources="[{a: b}]"), 4, "sources: expected a single value"),
        (entry(since_epoch="soon"), 4, "since_epoch 'soon': Expected `int"),
        (entry(since_epoch="-1"), 4, "since_epoch '-1': Expected `int` >= 0"),
        (entry(superseded="maybe"), 4, "superseded 'maybe': Expected `bool"),
        (entry(name='""'), 4, "name '': Expected `str` of length >= 1"),
        (entry(note="{}"), 4, "note: expected a single value"),
        (entry().replace("P:", "? [a]\n    :"), 3, "a key: expected a single value"),
        (entry().replace("P:", "P" * 65 + ":"), 4, "Expected `str` of length <= 64"),
        (f"chains:\n  314:\n    P:\n      - address: {WFIL}\n        name: a\n        class: tokin\n", 6, "class 'tokin'"),
        ("pools: []\n", 1, "pools: expected keys and values"),
        ("pools:\n  314: {}\n", 2, "pools: expected a list, each a pool"),
        ("pools:\n  x: []\n", 2, "chain id 'x'"),
        (pool(adapter="erc9"), 3, "adapter 'erc9': allowed: erc4626, glif-pool"),
        (pool(pool="My_Pool"), 3, "pool 'My_Pool': Expected `str` matching regex"),
        (pool(address=f'"{IFIL.lower()}"'), 3, "wrong EIP-55 checksum"),
        (pool(share='"0x12"'), 3, "share '0x12': allowed: 0x and 40 hex digits"),
        (pool(wrapped=f'["{WFIL.lower()}"]'), 3, "wrapped 0x60e1"),
        (pool(assets='["totalAssets(uint256)"]'), 3, "assets"),
        (pool(inside_of="nothing"), 3, "inside_of 'nothing': allowed: another pool of the chain"),
        (pool(underlying="EUR"), 3, "underlying 'EUR': allowed: FIL, USD"),
        (pool(**{"class": "bank"}), 3, "class 'bank'"),
        (pool(sources="[me]"), 3, "source 'me'"),
        (pool(colour="red"), 3, "unknown key 'colour': allowed: "),
        (pool() + pool().splitlines()[2] + "\n", 4, "a pool mine stands in line 3 already"),
        (pool(pool="glif2", address='"0xe764Acf02D8B7c21d2B6A8f0a96C78541e0DC3fd"'), 3, "pool address 0xe764acf0"),
        (f'gateways:\n  314:\n    - {{bridge: a, address: "{WFIL}", in: [nonsense]}}\n', 3, "in "),
        (f'gateways:\n  314:\n    - {{bridge: a, address: "{WFIL}", in: ["A(uint,address)"]}}\n', 3, "in "),
        (f'gateways:\n  314:\n    - {{bridge: a, address: "{WFIL}", in: ["A(address,)"]}}\n', 3, "in "),
        (f'gateways:\n  314:\n    - {{bridge: a, address: "{WFIL}", in: ["A()"], out: ["A()"]}}\n', 3, "event of a gateway"),
        (
            f'bridged_tokens:\n  314:\n    - {{bridge: a, token: T, address: "{WFIL}", decimals: 19}}\n',
            3,
            "decimals '19': Expected `int` <= 18",
        ),
        (f'payment_tokens:\n  314:\n    - {{token: T, address: "{WFIL}"}}\n', 3, "a payment token needs token, address, decimals"),
        (f'prices:\n  314:\n    - {{pair: FIL/EUR, oracle: pyth, address: "{WFIL}", feed: "0x"}}\n', 3, "pair 'FIL/EUR'"),
        (f'prices:\n  314:\n    - {{pair: FIL/USD, oracle: pyth, address: "{WFIL}", feed: "0x"}}\n', 3, "feed '0x'"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_line(file: Path, text: str, line: int | None, reason: str) -> None:
    """One line: the file, the line, what is wrong, what is allowed."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RegistryError) as caught:
        Registry.load(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: " if line is None else f"{file}:{line}: ")
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"\xff\xfe\x00\xd8", "is not UTF-8"),
        (b"chains: \x00\n", "is not YAML"),
        (b"[" * 2_000, "nested too deeply"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
        (b"&a [*a]", "expected keys and values"),
    ],
)
def test_other_files_are_refused(file: Path, content: bytes, reason: str) -> None:
    """Whatever the bytes are, the answer is one clear line."""
    file.write_bytes(content)
    with pytest.raises(RegistryError, match=reason):
        read(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Missing, or a folder."""
    with pytest.raises(RegistryError, match=r"none\.yaml: can not be read: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(RegistryError, match="can not be read"):
        read(tmp_path)


@given(st.text(alphabet=st.sampled_from("ab:{}[]- \n\"'#&*!|>%@`,?0x314"), max_size=60), st.integers(0, 120))
def test_broken_files_never_end_in_a_traceback(text: str, place: int) -> None:
    """Any text anywhere in a good file: a registry, or a complaint."""
    good = entry()
    with suppress(RegistryError):
        parse(good[:place] + text + good[place:], "text")
