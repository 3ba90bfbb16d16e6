"""Why an indicator has no value: its window still fills, or this node, this network or this configuration can not tell it. Pure."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from processors import money
from processors.readings import Snapshot
from processors.row import Need, Row
from processors.samples import coverage, known, windows
from processors.state_samples import BACK, NEVER_VESTED, newest, versions
from processors.upgrades import between
from streams import account
from streams.prices import NAME as PRICE
from streams.records import COUNTED_STREAMS

WITHOUT_NATIVE = "no connected node serves the Filecoin API, which tells it"
UNTOLD = "no node told it within the last hour: see pulse_probe_failures_total"


class Absence(NamedTuple):
    """`filling` passes by itself, `unavailable` does not; `coverage` is the share of what it needs that is known, where that is all."""

    state: Literal["filling", "unavailable"]
    reason: str
    coverage: float | None = None


Why: TypeAlias = Callable[[Snapshot], str | None]


def absence(snapshot: Snapshot, row: Row, window: str) -> Absence:
    """Why the row has no value for the window."""
    if known(snapshot, "tipsets") is None:
        return Absence("filling", "nothing is processed yet", 0.0)
    for need in row.needs:
        if (why := WHY.get(need)) is not None and (reason := why(snapshot)) is not None:
            return Absence("unavailable", reason)
    if row.counted and "window" in row.labels:
        return _of_a_window(snapshot, row, window)
    back = row.stretch_epochs or BACK.get(window, 0)
    return _of_a_stretch(snapshot, back) if back else Absence("unavailable", UNTOLD)


def _of_a_window(snapshot: Snapshot, row: Row, window: str) -> Absence:
    kept = list(dict.fromkeys(one.name for one in windows(snapshot)))
    if window not in kept:
        return Absence("unavailable", f"windows has {','.join(kept)}, not {window}")
    share = next((share for labels, share in coverage(snapshot) if labels["window"] == window), 0.0)
    if share < 1:
        return Absence("filling", "the window is not known in full", share)
    if "before" not in row.needs:
        return Absence("unavailable", "nothing of it was in the window")
    before = min(one.prior_coverage for stream in COUNTED_STREAMS for one in windows(snapshot, stream) if one.name == window)
    if before < 1:
        return Absence("filling", "the window just before is not known in full", (1 + before) / 2)
    return Absence("unavailable", "nothing of it was in the window just before")


def _of_a_stretch(snapshot: Snapshot, back: int) -> Absence:
    head, since = snapshot.state.head, snapshot.state.since
    if head is None:
        return Absence("filling", "nothing is sampled yet", 0.0)
    if any(between(snapshot.network, head - back, head, versions(snapshot, back))):
        return Absence("unavailable", "an upgrade of the network within it changed what it means")
    if since is not None and head - since < back:
        return Absence("filling", "samples do not reach back so far yet", max(head - since, 0) / back)
    return Absence("unavailable", "there is no sample from the start of it, or nothing to compare with")


def _sampled(need: Need) -> Why:
    """Samples of f04, f02 or the supply, which no node without the Filecoin API can give."""

    def why(snapshot: Snapshot) -> str | None:
        if any(name.startswith(f"{need}:") for name in snapshot.state.latest):
            return None
        told = account.read(snapshot.latest.get("follower"))
        up = [one for one in told.endpoints.values() if one.up] if told is not None else []
        return WITHOUT_NATIVE if up and not any(one.native for one in up) else UNTOLD

    return why


def _circulating(snapshot: Snapshot) -> str | None:
    if (reason := _sampled("supply")(snapshot)) is not None:
        return reason
    circulating = newest(snapshot, "supply:circulating_attofil")
    if circulating is None:
        return NEVER_VESTED
    return "the circulating supply is 0" if circulating.value == 0 else None


def _pools(snapshot: Snapshot) -> str | None:
    """Declared at all, and of those that count any one told."""
    pools = money.declared(snapshot).pools
    if not pools:
        return f"no pool is declared for {snapshot.network}: see registry"
    told = any(name.startswith("pool:") for name in snapshot.state.latest)
    return None if told else f"none of {len(pools)} pools gave a sample within the last hour: see pulse_probe_failures_total"


def _price(snapshot: Snapshot) -> str | None:
    return None if newest(snapshot, PRICE) is not None else "no price of FIL on chain is declared, or none is fresh"


def _loans(snapshot: Snapshot) -> str | None:
    return None if any(":borrowed_" in name for name in snapshot.state.latest) else "no pool tells what it has lent"


def _bridges(snapshot: Snapshot) -> str | None:
    return None if money.declared(snapshot).bridges else f"no bridge is declared for {snapshot.network}: see registry"


def _payments(snapshot: Snapshot) -> str | None:
    return None if money.declared(snapshot).payments else f"no payment contract is declared for {snapshot.network}: see registry"


WHY: Mapping[Need, Why] = {
    "power": _sampled("power"),
    "reward": _sampled("reward"),
    "supply": _sampled("supply"),
    "circulating": _circulating,
    "pools": _pools,
    "price": _price,
    "loans": _loans,
    "bridges": _bridges,
    "payments": _payments,
}
"""Why what a row needs is not there, None where it is."""
