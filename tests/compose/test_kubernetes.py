"""The page on Kubernetes says of a service what the stack says of it."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.compose.stack import FILE, ROOT
from tests.program import called_with

PAGE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()
SERVICES = yaml.safe_load(FILE.read_text())["services"]
TRAINER = SERVICES["trainer"]


def deployment() -> dict[str, Any]:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    made = yaml.safe_load(block)
    assert isinstance(made, dict)
    return made


POD = deployment()["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}


def test_the_deployment_selects_its_own_pods() -> None:
    made = deployment()
    assert (made["apiVersion"], made["kind"]) == ("apps/v1", "Deployment")
    assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"]


def test_it_may_do_no_more_than_in_the_stack() -> None:
    user, group = TRAINER["user"].split(":")
    of_pod, of_container = POD["securityContext"], CONTAINER["securityContext"]
    assert (of_pod["runAsUser"], of_pod["runAsGroup"]) == (int(user), int(group))
    assert of_pod["runAsNonRoot"] is True
    assert of_container["readOnlyRootFilesystem"] is TRAINER["read_only"] is True
    assert of_container["capabilities"]["drop"] == TRAINER["cap_drop"]
    assert TRAINER["security_opt"] == ["no-new-privileges:true"]
    assert of_container["allowPrivilegeEscalation"] is False
    assert POD["automountServiceAccountToken"] is False


def test_it_is_given_the_time_and_the_memory_that_the_stack_gives() -> None:
    assert TRAINER["stop_grace_period"] == f"{POD['terminationGracePeriodSeconds']}s"
    limits = CONTAINER["resources"]["limits"]
    assert TRAINER["mem_limit"] == limits["memory"].removesuffix("i").lower()
    assert float(TRAINER["cpus"]) == float(limits["cpu"])


def test_its_arguments_and_variables_are_those_of_a_trainer() -> None:
    group, command, *arguments = CONTAINER["args"]
    assert TRAINER["command"][:2] == [group, command]
    assert called_with((group, command), arguments).params["model"] == "default"
    assert ENVIRONMENT.keys() == TRAINER["environment"].keys()


def test_probes_ask_the_metrics_port_on_an_address_that_kubelet_reaches() -> None:
    (port,) = CONTAINER["ports"]
    assert ENVIRONMENT["TRIBRAIN_METRICS_PORT"] == str(port["containerPort"])
    assert ENVIRONMENT["TRIBRAIN_METRICS_HOST"] == "0.0.0.0"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"] == {"path": "/health", "port": port["name"]}
    check = dict(zip(TRAINER["healthcheck"]["test"], TRAINER["healthcheck"]["test"][1:], strict=False))
    given_up_s = CONTAINER["livenessProbe"]["periodSeconds"] * CONTAINER["livenessProbe"]["failureThreshold"]
    assert given_up_s == int(check["--end-after-s"])
    starting = CONTAINER["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] == 10 * given_up_s


def test_what_it_writes_to_is_mounted() -> None:
    mounted = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounted.values()) == {volume["name"] for volume in POD["volumes"]}
    in_stack = {volume.split(":")[1] for volume in TRAINER["volumes"]}
    in_stack |= {folder.split(":")[0] for folder in TRAINER["tmpfs"]}
    assert set(mounted) == in_stack


def test_every_service_of_ours_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    ours = {name for name, service in SERVICES.items() if "tribrain" in service["image"]}
    assert set(rows) == ours - {"demo"}
