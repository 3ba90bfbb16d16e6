"""The chart, rendered by Helm itself and checked against the schemas of Kubernetes; no cluster has seen it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from processors.alerts import Links
from processors.render import files
from processors.rules import alerting
from streams.settings import load
from tests.secured import make_certificates

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "fvm-pulse"
VERSIONS = ("1.29", "1.34")
LARGEST_CONFIGMAP_BYTES = 1_000_000
PLACES = [
    os.environ.get("PATH", ""),
    *(str(Path(folder).expanduser()) for folder in (f"{os.environ.get('XDG_CACHE_HOME', '~/.cache')}/fvm-pulse/bin", "~/go/bin")),
]
HELM = shutil.which("helm", path=os.pathsep.join(PLACES))

needs_helm = pytest.mark.skipif(HELM is None, reason="Helm is missing: go install helm.sh/helm/v3/cmd/helm@v3.22.0")

DISTRIBUTED = ("mode=distributed", "redis.url=redis://redis:6379/0", "kafka.brokers[0]=kafka:9092")
WATCHED = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "dashboards.enabled=true")
OF_SECRETS = {"FVM_PULSE_REDIS_URL": "redis://secret:6379/0", "FVM_PULSE_LISTEN_USERNAME": "prometheus"}
"""What variables are that come out of a secret."""
CASES = {
    "embedded": (),
    "embedded, everything": (
        *WATCHED,
        "tokens.existingSecret=tokens",
        "embedded.persistence.storageClass=fast",
        f"image.digest=sha256:{'a' * 64}",
        *("listen.existingSecret=listen", "listen.tls.existingSecret=listen-tls"),
    ),
    "distributed": DISTRIBUTED,
    "distributed, everything": (
        *(*DISTRIBUTED, *WATCHED, "worker.autoscaling.enabled=true", "tokens.existingSecret=tokens", "redis.existingSecret=redis"),
        *("tokens.nodes={own,spare}", "nodeSelector.disk=ssd", "podAnnotations.team=chain", "imagePullSecrets[0].name=pull"),
        *("kafka.securityProtocol=SASL_SSL", "kafka.username=pulse", "kafka.existingSecret=kafka"),
        *("kafka.tls.existingSecret=kafka-tls", "kafka.tls.clientCertificate=true"),
        *("listen.existingSecret=listen", "listen.tls.existingSecret=listen-tls", "listen.tls.serverName=pulse.example.org"),
        *("networkPolicy.from[0].podSelector.matchLabels.app=prometheus", "networkPolicy.egress[0].ports[0].port=6379"),
    ),
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


def template(*values: str, version: str = VERSIONS[0]) -> subprocess.CompletedProcess[str]:
    return helm("template", "pulse", str(CHART), "--kube-version", version, *(part for value in values for part in ("--set", value)))


def rendered(*values: str, version: str = VERSIONS[0]) -> list[dict[str, Any]]:
    """The objects of the chart with these values."""
    done = template(*values, version=version)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for kind in ("StatefulSet", "Deployment"):
        yield from (found["spec"]["template"] for found in of_kind(objects, kind).values())


def test_the_chart_has_the_rendered_files() -> None:
    """Rules and dashboards of the chart are those of the project, no more and no less."""
    copies = {name: text for name, text in files().items() if (ROOT / name).is_relative_to(CHART)}
    assert {str(path.relative_to(ROOT)) for path in (CHART / "files").rglob("*.*")} == set(copies)
    for name, text in copies.items():
        assert (ROOT / name).read_text() == text, f"{name}: run `make render`"


@needs_helm
def test_lint() -> None:
    """Helm finds nothing, however strict."""
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@needs_helm
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_knows_every_field(case: str, version: str) -> None:
    """Strictly by the schemas of an old and of a new Kubernetes; names are not given twice."""
    objects = rendered(*CASES[case], version=version)
    names = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert len(names) == len(set(names))
    for found in objects:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", found["metadata"]["name"])
        if not found["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(found, version, strict=True)


@needs_helm
@pytest.mark.parametrize("case", CASES)
def test_pods_may_do_nothing_special(case: str) -> None:
    """No root, no writable root, no rights, no token of the cluster, a limit of memory; probes on the port that is served."""
    found = list(pods(rendered(*CASES[case])))
    assert len(found) == (3 if "distributed" in case else 1)
    for pod in found:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness", "startup")]
            assert probes == [{"path": "/healthz", "port": "http", **({"scheme": "HTTPS"} if "everything" in case else {})}] * 3
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claims = {"data"} if case.startswith("embedded") else set()
            assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]} | claims


@needs_helm
@pytest.mark.parametrize("case", CASES)
def test_selectors_find_their_pods(case: str) -> None:
    """Services, budgets and the policy select pods that exist; every process is scraped, one kind serves the page."""
    objects = rendered(*CASES[case])
    labels = [pod["metadata"]["labels"] for pod in pods(objects)]

    def selected(selector: Mapping[str, str]) -> int:
        return sum(selector.items() <= one.items() for one in labels)

    services = of_kind(objects, "Service")
    assert selected(services["pulse-fvm-pulse"]["spec"]["selector"]) == 1
    assert selected(services["pulse-fvm-pulse-metrics"]["spec"]["selector"]) == len(labels)
    for budget in of_kind(objects, "PodDisruptionBudget").values():
        assert selected(budget["spec"]["selector"]["matchLabels"]) == 1
    for policy in of_kind(objects, "NetworkPolicy").values():
        assert selected(policy["spec"]["podSelector"]["matchLabels"]) == len(labels)


@needs_helm
@pytest.mark.parametrize("case", CASES)
def test_settings_are_accepted(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pod's environment and file say can be used by the program itself."""
    objects = rendered(*CASES[case], 'config=nodes = ["own=ws://a/"\\, "spare=ws://b/"]')
    (tmp_path / "fvm-pulse.toml").write_text(of_kind(objects, "ConfigMap")["pulse-fvm-pulse"]["data"]["fvm-pulse.toml"])
    for name in ("own", "spare", "node1", "password"):
        (tmp_path / name).write_text("token")
    make_certificates(tmp_path)
    for name, file in (("ca.crt", "ca.pem"), ("tls.crt", "client.pem"), ("tls.key", "client.pem")):
        shutil.copy(tmp_path / file, tmp_path / name)
    for pod in pods(objects):
        (container,) = pod["spec"]["containers"]
        for one in container["env"]:
            value = one.get("value", OF_SECRETS.get(one["name"], ""))
            value = value.replace("/etc/fvm-pulse", str(tmp_path))
            value = re.sub("/run/secrets/[a-z-]+", str(tmp_path), value)
            monkeypatch.setenv(one["name"], value.replace("node1=", "own="))
        settings = load()
        assert [node.name for node in settings.nodes] == ["own", "spare"]
        assert (settings.redis_url is None) == case.startswith("embedded")
        tokens = {"own"} if case.startswith("embedded") else {"own", "spare"}
        wanted = tokens if "everything" in case and container["args"][0] in {"run", "follow"} else set()
        assert {node.name for node in settings.nodes if node.token} == wanted
        secured = case == "distributed, everything" and container["args"][0] != "export"
        assert (settings.brokers.password is not None, settings.brokers.key_file is not None) == (secured, secured)
        guarded = "everything" in case
        assert (settings.door.scheme, settings.door.authorization is not None) == ("https" if guarded else "http", guarded)
        assert (settings.door.server() is not None) == guarded
        for one in container["env"]:
            monkeypatch.delenv(one["name"])


@needs_helm
def test_the_operator_gets_rules_and_targets() -> None:
    """The rules are those of the files and pass promtool; the job has the name that they know; dashboards are whole."""
    objects = rendered(*CASES["distributed, everything"])
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "fvm-pulse"}]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {"ca": {"secret": {"name": "listen-tls", "key": "ca.crt"}}, "serverName": "pulse.example.org"}
    assert endpoint["basicAuth"] == {key: {"name": "listen", "key": key} for key in ("username", "password")}
    services = of_kind(objects, "Service").values()
    chosen = [one for one in services if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()]
    assert [one["metadata"]["name"] for one in chosen] == ["pulse-fvm-pulse-metrics"]
    rules = of_kind(objects, "PrometheusRule")
    sources = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "deploy/prometheus/rules").glob("*.yaml")}
    assert {name.removeprefix("pulse-fvm-pulse-"): found["spec"] for name, found in rules.items()} == sources
    maps = of_kind(objects, "ConfigMap")
    for path in (ROOT / "grafana/dashboards").glob("*.json"):
        found = maps[f"pulse-fvm-pulse-{path.stem}"]
        assert found["data"][path.name] == path.read_text().strip("\n")
        assert len(found["data"][path.name]) < LARGEST_CONFIGMAP_BYTES
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


@needs_helm
def test_the_operator_scrapes_as_processes_serve() -> None:
    """In plain text and without a name where nothing is said; by the name of the service where the certificate's is not."""
    (plain,) = of_kind(rendered(*WATCHED), "ServiceMonitor")["pulse-fvm-pulse"]["spec"]["endpoints"]
    assert not plain.keys() & {"scheme", "tlsConfig", "basicAuth"}
    monitors = of_kind(rendered(*WATCHED, "listen.tls.existingSecret=tls"), "ServiceMonitor")
    (secured,) = monitors["pulse-fvm-pulse"]["spec"]["endpoints"]
    assert secured["tlsConfig"]["serverName"] == "pulse-fvm-pulse.default.svc"
    assert "basicAuth" not in secured


@needs_helm
def test_links_of_alerts_lead_where_the_values_say() -> None:
    """Every alert's, and nothing else is touched."""
    values = ("prometheusRule.grafanaUrl=https://grafana.example.org/", "prometheusRule.runbookUrl=https://docs.example.org/runbook")
    found = of_kind(rendered(*WATCHED, *values), "PrometheusRule")["pulse-fvm-pulse-alerts"]["spec"]
    assert found == {"groups": alerting(Links("https://grafana.example.org", "https://docs.example.org/runbook"))}


@needs_helm
def test_workers_scale_by_lag() -> None:
    """With autoscaling the deployment leaves the number of workers to it; a budget lets one pod of each kind go."""
    objects = rendered(*DISTRIBUTED, "worker.autoscaling.enabled=true")
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler").values()
    workers = of_kind(objects, "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in workers["spec"]
    assert scaler["spec"]["metrics"][0]["external"]["metric"]["name"] == "pulse_consumer_lag_records"
    assert {one["spec"]["maxUnavailable"] for one in of_kind(objects, "PodDisruptionBudget").values()} == {1}


@needs_helm
@pytest.mark.parametrize(
    "values,complaint",
    [
        (("mode=both",), "mode"),
        (("worker.replicas=0",), "replicas"),
        (("prometheusRule.grafanaUrl=grafana",), "grafanaUrl"),
        (("serviceMonitor.enable=true",), "enable"),
        (("kafka.brokers[0]=kafka",), "brokers"),
        ((*DISTRIBUTED, "kafka.securityProtocol=TLS"), "securityProtocol"),
        ((*DISTRIBUTED, "kafka.securityProtocol=SASL_SSL", "kafka.username=me"), "kafka.username and kafka.existingSecret are needed"),
        ((*DISTRIBUTED, "kafka.tls.existingSecret=tls"), "set kafka.securityProtocol to SSL or SASL_SSL"),
        ((*DISTRIBUTED, "kafka.securityProtocol=SSL", "kafka.tls.clientCertificate=true"), "kafka.tls.existingSecret is needed"),
        (("listen.tls.serverName=pulse",), "listen.tls.existingSecret is needed"),
        (("listen.password=planted",), "password"),
        (("mode=distributed",), "redis.url or redis.existingSecret is needed"),
        (("mode=distributed", "redis.url=redis://r"), "kafka.brokers is needed"),
    ],
)
def test_wrong_values_are_refused(values: tuple[str, ...], complaint: str) -> None:
    """Before anything reaches a cluster, naming what is wrong."""
    done = template(*values)
    assert done.returncode != 0
    assert complaint in done.stderr
