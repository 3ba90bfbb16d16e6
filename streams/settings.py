"""The settings: one typed object, from flags over `FVM_PULSE_*` over a TOML file over defaults.

Whatever can not be used is refused here, in one sentence that names the key, the value and what is allowed; nothing
further in asks again. Secrets (tokens, and the passwords for Redis, Kafka and our own pages) never show in a `repr`.
"""

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from streams import values
from streams.brokers import BrokerSettings, with_password
from streams.errors import UsageError
from streams.listening import ListenSettings, with_listen_password
from streams.records import NETWORK
from streams.values import PREFIX, File, Node, secrets_in

FILE = "fvm-pulse.toml"
SECRET = {"redis_url", "kafka_password", "listen_password"}
"""Keys whose values are never shown, whatever is wrong with them."""
DEFAULT_NODE = "wss://wss.node.glif.io/apigw/lotus/rpc/v1"


def default_data_dir() -> Path:
    """Where this platform keeps a user's data."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "fvm-pulse"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "fvm-pulse"


class Threshold(BaseModel):
    """What an operator overrides of one indicator's thresholds; `for` is how long it must hold, such as `30m`, `window` which
    of the windows of its figure is watched.

    Which indicators, levels, times and windows there are is known, and checked, by those who keep the catalogue.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    warn: float | None = Field(default=None, allow_inf_nan=False)
    critical: float | None = Field(default=None, allow_inf_nan=False)
    hold: str | None = Field(default=None, alias="for", pattern=r"^[0-9]{1,6}[smhd]$")
    bound: Literal["below", "above"] | None = None
    window: str | None = None


class Settings(ListenSettings, BrokerSettings):
    """Everything that can be set; see `docs/operations.md` for what each key is for. Made by `load`.

    Units: `look_back_epochs` and `supply_every_epochs` (how often the slow question for the supply is asked) in epochs of 30 s,
    `stale_after_seconds` in seconds, `replay_pace` in times real time.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, validate_default=True)

    nodes: Annotated[tuple[Node, ...], NoDecode, BeforeValidator(values.nodes)] = (Node("node1", DEFAULT_NODE),)
    token_files: Annotated[dict[str, File], NoDecode, BeforeValidator(values.token_files)] = Field(default_factory=dict)
    chain_id: int | None = Field(default=None, gt=0)
    network: str | None = Field(default=None, pattern=rf"^{NETWORK}$")
    redis_url: Annotated[SecretStr, AfterValidator(values.redis_url)] | None = None
    windows: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.windows)] = ("1h", "24h", "7d", "30d")
    data_dir: File = Field(default_factory=default_data_dir)
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    preset: Literal["default", "article"] = "default"
    registry: File | None = None
    traces: Literal["auto", "all", "off"] = "auto"
    look_back_epochs: int = Field(default=2000, ge=0)
    supply_every_epochs: int = Field(default=20, ge=1, le=120)
    backfill: Annotated[str, AfterValidator(values.backfill)] = "auto"
    concurrency: int = Field(default=8, ge=1, le=256)
    requests_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    witnesses: int = Field(default=1, ge=0, le=16)
    compare_depth_epochs: int = Field(default=30, ge=0, le=900)
    receipts_quorum: int = Field(default=1, ge=1, le=17)
    reread_depth_epochs: int = Field(default=30, ge=0, le=900)
    reread_final_epochs: int = Field(default=900, ge=0, le=900)
    hedge_after_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    stale_after_seconds: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    replay_pace: float = Field(default=1.0, gt=0, le=100_000)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be logged."""
        given = [*(node.token for node in self.nodes), self.kafka_password, self.listen_password]
        tokens = [secret.get_secret_value() for secret in given if secret]
        urls = [node.url for node in self.nodes if node.recording is None] + ([self.redis_url.get_secret_value()] if self.redis_url else [])
        return tuple(dict.fromkeys(secret for secret in [*tokens, *(secret for url in urls for secret in secrets_in(url))] if secret))


def _unknown(key: str, where: str, allowed: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(sorted(allowed))}"
    return UsageError(f"{where}: unknown key {key!r}: {hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(values.path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config: {path} can not be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except ValueError as error:
        raise UsageError(f"--config: {error}") from error
    for key in found:
        if key not in Settings.model_fields:
            raise _unknown(key, str(path), list(Settings.model_fields))
    return found


def _check_environment(environment: Mapping[str, str]) -> None:
    known = [PREFIX + key.upper() for key in [*Settings.model_fields, "config", "token"]]
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in known and not variable.startswith(f"{PREFIX}TOKEN_"):
            raise _unknown(variable, "environment", known)


def _with_tokens(settings: Settings, environment: Mapping[str, str]) -> Settings:
    variables = {node.token_variable: node.name for node in settings.nodes}
    tokens: dict[str, str] = {}
    for name, path in settings.token_files.items():
        if name not in variables.values():
            raise UsageError(f"token_files: no node is named {name!r}: nodes are {', '.join(variables.values())}")
        try:
            tokens[name] = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"token_files: {path} can not be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"token_files: {path} holds no token: it is one line of text, or nothing where none is needed") from error
        if not tokens[name].isprintable():
            raise UsageError(f"token_files: {path} holds no token: it is one line of text, or nothing where none is needed")
    for variable, value in environment.items():
        if variable.startswith(f"{PREFIX}TOKEN_") and variable != f"{PREFIX}TOKEN_FILES":
            if variable not in variables:
                raise UsageError(f"environment: {variable} belongs to no node: allowed are {', '.join(variables)}")
            tokens[variables[variable]] = value.strip()
    if only := environment.get(f"{PREFIX}TOKEN"):
        if len(settings.nodes) > 1:
            raise UsageError(f"environment: {PREFIX}TOKEN is for a single node: with several use {', '.join(variables)}")
        tokens.setdefault(settings.nodes[0].name, only.strip())
    nodes = tuple(replace(node, token=SecretStr(tokens[node.name])) if tokens.get(node.name) else node for node in settings.nodes)
    return settings.model_copy(update={"nodes": nodes})


def _sentence(error: ValidationError, flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None) -> str:
    """The first of the errors as one sentence: where the value came from, the value, what is allowed."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])  # about several keys, which it names
    key, *inner = (str(part) for part in first["loc"])
    variable = PREFIX + key.upper()
    if key in flags:
        where = "--" + {"nodes": "node"}.get(key, key).replace("_", "-")
    elif environment.get(variable):
        where = variable
    else:
        where = f"{file}: {key}" if file else key
    where = ".".join([where, *inner])
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key: allowed are warn, critical, for, bound and window"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    shown = "***" if key in SECRET else repr(first["input"])
    return f"{where}: {shown} is not allowed: {first['msg'][:1].lower()}{first['msg'][1:]}"


def load(flags: Mapping[str, object] | None = None, *, config: Path | None = None) -> Settings:
    """The settings, from `flags` (by key; None means not given) over the environment over a file over the defaults.

    The file is `config`, else the one that `FVM_PULSE_CONFIG` names, else `fvm-pulse.toml` of the working directory if
    there is one.

    Raises:
        UsageError: something can not be used; one line that says what, where, and what is allowed.
    """
    environment = dict(os.environ)
    given: dict[str, Any] = {key: value for key, value in (flags or {}).items() if value is not None}
    named = config or (Path(environment[f"{PREFIX}CONFIG"]) if environment.get(f"{PREFIX}CONFIG") else None)
    file = named or (Path(FILE) if Path(FILE).is_file() else None)
    read = _read(file) if file else {}
    _check_environment(environment)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic names it)
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic names it)
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=read)

    try:
        return with_listen_password(with_password(_with_tokens(Sourced(**given), environment)))
    except ValidationError as error:
        raise UsageError(_sentence(error, given, environment, file)) from None
    except SettingsError as error:
        raise UsageError(f"{PREFIX}THRESHOLDS: not JSON: write thresholds into {FILE} instead") from error
