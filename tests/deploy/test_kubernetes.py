"""The Kubernetes manifests: valid, and wired to what the server really does."""

import math

import jsonschema
import pytest
from click.testing import CliRunner
from support.manifests import DEPLOY, pods, resources, validate

from serve.__main__ import cli
from serve.api.http.openapi import document
from serve.api.settings import ApiSettings
from serve.config import ServeConfig

MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# What a server takes to close once it has drained.
CLOSING_SECONDS = 12


def containers() -> list:
    """Name of the manifest, pod, and its only container."""
    return [
        pytest.param(pod, pod["spec"]["containers"][0], id=f"{path.stem}-{index}")
        for path in MANIFESTS
        for resource in resources(path)
        for index, pod in enumerate(pods(resource))
    ]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_are_valid(path):
    kinds = []
    for resource in resources(path):
        validate(resource)
        kinds.append(resource["kind"])
    assert kinds in (["Deployment", "Service"], ["LeaderWorkerSet", "Service"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("deep", [False, True])
def test_the_checker_refuses_a_misspelt_field(path, deep):
    resource = resources(path)[0]
    parent = next(pods(resource))["spec"]["containers"][0] if deep else resource["spec"]
    parent["misspelt"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(resource)


@pytest.mark.parametrize(("pod", "container"), containers())
def test_the_server_understands_its_arguments_and_variables(pod, container):
    variables = {each["name"]: each.get("value", "secret") for each in container["env"]}
    command, *flags = container["args"]
    result = CliRunner().invoke(cli, [command, "--print-config", *flags], env=variables)
    assert result.exit_code == 0, result.output
    for name in variables:
        assert f"environment {name}" in result.output


@pytest.mark.parametrize(("pod", "container"), containers())
def test_a_pod_has_the_time_to_drain(pod, container):
    waiting = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = waiting + ServeConfig().drain_seconds + CLOSING_SECONDS
    assert pod["spec"]["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize(("pod", "container"), containers())
def test_probes_ask_for_routes_that_there_are(pod, container):
    probes = [name for name in container if name.endswith("Probe")]
    paths = {name: container[name]["httpGet"]["path"] for name in probes}
    assert set(paths.values()) <= set(document(ApiSettings(model_id="any"))["paths"])
    if pod["metadata"]["labels"].get("role") == "worker":
        assert not probes
    else:
        assert paths == {
            "startupProbe": "/health/ready",
            "readinessProbe": "/health/ready",
            "livenessProbe": "/health/live",
        }


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_service_finds_the_pod_that_serves_and_no_other(path):
    workload, service = resources(path)
    selected = [
        pod
        for pod in pods(workload)
        if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    (pod,) = selected
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]
    assert port["containerPort"] == ServeConfig().port


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_pods_have_all_chips_of_their_topology(path):
    workload = resources(path)[0]
    hosts = workload["spec"].get("leaderWorkerTemplate", {}).get("size", 1)
    for pod in pods(workload):
        topology = pod["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
        chips = pod["spec"]["containers"][0]["resources"]["limits"]["google.com/tpu"]
        assert chips * hosts == math.prod(map(int, topology.split("x")))
