"""What stands in deploy/ is parsed and held to the code: paths, settings, probes, signals. Nothing is started here."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = DEPLOY / "container" / "Containerfile"
STOPS_WITHIN_S = 10


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    text = (DEPLOY / "kubernetes" / "secondkey.yml").read_text(encoding="utf-8")
    return {item["kind"]: item for item in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def pod(kinds: dict[str, Any]) -> dict[str, Any]:
    return dict(kinds["Deployment"]["spec"]["template"]["spec"])


def environment_of_image() -> dict[str, str]:
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return dict(pair.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE) for pair in line.split())


def routes() -> set[str]:
    return set(re.findall(r'add_(?:get|post)\("(/[\w/]+)"', (ROOT / "bot" / "web.py").read_text(encoding="utf-8")))


def test_every_file_that_could_not_be_run_says_so() -> None:
    files = [
        CONTAINERFILE,
        *DEPLOY.glob("container/*.yml"),
        *DEPLOY.glob("kubernetes/*.yml"),
        *DEPLOY.glob("systemd/*"),
    ]
    assert len(files) >= 4
    for path in files:
        assert "not run here" in path.read_text(encoding="utf-8").lower(), path.name
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert page.count("not run here") >= 3
    assert "Heroku" in page


# -- Kubernetes ------------------------------------------------------------------------------------------------------


def test_kubernetes_runs_one_replica_which_ends_before_the_next_starts(kinds: dict[str, Any]) -> None:
    spec = kinds["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert kinds["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_kubernetes_probes_what_the_server_answers(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    probed = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probed == {"/healthz", "/readyz"}
    assert probed <= routes()
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "Slack being down is no reason to be killed"
    assert str(container["ports"][0]["containerPort"]) == environment_of_image()["PORT"]


def test_kubernetes_waits_for_the_end_and_sets_no_settings_by_accident(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] > STOPS_WITHIN_S
    assert pod["enableServiceLinks"] is False  # a Service called secondkey would set SECONDKEY_PORT=tcp://…


def test_the_state_lies_on_the_volume(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    image = environment_of_image()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "persistentVolumeClaim" in volumes[mounts[image["SECONDKEY_DATA"]]]
    assert image["SECONDKEY_PROJECT"] in mounts
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "/tmp" in mounts  # noqa: S108  a path inside the container


def test_the_config_map_is_a_configuration_that_loads(kinds: dict[str, Any], tmp_path: Path) -> None:
    ((name, text),) = kinds["ConfigMap"]["data"].items()
    (tmp_path / name).write_text(text)
    settings = load_settings(tmp_path / name, environment_of_image())
    assert (settings.port, settings.host) == (8080, "0.0.0.0")  # noqa: S104  what the platform needs
    assert settings.approvers


def test_nobody_is_root_in_a_container(pod: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert user
    assert pod["securityContext"]["runAsUser"] == int(user[1]) > 0
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"]["drop"] == ["ALL"]


# -- containers ------------------------------------------------------------------------------------------------------


def test_the_image_installs_the_lock_with_hashes_and_copies_every_package() -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8")
    assert "--require-hashes --requirement requirements.lock" in text
    for package in ("agent", "bot", "simulator", "storage"):
        assert f"COPY {package} {package}\n" in text
    copied = re.search(r"^COPY (requirements.lock .*) \./$", text, re.MULTILINE)
    assert copied
    assert all((ROOT / name).is_file() for name in copied[1].split())
    assert re.search(r'^CMD \["secondkey", "serve"\]$', text, re.MULTILINE)


def test_what_the_image_sets_are_settings() -> None:
    named = {name.removeprefix("SECONDKEY_").lower() for name in environment_of_image() if name.startswith("SECOND")}
    assert named <= set(Settings.model_fields)


def test_the_compose_file_mounts_what_the_image_expects_and_opens_nothing_outside() -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["secondkey"]
    image = environment_of_image()
    mounts = {item.split(":")[1] for item in service["volumes"]}
    assert {image["SECONDKEY_DATA"], image["SECONDKEY_PROJECT"], "/etc/secondkey"} <= mounts
    assert all(port.startswith("127.0.0.1:") and port.endswith(f":{image['PORT']}") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > STOPS_WITHIN_S
    context = (DEPLOY / "container" / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()


# -- systemd ---------------------------------------------------------------------------------------------------------


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  systemd's names keep their case
    parser.read(DEPLOY / "systemd" / "secondkey.service", encoding="utf-8")
    return parser


def test_the_unit_serves_reloads_the_policy_and_waits_for_the_end() -> None:
    service = unit()["Service"]
    assert " serve --config " in service["ExecStart"]
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert int(service["TimeoutStopSec"]) > STOPS_WITHIN_S
    assert service["UMask"] == "0077"
    assert service["NoNewPrivileges"] == "yes"
    assert "RestrictNamespaces" not in service  # bubblewrap makes some


def test_systemd_accepts_the_unit_where_it_is_installed(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "secondkey.service").read_text(encoding="utf-8")
    command = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert command
    verify = shutil.which("systemd-analyze")
    if verify is None:
        return  # what could be said without it is said above
    path = tmp_path / "secondkey.service"
    path.write_text(text.replace(command[1], sys.executable).replace("User=secondkey", f"User={os.getuid()}"))
    done = subprocess.run(  # noqa: S603  a constant command
        (verify, "verify", "--man=no", "--recursive-errors=no", str(path)), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
