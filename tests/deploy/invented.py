"""What the recorded devnet has not: a circulating supply, pools, and a price of FIL, made up, of about a devnet's size.

A recording refuses questions that nobody asked when it was made. Some of those answers are invented here, so that pictures of the
dashboards can show more than "no data". No test takes such a figure for true.
"""

import math
import time
from typing import Any

import msgspec
from eth_utils.crypto import keccak

FIL = 10**18
SUPPLY = "Filecoin.StateVMCirculatingSupplyInternal"
SUPPLY_FIL = {
    "FilVested": 120_000,
    "FilMined": 15_500,
    "FilBurnt": 40,
    "FilLocked": 21_000,
    "FilCirculating": 98_000,
    "FilReserveDisbursed": 1_300,
}
VIEWS_FIL: dict[tuple[str, str], float] = {
    ("0xe764acf02d8b7c21d2b6a8f0a96c78541e0dc3fd", "totalAssets()"): 31_000,
    ("0xe764acf02d8b7c21d2b6a8f0a96c78541e0dc3fd", "totalBorrowed()"): 24_000,
    ("0x690908f7fa93afc040cfbd9fe1ddd2c2668aa0e0", "totalSupply()"): 27_400,
    ("0x3c3501e6c353dbaeddfa90376975ce7ace4ac7a8", "totalSupply()"): 22_000,
    ("0xf440700552a59415d3d14cf9382c48c86cda8f31", "totalSupply()"): 9_000,
    ("0x0b24190702018c93e09a55f958d6485ae31b62a1", "totalSupply()"): 8_500,
    ("0xd0437765d1dc0e2fa14e97d290f135efdf1a8a9a", "totalAssets()"): 5_200,
    ("0xd0437765d1dc0e2fa14e97d290f135efdf1a8a9a", "totalSupply()"): 4_900,
    ("0x8af827cda3b7eee9720496a30595d7ee89a27ee2", "totalSupply()"): 3_100,
    ("0x60e1773636cf5e4a227d9ac24f20feca034ee25a", "balanceOf(address)"): 1_500,
}
"""By contract and function; the addresses are those of the pools that the registry knows."""
BALANCES_FIL = {
    "0xe764acf02d8b7c21d2b6a8f0a96c78541e0dc3fd": 5_500,
    "0xc8e4ef1148d11f8c557f677ee3c73901cd796bf6": 4_400,
    "0xd0437765d1dc0e2fa14e97d290f135efdf1a8a9a": 3_600,
    "0x8af827cda3b7eee9720496a30595d7ee89a27ee2": 3_100,
    "0x8637ac7fdbb4c763b72e26504afb659df71c7803": 2_600,
}
PRICE_USD, EXPONENT = 1.62, -8


def _selector(signature: str) -> str:
    return "0x" + keccak(text=signature)[:4].hex()


VIEWS = {(address, _selector(signature)): amount for (address, signature), amount in VIEWS_FIL.items()}
PRICE = _selector("getPriceUnsafe(bytes32)")


def _words(*numbers: int) -> str:
    return "0x" + "".join(number.to_bytes(32, signed=number < 0).hex() for number in numbers)


class Economy:
    """Puts invented answers in the place of refusals; the `distort` of a replay node's faults."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, method: str, params: list[Any], answer: bytes) -> bytes:
        """The answer, or what is invented instead."""
        said = msgspec.json.decode(answer)
        result = self._result(method, params) if "error" in said or method == SUPPLY else None
        return answer if result is None else msgspec.json.encode({"jsonrpc": "2.0", "id": said["id"], "result": result})

    def _result(self, method: str, params: list[Any]) -> Any:
        if method == SUPPLY:
            return {name: str(self._attofil(amount)) for name, amount in SUPPLY_FIL.items()}
        if method == "eth_call":
            return self._called(params[0]["to"].lower(), params[0]["data"][:10])
        balance = BALANCES_FIL.get(str(params[0]).lower()) if params else None
        if balance is None or method not in {"eth_getBalance", "eth_getCode"}:
            return None
        return hex(self._attofil(balance)) if method == "eth_getBalance" else "0x00"

    def _called(self, to: str, selector: str) -> str | None:
        if selector == PRICE:
            price = int(PRICE_USD * (1 + 0.01 * self._swing(11)) * 10**-EXPONENT)
            return _words(price, price // 500, EXPONENT, int(time.time()))
        amount = VIEWS.get((to, selector))
        return None if amount is None else _words(self._attofil(amount))

    def _attofil(self, amount_fil: float) -> int:
        """An amount that grows and swings a little, at a pace of its own."""
        return int(amount_fil * (1 + 0.01 * self._swing(13 + amount_fil % 17)) * FIL)

    def _swing(self, seconds: float) -> float:
        passed = time.monotonic() - self._started
        return math.sin(passed / seconds) + passed / 60
