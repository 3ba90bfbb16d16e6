"""What is written from the catalogue: the rules of Prometheus, the dashboards, `docs/indicators.md`.

Rendering is deterministic and the files are committed; a test renders again and compares. The dashboards need
`grafana-foundation-sdk` (dependency group `render`), the rest nothing beside the project itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from processors.alerts import FRESH_SECONDS, LINKS, Links
from processors.catalogue import ROWS, unit_of
from processors.page import number
from processors.row import GROUPS, Row
from processors.rules import alerting, recording
from processors.thresholds import HOLDS, Indicator, Threshold
from streams.errors import UsageError

CHART_FILES = "deploy/helm/fvm-pulse/files"
NOTE = "Written by `fvm-pulse render` from processors/catalogue.py: change that, not this."

WINDOWS = f"""\
A window of `W` epochs is `(H-W, H]`, where `H` is the newest processed epoch; an epoch is 30 s, and null rounds count as time.
Windows are gauges: never `rate()` them, never add up windows. A value that is not known is absent, never 0.
How much of a window is known stands in `pulse_window_coverage_ratio`; an indicator alerts at 1 only.

Where `fvm-pulse indicators`, `/api/indicators` and the status page judge an indicator, they call it `ok`, `info`, `warning` or
`critical`. Where they do not, they say why: `filling`, with how much is known so far; `unavailable`, with the reason (the node does
not serve it, nothing is declared, an upgrade of the network lies in between, there is nothing to divide by); or `stale`, with its
age, from {FRESH_SECONDS // 60} minutes on."""

PRESETS = f"""\
`preset = "default"` ships floors and comparisons with the network's own past; `preset = "article"` adds the article's levels
as goals of severity `info`. The article's levels are far from what public data show. `[thresholds.<indicator>]` overrides
`warn`, `critical`, `bound` and `for` (one of {", ".join(HOLDS)})."""


class _Dumper(yaml.SafeDumper):
    """Block scalars for expressions of several lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def rules_file(groups: list[dict[str, Any]]) -> str:
    """A rule file of Prometheus."""
    return f"# {NOTE}\n" + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def _levels(threshold: Threshold | None, unit: str) -> str:
    if threshold is None:
        return "none"
    words = {"critical": "critical", "warning": "warning", "info": "goal"}
    return ", ".join(f"{words[severity]} {threshold.bound} {number(level, unit)}" for severity, level in threshold.levels.items())


def _indicator(row: Row, indicator: Indicator) -> str:
    unit = unit_of(row, indicator)
    default, article = indicator.presets.get("default"), indicator.presets.get("article")
    baseline = f" over its own average of {indicator.baseline_days} days" if indicator.baseline_days else ""
    labels = dict(indicator.labels) | ({"window": indicator.window} if "window" in row.labels else {})
    chosen = ",".join(f'{name}="{label}"' for name, label in labels.items())
    value = (f"`{row.metric}{{{chosen}}}`" if chosen else f"`{row.metric}`") + baseline
    return f"| `{indicator.name}` | {value} | {_levels(default, unit)} | {_levels(article, unit)} | {indicator.hold} |"


def _row(row: Row) -> Iterator[str]:
    yield f"### `{row.metric}`"
    yield f"{row.help}"
    yield f"- **Kind, unit**: {row.kind}, {row.unit}" + (
        f"; labels {', '.join(f'`{label}`' for label in row.all_labels)}" if row.all_labels else ""
    )
    for title, text in (("Definition", row.definition), ("It does not say", row.silent), ("The article", row.claim)):
        if text:
            yield f"- **{title}**: {text}"


def _joined(blocks: Iterator[str]) -> str:
    """A heading, its sentence and its list, with blank lines where Markdown wants them."""
    lines: list[str] = []
    for block in blocks:
        if not (block.startswith("- ") and lines and lines[-1].startswith("- ")):
            lines.append("")
        lines.append(block)
    return "\n".join(lines[1:])


def indicators_page() -> str:
    """`docs/indicators.md`."""
    table = [_indicator(row, indicator) for row in ROWS for indicator in row.indicators]
    sections = [
        "# Indicators and metrics",
        f"<!-- {NOTE} -->",
        WINDOWS,
        "## Thresholds",
        PRESETS,
        "\n".join(["| indicator | value | default | article | for |", "|---|---|---|---|---|", *table]),
    ]
    for group, title in GROUPS.items():
        sections.append(f"## {title}")
        sections.extend(_joined(_row(row)) for row in ROWS if row.group == group)
    return "\n\n".join(sections) + "\n"


def _rendered(links: Links) -> dict[str, str]:
    """What is rendered, by its path in the project.

    Raises:
        UsageError: the package for dashboards is not installed.
    """
    try:
        from processors.dashboards import BOARDS, rendered  # noqa: PLC0415 (needs a package that only rendering needs)
    except ModuleNotFoundError as error:
        raise UsageError(f"render needs the dependency group `render`: {error}") from error
    return {
        "deploy/prometheus/rules/recording.yaml": rules_file(recording()),
        "deploy/prometheus/rules/alerts.yaml": rules_file(alerting(links)),
        "docs/indicators.md": indicators_page(),
        **{f"grafana/dashboards/{board.name}.json": rendered(board) for board in BOARDS},
    }


def files(links: Links = LINKS) -> dict[str, str]:
    """Every rendered file, by its path in the project; the Helm chart has copies of its own, since it can not read outside of itself.

    Raises:
        UsageError: the package for dashboards is not installed.
    """
    rendered = _rendered(links)
    folders = {".yaml": "rules", ".json": "dashboards"}
    copies = {f"{CHART_FILES}/{folders[path.suffix]}/{path.name}": name for name in rendered if (path := Path(name)).suffix in folders}
    return rendered | {copy: rendered[name] for copy, name in copies.items()}


def write(root: Path, links: Links = LINKS) -> list[Path]:
    """Writes the rendered files under `root` and answers with those that changed.

    Raises:
        UsageError: the package for dashboards is not installed, or `root` is no folder or can not be written.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder")
    changed = []
    for name, text in files(links).items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise UsageError(f"{path} can not be written: {error.strerror}") from error
            changed.append(path)
    return changed
