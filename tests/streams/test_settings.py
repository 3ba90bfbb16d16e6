"""What can be set, where it comes from, and how nonsense is refused."""

import base64
from pathlib import Path

import pytest

from streams.errors import UsageError
from streams.settings import load
from streams.values import Node


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the variables nor the file of the machine that runs the tests."""
    import os

    for variable in list(os.environ):
        if variable.startswith("FVM_PULSE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def _file(text: str) -> Path:
    path = Path("fvm-pulse.toml")
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults() -> None:
    """With nothing given: a public mainnet node, four windows, loopback only, no Redis of one's own."""
    settings = load()
    assert [(node.name, node.url, node.token) for node in settings.nodes] == [("node1", "wss://wss.node.glif.io/apigw/lotus/rpc/v1", None)]
    assert settings.windows == ("1h", "24h", "7d", "30d")
    assert str(settings.listen) == "127.0.0.1:9464"
    assert settings.redis_url is None
    assert settings.kafka_brokers == ("localhost:9092",)
    assert (settings.topic_prefix, settings.partitions) == ("fvm", 8)
    assert (settings.look_back_epochs, settings.concurrency) == (2000, 8)
    assert settings.secrets == ()


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags win over the environment, the environment over the file, the file over the defaults."""
    _file('windows = ["1e"]\npartitions = 1\nconcurrency = 1\ntopic_prefix = "file"')
    monkeypatch.setenv("FVM_PULSE_WINDOWS", "2e,3e")
    monkeypatch.setenv("FVM_PULSE_PARTITIONS", "2")
    settings = load({"windows": "4e, 5e", "concurrency": None})
    assert settings.windows == ("4e", "5e")
    assert settings.partitions == 2
    assert settings.concurrency == 1
    assert settings.topic_prefix == "file"
    assert settings.look_back_epochs == 2000


def test_file_named_by_flag_or_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file may be named; then the one in the working directory is not read."""
    _file("partitions = 1")
    other = tmp_path / "other.toml"
    other.write_text("concurrency = 3", encoding="utf-8")
    assert (load(config=other).partitions, load(config=other).concurrency) == (8, 3)
    monkeypatch.setenv("FVM_PULSE_CONFIG", str(other))
    assert load().concurrency == 3


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass on empty variables: they set nothing."""
    monkeypatch.setenv("FVM_PULSE_REDIS_URL", "")
    monkeypatch.setenv("FVM_PULSE_NODES", "")
    assert load().redis_url is None
    assert load().nodes[0].name == "node1"


def test_nodes_keep_their_order_and_names() -> None:
    """Nodes are listed by preference; a name may stand before the URL, else they are numbered."""
    settings = load({"nodes": ["own=ws://10.0.0.5:1234/rpc/v1", "wss://example.org/rpc/v1?key=a=b", "replay:devnet"]})
    assert [node.name for node in settings.nodes] == ["own", "node2", "node3"]
    assert settings.nodes[1].url == "wss://example.org/rpc/v1?key=a=b"
    assert [node.recording for node in settings.nodes] == [None, None, "devnet"]


def test_recording_with_an_equals_sign() -> None:
    """The file of a recording may have any name."""
    assert load({"nodes": ["replay:/tmp/a=b.gz"]}).nodes == (Node("node1", "replay:/tmp/a=b.gz"),)


def test_tokens_come_from_environment_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node's own variable gives its token; a file does too; neither shows when the settings are printed."""
    secret = tmp_path / "token"
    secret.write_text("from-file\n", encoding="utf-8")
    monkeypatch.setenv("FVM_PULSE_NODES", "own=ws://h/a,other-1=ws://h/b,free=ws://h/c")
    monkeypatch.setenv("FVM_PULSE_TOKEN_OTHER_1", "from-environment")
    monkeypatch.setenv("FVM_PULSE_TOKEN_FILES", f"own={secret}")
    settings = load()
    assert [node.token.get_secret_value() if node.token else None for node in settings.nodes] == ["from-file", "from-environment", None]
    assert "from-" not in repr(settings)
    assert set(settings.secrets) == {"from-file", "from-environment"}


def test_token_of_the_only_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """One node needs no name for its token; with several it would be a guess, and a leak."""
    monkeypatch.setenv("FVM_PULSE_TOKEN", "planted")
    token = load({"nodes": ["ws://h/a"]}).nodes[0].token
    assert token
    assert token.get_secret_value() == "planted"
    with pytest.raises(UsageError, match="FVM_PULSE_TOKEN_NODE1, FVM_PULSE_TOKEN_NODE2"):
        load({"nodes": ["ws://h/a", "ws://h/b"]})


def test_secrets_do_not_show() -> None:
    """Neither passwords nor keys inside URLs show when settings are printed or a node is named."""
    settings = load({"nodes": ["wss://user:planted@h:1/planted0planted0planted0/rpc/v1?key=planted"], "redis_url": "redis://:planted@h"})
    assert "planted" not in repr(settings)
    assert settings.nodes[0].shown == "wss://***@h:1/***/rpc/v1?***"
    headers = {base64.b64encode(f"{user}:planted".encode()).decode() for user in ("user", "")}
    assert set(settings.secrets) == {"planted", "planted0planted0planted0", *headers}


@pytest.mark.parametrize("held", [b"\xff\xfe", b"one\ntwo", b"one\x00"])
def test_a_token_file_holds_a_token(tmp_path: Path, held: bytes) -> None:
    """Anything else is refused, and not shown; an empty file is for a node that needs none."""
    path = tmp_path / "token"
    path.write_bytes(b" planted \n")
    token = load({"token_files": f"node1={path}"}).nodes[0].token
    assert token is not None
    assert token.get_secret_value() == "planted"
    path.write_bytes(b"\n")
    assert load({"token_files": f"node1={path}"}).nodes[0].token is None
    path.write_bytes(held)
    with pytest.raises(UsageError, match=f"^token_files: {path} holds no token: it is one line of text, or nothing where none is needed$"):
        load({"token_files": f"node1={path}"})


def test_thresholds() -> None:
    """Thresholds may be set per indicator, in part."""
    _file('[thresholds.gas_share]\nwarn = 0.3\nfor = "30m"\nbound = "below"')
    threshold = load().thresholds["gas_share"]
    assert (threshold.warn, threshold.critical, threshold.hold, threshold.bound) == (0.3, None, "30m", "below")


def test_ipv6_listen() -> None:
    """An IPv6 address stands in brackets."""
    assert load({"listen": "[::1]:80"}).listen == ("::1", 80)
    assert str(load({"listen": "[::1]:80"}).listen) == "[::1]:80"


BAD_FLAGS = [
    ("nodes", ["http://127.0.0.1:1234/rpc/v1"], "--node: 'http://127.0.0.1:1234/rpc/v1' is not a websocket URL: allowed are ws://"),
    ("nodes", ["ws://"], "is not a websocket URL"),
    ("nodes", ["ws://h:99999/"], "is not a websocket URL"),
    ("nodes", ["ws://u:planted@h:x/"], "is not a websocket URL"),
    ("nodes", ["ws://a..b/"], "is not a websocket URL"),
    ("nodes", [f"ws://{'a' * 70}.org/"], "is not a websocket URL"),
    ("nodes", ["ws://planted@h/"], "'ws://***@h/' has a user without a password: allowed are USER:PASSWORD@HOST"),
    ("listen_password", 918273645, "--listen-password: *** is not allowed"),
    ("nodes", ["replay:"], "is not a websocket URL"),
    ("nodes", ["Own=ws://h"], "'Own' is no name for a node"),
    ("nodes", ["a=ws://h", "a=ws://i"], "two nodes are named 'a'"),
    ("nodes", [], "at least one node"),
    ("windows", "5x", "--windows: '5x' is not a window: allowed are <n>e"),
    ("windows", "0h", "'0h' is not a window"),
    ("windows", "-1h", "'-1h' is not a window"),
    ("windows", "1.5h", "'1.5h' is not a window"),
    ("windows", "401d", "'401d' is not a window"),
    ("windows", "1h,1h", "'1h' is given twice"),
    ("windows", "", "allowed are 1 to 16 windows"),
    ("listen", "9464", "--listen: '9464' is not HOST:PORT"),
    ("listen", "127.0.0.1:65536", "'127.0.0.1:65536' is not HOST:PORT"),
    ("redis_url", "http://h", "--redis-url: 'http://h' is not a Redis URL"),
    ("redis_url", "redis://:planted@h:p", "is not a Redis URL"),
    ("chain_id", "main", "--chain-id: 'main' is not allowed"),
    ("chain_id", 0, "--chain-id: 0 is not allowed: input should be greater than 0"),
    ("network", "a" * 65, "--network: "),
    ("network", "Main Net", "--network: 'Main Net' is not allowed"),
    ("kafka_brokers", "h", "'h' is not HOST:PORT"),
    ("partitions", 0, "--partitions: 0 is not allowed"),
    ("preset", "best", "input should be 'default' or 'article'"),
    ("stale_after_seconds", "nan", "--stale-after-seconds: 'nan' is not allowed"),
    ("replay_pace", -1, "--replay-pace: -1 is not allowed"),
]


@pytest.mark.parametrize("key,value,sentence", BAD_FLAGS)
def test_bad_values_are_refused_in_one_line(key: str, value: object, sentence: str) -> None:
    """The sentence names the flag, the value and what is allowed, on one line, without a secret."""
    with pytest.raises(UsageError) as caught:
        load({key: value})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)


BAD_FILES = [
    ('widnows = ["1h"]', "fvm-pulse.toml: unknown key 'widnows': did you mean windows?"),
    ("zzz = 1", "unknown key 'zzz': allowed are backfill,"),
    ('windows = ["x"]', "fvm-pulse.toml: windows: 'x' is not a window"),
    ("windows = 3", "fvm-pulse.toml: windows: allowed are 1 to 16 windows"),
    ("listen = [", "fvm-pulse.toml: not TOML:"),
    ('[thresholds.x]\nwran = "1"', "fvm-pulse.toml: thresholds.x.wran: unknown key: allowed are warn, critical, for, bound and window"),
    ('[thresholds.x]\nwarn = "often"', "fvm-pulse.toml: thresholds.x.warn: 'often' is not allowed"),
    ('[thresholds.x]\nfor = "soon"', "thresholds.x.for: 'soon' is not allowed"),
    ("kafka_password = 20261123", "fvm-pulse.toml: kafka_password: *** is not allowed"),
    ('[token_files]\nnobody = "/dev/null"', "token_files: no node is named 'nobody'"),
    ('[token_files]\nnode1 = "absent"', "token_files: absent can not be read"),
]


@pytest.mark.parametrize("text,sentence", BAD_FILES)
def test_bad_files_are_refused_in_one_line(text: str, sentence: str) -> None:
    """The sentence names the file and the key."""
    _file(text)
    with pytest.raises(UsageError) as caught:
        load()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_VARIABLES = [
    ("FVM_PULSE_WINDOW", "1h", "environment: unknown key 'FVM_PULSE_WINDOW': did you mean FVM_PULSE_WINDOWS?"),
    ("FVM_PULSE_TOKEN_NOBODY", "x", "FVM_PULSE_TOKEN_NOBODY belongs to no node: allowed are FVM_PULSE_TOKEN_NODE1"),
    ("FVM_PULSE_PARTITIONS", "many", "FVM_PULSE_PARTITIONS: 'many' is not allowed"),
    ("FVM_PULSE_THRESHOLDS", "many", "FVM_PULSE_THRESHOLDS: not JSON"),
    ("FVM_PULSE_CONFIG", "absent.toml", "absent.toml can not be read"),
]


@pytest.mark.parametrize("variable,value,sentence", BAD_VARIABLES)
def test_bad_variables_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str) -> None:
    """The sentence names the variable."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        load()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
