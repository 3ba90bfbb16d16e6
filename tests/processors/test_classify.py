from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.classify import (
    CLASS_OF_FACTORY,
    CLASS_OF_INTERFACE,
    CLASS_OF_SHAPE,
    CLASSES,
    UNKNOWN,
    Classifier,
    Contracts,
    Entry,
    Evidence,
    Reason,
    Verdict,
)
from streams import evidence
from streams.evidence import EVENT_SHAPES, FACTORIES, STANDARDS, Shape, selector_of, topic_of
from streams.records import Child, Contract

CODES = Path(__file__).parents[1] / "data"
HASH = "0x" + "00" * 32


def address(number: int) -> str:
    return f"0x{number:040x}"


KNOWN = Contracts(
    {
        one.address: one
        for one in (
            Entry(address=address(1), name="factory", project="Swap", contract_class="dex", factory="univ2"),
            Entry(address=address(2), name="pool", project="Lend", contract_class="defi-lending", implementation=address(3)),
            Entry(address=address(4), name="coin", project="Coin", contract_class="stablecoin", confidence="C"),
            Entry(address=address(5), name="safes", project="Rumour", contract_class="multisig", confidence="C"),
        )
    }
)


def contract(number: int = 99, shape: Shape | None = None, **more: object) -> Contract:
    """The evidence about a contract of this shape, as the follower puts it into records."""
    selectors = tuple(sorted(selector_of(one) for one in shape.functions)) if shape is not None else ()
    topics = tuple(sorted(topic_of(one) for one in shape.events)) if shape is not None else ()
    return Contract(address(number), HASH, selectors=selectors, topics=topics, **more)  # type: ignore[arg-type]


def scanned(name: str, **more: object) -> Contract:
    """The evidence about a contract of a Lotus devnet."""
    selectors, topics = evidence.scan(bytes.fromhex((CODES / f"{name}.hex").read_text(encoding="ascii")))
    return Contract(address(99), HASH, selectors=selectors, topics=topics, **more)  # type: ignore[arg-type]


def announced(by: int, event: str) -> Child:
    return Child(address(by), topic_of(event))


PAIR = "PairCreated(address,address,address,uint256)"
SAFE = "ProxyCreation(address,address)"
NOBODY = Classifier(Contracts())
CLASSIFIER = Classifier(KNOWN)
TOKEN = next(shape for shape in STANDARDS if shape.name == "ERC-20")


def test_every_rule_names_a_class() -> None:
    """Each shape, interface and kind of factory has its class, and there are no rules about others."""
    assert CLASS_OF_SHAPE.keys() == {shape.name for shape in (*STANDARDS, *EVENT_SHAPES)}
    assert CLASS_OF_FACTORY.keys() == {factory.name for factory in FACTORIES}
    assert CLASS_OF_INTERFACE.keys() == set(evidence.INTERFACES.values())
    assert {*CLASS_OF_SHAPE.values(), *CLASS_OF_FACTORY.values(), *CLASS_OF_INTERFACE.values()} <= set(CLASSES) - {UNKNOWN}


@pytest.mark.parametrize("shape", [*STANDARDS, *EVENT_SHAPES], ids=lambda shape: shape.name)
def test_each_shape_is_reached(shape: Shape) -> None:
    """Code of exactly this shape is not taken for another one."""
    reason = Reason.FUNCTIONS if shape.functions else Reason.EVENTS
    assert NOBODY.classify(contract(shape=shape)) == Verdict(CLASS_OF_SHAPE[shape.name], None, Evidence(reason, shape.name))


@pytest.mark.parametrize(
    "name, found, said",
    [
        ("token", "token", "functions: ERC-20"),
        ("vault", "defi-lending", "functions: ERC-4626"),
        ("nft", "nft", "functions: ERC-721"),
        ("counter", UNKNOWN, "nothing"),
        ("factory", UNKNOWN, "nothing"),
    ],
)
def test_real_contracts_get_their_class(name: str, found: str, said: str) -> None:
    """From their code alone."""
    verdict = NOBODY.classify(scanned(name))
    assert (verdict.contract_class, verdict.project, str(verdict.evidence)) == (found, None, said)


def test_confirmed_interfaces_come_before_code() -> None:
    """What a contract says of itself weighs more than what its code looks like."""
    verdict = NOBODY.classify(scanned("token", interfaces=("0xd9b67a26",)))
    assert (verdict.contract_class, str(verdict.evidence)) == ("nft", "interface: ERC-1155")


def test_registry_comes_first() -> None:
    """An exact entry wins over all that the contract itself tells."""
    told = contract(2, TOKEN, interfaces=("0x80ac58cd",), implementation=address(4), child_of=announced(1, PAIR))
    assert CLASSIFIER.classify(told) == Verdict("defi-lending", "Lend", Evidence(Reason.REGISTRY, "Lend pool"))


def test_children_inherit_the_project_of_a_registered_factory() -> None:
    """Before implementation and code; the class is that of the announced kind."""
    verdict = CLASSIFIER.classify(contract(shape=TOKEN, implementation=address(2), child_of=announced(1, PAIR)))
    assert verdict == Verdict("dex", "Swap", Evidence(Reason.REGISTERED_FACTORY, "Swap factory"))


def test_who_made_a_contract_counts_before_who_announced_it() -> None:
    """A trace can not be faked; but only a registered factory hands its project on, not any contract of a project."""
    made = CLASSIFIER.classify(contract(shape=TOKEN, created_by=address(1), child_of=announced(5, SAFE)))
    assert made == Verdict("dex", "Swap", Evidence(Reason.REGISTERED_FACTORY, "Swap factory"))
    assert CLASSIFIER.classify(contract(shape=TOKEN, created_by=address(2))).contract_class == "token"
    assert CLASSIFIER.classify(contract(shape=TOKEN, created_by=address(77))).project is None


@pytest.mark.parametrize("told", [contract(2, TOKEN), contract(shape=TOKEN), contract(), contract(child_of=announced(77, SAFE))])
def test_an_explanation_ends_in_the_verdict(told: Contract) -> None:
    """Every rule is told of, in order; the first that says anything is what decided."""
    tried = CLASSIFIER.explain(told)
    assert [one.reason for one in tried] == [reason for reason in Reason if reason is not Reason.NOTHING]
    said = [one.verdict for one in tried if one.verdict is not None]
    assert (said or [Verdict(UNKNOWN, None, Evidence(Reason.NOTHING))])[0] == CLASSIFIER.classify(told)


def test_children_of_strangers_are_judged_by_their_code_first() -> None:
    """Anybody can announce a token as a pair; where the code is silent, the announcement is all there is."""
    assert CLASSIFIER.classify(contract(shape=TOKEN, child_of=announced(77, PAIR))).contract_class == "token"
    verdict = CLASSIFIER.classify(contract(child_of=announced(77, SAFE)))
    assert verdict == Verdict("multisig", None, Evidence(Reason.FACTORY, "safe-proxy"))


def test_announcements_come_before_shapes_of_events() -> None:
    """Events that stand in the code are the weakest evidence."""
    transfers = next(shape for shape in EVENT_SHAPES if shape.name == "ERC-20 transfers")
    assert CLASSIFIER.classify(contract(shape=transfers, child_of=announced(77, PAIR))).contract_class == "dex"


def test_announcements_of_other_kinds_say_nothing() -> None:
    """A record of another release may name an event that this one does not know."""
    assert CLASSIFIER.classify(contract(child_of=Child(address(1), HASH))).contract_class == UNKNOWN


@pytest.mark.parametrize("implementation", [2, 3])
def test_proxies_have_the_class_of_their_implementation(implementation: int) -> None:
    """Whether it is registered itself, or as what a registered proxy runs."""
    verdict = CLASSIFIER.classify(contract(shape=TOKEN, implementation=address(implementation)))
    assert verdict == Verdict("defi-lending", "Lend", Evidence(Reason.IMPLEMENTATION, "Lend pool"))


def test_weak_sources_are_marked() -> None:
    """An entry of confidence C counts, as do the children of such a factory, but the verdict says so."""
    assert str(CLASSIFIER.classify(contract(4)).evidence) == "registry: Coin coin (unconfirmed)"
    assert CLASSIFIER.classify(contract(child_of=announced(5, SAFE))).evidence.unconfirmed
    assert not CLASSIFIER.classify(contract(2)).evidence.unconfirmed


def test_projects_are_those_of_the_registry() -> None:
    """Labels of projects are bounded by the registry."""
    assert CLASSIFIER.projects == ("Coin", "Lend", "Rumour", "Swap")
    assert NOBODY.projects == ()


CONTRACTS = st.builds(
    Contract,
    address=st.integers(1, 9).map(address),
    code_hash=st.just(HASH),
    implementation=st.none() | st.integers(1, 9).map(address),
    selectors=st.lists(st.sampled_from(sorted(evidence.SELECTORS)), unique=True).map(tuple),
    topics=st.lists(st.sampled_from(sorted(evidence.TOPICS)), unique=True).map(tuple),
    interfaces=st.lists(st.sampled_from(sorted(evidence.INTERFACES)), unique=True).map(tuple),
    child_of=st.none()
    | st.builds(Child, st.integers(1, 9).map(address), st.sampled_from([HASH, *(topic_of(one.event) for one in FACTORIES)])),
)


@given(st.lists(CONTRACTS), st.integers(0, 3))
def test_nothing_but_the_evidence_counts(contracts: list[Contract], remembered: int) -> None:
    """Neither the order of contracts, nor what was seen before, nor how much is remembered can change a verdict."""
    forgetful, backwards = Classifier(KNOWN, remembered=remembered), Classifier(KNOWN)
    there = [forgetful.classify(one) for one in contracts]
    back = [backwards.classify(one) for one in reversed(contracts)]
    assert there == back[::-1]
    assert all(verdict.contract_class in CLASSES for verdict in there)
    assert all(verdict.project is None or verdict.project in forgetful.projects for verdict in there)
