"""The chart of Helm: what it makes fits the schemas of Kubernetes, and is what the server understands."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from tallystick.cli.main import commands
from tallystick.service.environment import remove_secrets

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "helm" / "tallystick"
HELM: Final = shutil.which("helm")
KUBECONFORM: Final = shutil.which("kubeconform")
KUBERNETES_VERSION: Final = "1.30.0"
EVERYTHING: Final = [
    "--set", "networkPolicy.enabled=true,metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true",
    "--set", "migration.after=true",
    "--set-json", 'extraEnvironment=[{"name":"OTEL_SERVICE_NAME","value":"ledger"}]',
    "--set", "secrets.cache.name=cache,secrets.cacheKey.name=cache,workers=3,service.type=LoadBalancer",
    "--set", "nodeSelector.disk=fast,metrics.podMonitor.labels.release=prometheus,podAnnotations.a=b",
    "--set-json", 'tolerations=[{"key":"ledger","operator":"Exists"}]',
    "--set-json", 'affinity={"nodeAffinity":{}}',
    "--set-json", 'imagePullSecrets=[{"name":"registry"}]',
]  # fmt: skip
NOTHING: Final = [
    "--set", "secrets.password.name=,secrets.webhookKeys.name=,migration.password.name=",
    "--set", "podDisruptionBudget.enabled=false,migration.enabled=false",
]  # fmt: skip
CHOICES: Final = {"usual": [], "everything": EVERYTHING, "nothing": NOTHING}

pytestmark = pytest.mark.skipif(
    HELM is None, reason="there is no helm: go install helm.sh/helm/v3/cmd/helm@latest"
)


def rendered(*options: str) -> str:
    done = subprocess.run(
        [
            str(HELM), "template", "ledger", str(FOLDER), "--namespace", "money",
            # A helm that `go install` has built takes every cluster for one of version 1.20.
            "--kube-version", KUBERNETES_VERSION, *options,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(*options: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects that the chart makes, by kind and name."""
    found = [one for one in yaml.safe_load_all(rendered(*options)) if one]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(by_name) == len(found)
    return by_name


def test_helm_finds_nothing() -> None:
    done = subprocess.run(
        [str(HELM), "lint", "--strict", str(FOLDER)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    KUBECONFORM is None,
    reason="there is no kubeconform: go install github.com/yannh/kubeconform/cmd/kubeconform@latest",
)
@pytest.mark.parametrize("choice", CHOICES)
def test_what_it_makes_fits_the_schemas_of_kubernetes(choice: str, tmp_path: Path) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="there are no schemas: pip install kubernetes-validate"
    )
    schemas = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    version = max((path for path in schemas.iterdir() if path.name.endswith("-strict")), key=version_of)
    path = tmp_path / "objects.yaml"
    path.write_text(rendered(*CHOICES[choice]), encoding="utf-8")
    local = tmp_path / "schemas"
    local.mkdir()
    kinds = {one["kind"].lower() for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one}
    for schema in version.glob("*.json"):
        if schema.stem.partition("-")[0] in kinds | {"_definitions"}:
            (local / schema.name).write_text(within_the_folder(schema), encoding="utf-8")
    done = subprocess.run(
        [
            str(KUBECONFORM), "-strict", "-summary", "-skip", "PodMonitor,PrometheusRule",
            "-schema-location", f"{local}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", str(path),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid: 0" not in done.stdout


def within_the_folder(schema: Path) -> str:
    """A schema that refers to others in its folder, and not to an address in the network."""
    document = json.loads(schema.read_text(encoding="utf-8"))
    document.pop("$id", None)
    return json.dumps(document).replace("/api/_definitions.json", "_definitions.json")


def version_of(path: Path) -> list[int]:
    return [int(part) for part in path.name.lstrip("v").partition("-")[0].split(".")]


@pytest.mark.parametrize("choice", CHOICES)
def test_containers_run_what_there_is_and_are_not_root(choice: str) -> None:
    made = objects(*CHOICES[choice])
    pods = [
        one["spec"]["template"]["spec"] for (kind, _), one in made.items() if kind in {"Deployment", "Job"}
    ]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        name, *arguments = container["args"]
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        command.make_context(name, [*arguments, "--config", "x"])
        named = {mount["name"] for mount in container["volumeMounts"]}
        assert named == {volume["name"] for volume in pod["volumes"]}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("choice", CHOICES)
def test_each_secret_is_mounted_where_the_environment_says(choice: str) -> None:
    for (kind, _), one in objects(*CHOICES[choice]).items():
        if kind not in {"Deployment", "Job"}:
            continue
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (secrets,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "secrets"]
        mounted = {
            f"/run/secrets/tallystick/{item['path']}"
            for source in secrets["sources"]
            for item in source["secret"]["items"]
        }
        variables = {one["name"]: one["value"] for one in container["env"]}
        of_secrets = remove_secrets(dict(variables))
        assert {variables[name] for name in of_secrets} == mounted
        has_owner = "TALLYSTICK_OWNER_PASSWORD_FILE" in of_secrets
        assert has_owner == (kind == "Job")


def test_an_upgrade_migrates_in_halves() -> None:
    """What servers of the version before can live with, before the new ones; the rest only if it is asked for."""

    def jobs(*options: str) -> dict[str, list[str]]:
        return {
            one["metadata"]["annotations"]["helm.sh/hook"]: one["spec"]["template"]["spec"]["containers"][0][
                "args"
            ]
            for (kind, _), one in objects(*options).items()
            if kind == "Job"
        }

    before = "pre-install,pre-upgrade"
    assert jobs() == {before: ["migrate"]}
    assert jobs("--is-upgrade") == {before: ["migrate", "--before"]}
    assert jobs("--is-upgrade", "--set", "migration.after=true") == {
        before: ["migrate", "--before"],
        "post-upgrade": ["migrate", "--after"],
    }


def test_the_configuration_is_the_one_of_the_values() -> None:
    text = objects()[("ConfigMap", "ledger-tallystick")]["data"]["tallystick.toml"]
    assert tomllib.loads(text)["shard"][0]["number"] == 1
    migration = objects()[("ConfigMap", "ledger-tallystick-migration")]["data"]
    assert migration["tallystick.toml"] == text
    assert "owner_dsn" in migration["owner.toml"]


def test_requests_reach_servers_alone() -> None:
    made = objects()
    selector = made[("Service", "ledger-tallystick")]["spec"]["selector"]
    for (kind, _), one in made.items():
        if kind in {"Deployment", "Job"}:
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert (selector.items() <= labels.items()) == (kind == "Deployment")


def test_a_server_has_time_to_drain() -> None:
    pod = objects("--set", "drainSeconds=60")[("Deployment", "ledger-tallystick")]["spec"]["template"]["spec"]
    assert "--drain-seconds=60" in pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] == 95


def test_the_rules_are_those_of_deploy() -> None:
    made = objects("--set", "metrics.prometheusRule.enabled=true")
    rules = yaml.safe_load((FOLDER.parents[1] / "alerts.yaml").read_text(encoding="utf-8"))
    assert made[("PrometheusRule", "ledger-tallystick")]["spec"] == rules
