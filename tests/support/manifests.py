"""The files of `deploy/`, read for the tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = kubernetes_validate.latest_version()
SETS = json.loads((Path(__file__).parents[1] / "deploy" / "leader_worker_set.json").read_text())


def resources(path: Path) -> list[dict]:
    """The documents of a manifest."""
    return list(yaml.safe_load_all(path.read_text()))


def pods(resource: dict) -> Iterator[dict]:
    """The pod templates of a resource."""
    spec = resource["spec"]
    if resource["kind"] == "LeaderWorkerSet":
        template = spec["leaderWorkerTemplate"]
        yield from (template[name] for name in ("leaderTemplate", "workerTemplate"))
    elif "template" in spec:
        yield spec["template"]


def validate(resource: dict) -> None:
    """Refuse what Kubernetes, or the controller of the resource, would refuse or ignore."""
    if resource["kind"] != "LeaderWorkerSet":
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        return
    jsonschema.validate(resource, SETS)
    core = {"apiVersion": "v1", "metadata": resource["metadata"]}
    for template in pods(resource):
        kubernetes_validate.validate(
            {**core, "kind": "PodTemplate", "template": template}, KUBERNETES, strict=True
        )
