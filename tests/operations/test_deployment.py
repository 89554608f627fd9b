"""The shape of production, as far as it can be judged without an engine to run it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sluicegate.operations.broker import PROPERTIES
from sluicegate.operations.jars import read_lock
from sluicegate.settings import ENVIRONMENT_PREFIX, PATH_VARIABLE, known_keys

ROOT = Path(__file__).parents[2]
OWN_PARTS = {"router": 9401, "worker": 9402, "liaison": 9403, "counter": 9404, "desk": 9405}
Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(
        ROOT.joinpath("docker-compose.yml").read_text("utf-8")
    )
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = compose["services"]
    return found


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / name
    return subprocess.run(
        [program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_compose_file_is_valid_against_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = tool("check-jsonschema", *schema, "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_the_linter() -> None:
    done = tool("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_published_port_is_on_the_loopback_interface(services: dict[str, Service]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_that_stays_has_a_health_check(services: dict[str, Service]) -> None:
    own_check = "HEALTHCHECK" in ROOT.joinpath("Dockerfile").read_text("utf-8")
    for name, service in services.items():
        checked = "healthcheck" in service or ("build" in service and own_check)
        assert checked, name


def test_the_image_runs_as_a_user_without_rights() -> None:
    lines = ROOT.joinpath("Dockerfile").read_text("utf-8").splitlines()
    users = [int(line.split()[1]) for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] != 0


def test_own_services_drop_every_capability(services: dict[str, Service]) -> None:
    for name in (*OWN_PARTS, "topics"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_the_worker_can_be_scaled(services: dict[str, Service]) -> None:
    assert not {"ports", "container_name", "hostname"} & services["worker"].keys()


def test_no_secret_stands_in_the_file(services: dict[str, Service]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|DATABASE_URL", name):
                assert re.search(r"\$\{\w+:\?", value), name


def test_every_secret_is_explained_in_the_example() -> None:
    text = ROOT.joinpath("docker-compose.yml").read_text("utf-8")
    example = ROOT.joinpath(".env.example").read_text("utf-8")
    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert f"\n{name}=\n" in example


def test_every_override_names_a_setting_that_exists(services: dict[str, Service]) -> None:
    overrides = {name for service in services.values() for name in service.get("environment", {})}
    overrides |= set(re.findall(r"SLUICEGATE_\w+", str(services["worker"]["entrypoint"])))
    overrides |= set(re.findall(r"(SLUICEGATE_\w+)=", ROOT.joinpath("Dockerfile").read_text()))
    own = {name for name in overrides if name.startswith(ENVIRONMENT_PREFIX)}
    assert own
    named = {name.removeprefix(ENVIRONMENT_PREFIX).lower() for name in own - {PATH_VARIABLE}}
    assert named <= {key.replace(".", "__") for key in known_keys()}


def test_dependencies_are_waited_for_until_they_are_ready(services: dict[str, Service]) -> None:
    for name in OWN_PARTS:
        conditions = {
            other: wait["condition"] for other, wait in services[name]["depends_on"].items()
        }
        assert conditions["kafka"] == "service_healthy"
        assert conditions["topics"] == "service_completed_successfully"
    assert services["liaison"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_prometheus_asks_every_part_at_its_port(services: dict[str, Service]) -> None:
    path = ROOT / "config" / "prometheus" / "prometheus.yml"
    jobs = YAML(typ="safe").load(path.read_text("utf-8"))["scrape_configs"]
    asked = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in jobs}
    assert asked == OWN_PARTS
    for part, port in OWN_PARTS.items():
        environment = services[part]["environment"]
        assert environment[f"SLUICEGATE_{part.upper()}__METRICS_PORT"] == port


def test_files_that_are_mounted_or_copied_exist(services: dict[str, Service]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", ROOT.joinpath("Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    for name in mounted + [name for line in copied for name in line.split()]:
        assert ROOT.joinpath(name).exists(), name


def test_every_kafka_is_the_same_version_with_the_same_limits(
    services: dict[str, Service],
) -> None:
    kafka = services["kafka"]
    assert kafka["image"] == f"apache/kafka:{read_lock().kafka}"
    embedded = dict(
        line.split("=", 1) for line in PROPERTIES.splitlines() if not line.startswith("#")
    )
    for name in ("message.max.bytes", "auto.create.topics.enable"):
        variable = "KAFKA_" + name.upper().replace(".", "_")
        assert str(kafka["environment"][variable]) == embedded[name]


def test_the_image_has_the_version_of_the_project(services: dict[str, Service]) -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
    assert services["router"]["image"] == f"sluicegate:{project['version']}"
