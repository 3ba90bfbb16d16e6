"""The bundled recording, read once."""

import pytest

from streams.recording import Recording, load


@pytest.fixture(scope="session")
def devnet() -> Recording:
    """The bundled recording."""
    return load("devnet")
