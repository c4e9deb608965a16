"""The Kubernetes manifests: valid, and wired to what the server really does."""

import copy
import functools
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from support.manifests import DEPLOY, pods, resources, validate

from serve.__main__ import cli
from serve.api.http.openapi import document
from serve.api.settings import ApiSettings
from serve.config import ServeConfig

MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# Under these, keys are the writer's own.
FREE_KEYS = {"labels", "limits", "matchLabels", "nodeSelector", "requests", "selector"}
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


Place = tuple[str | int, ...]


def places(value: object) -> Iterator[Place]:
    """Paths to all that a resource is made of, itself first."""
    yield ()
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        deeper = places(entry) if isinstance(entry, dict | list) else [()]
        yield from ((key, *path) for path in deeper)


def kinds_of_places(resource: dict) -> list[Place]:
    """One place of each kind: probes are alike, and so are pods and the entries of a list."""
    return list(
        {
            tuple(key for key in place if isinstance(key, str))[-2:]: place
            for place in places(resource)
        }.values()
    )


def at(resource: dict, path: Iterable[str | int]) -> Any:
    return functools.reduce(operator.getitem, path, resource)


def refused(resource: dict) -> bool:
    try:
        validate(resource)
    except jsonschema.ValidationError:
        return True
    return False


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_checker_refuses_a_misspelt_field_wherever_it_is(path):
    for resource in resources(path):
        for place in kinds_of_places(resource):
            mutant = copy.deepcopy(resource)
            parent = at(mutant, place)
            if isinstance(parent, dict) and not FREE_KEYS & {*place}:
                parent["misspelt"] = "1"
                assert refused(mutant), place


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_checker_refuses_a_value_of_a_wrong_type_wherever_it_is(path):
    for resource in resources(path):
        for place in kinds_of_places(resource):
            if place in {(), ("apiVersion",), ("kind",)}:  # by which the schema is chosen
                continue
            mutant = copy.deepcopy(resource)
            *above, key = place
            wrong = "a text" if isinstance(at(resource, place), dict | list) else ["a list"]
            at(mutant, above)[key] = wrong
            assert refused(mutant), place


@pytest.mark.parametrize(("pod", "container"), containers())
def test_pods_are_told_nothing_of_services(pod, container):
    assert pod["spec"]["enableServiceLinks"] is False


def test_the_service_of_a_slice_leaves_the_name_of_the_set_to_its_controller():
    """By its own Service of that name the pods find each other; it makes none if one is there."""
    workload, service = resources(DEPLOY / "kubernetes" / "tpu-slice.yaml")
    assert service["metadata"]["name"] != workload["metadata"]["name"]


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
