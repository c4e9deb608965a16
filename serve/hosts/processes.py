"""Which processes serve together, and JAX's rendezvous between them.

On a slice of several TPU hosts the processes are found by what the machine says of itself,
elsewhere by settings. Knows nothing of what the processes then do.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
import jax

from model.mesh import MeshError, parse_mesh
from serve.config import ServeConfig
from serve.engine.jax_settings import check_devices
from serve.hosts.errors import HostsError
from serve.leaving import leave_at_once

logger = logging.getLogger(__name__)

# Hosts may be started one after another, by hand.
_RENDEZVOUS_SECONDS = 300
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
# Of an address range that nobody has: what is asked is only which interface leads outwards.
_OUTSIDE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that serve together, one on each host.

    Attributes:
        count: how many there are, at least 2.
        index: which one this is; 0 plans and serves HTTP.
        address: by which the others reach this one, as far as it can tell.
    """

    count: int
    index: int
    address: str


def join(config: ServeConfig) -> Processes | None:
    """Meet the other processes under `jax.distributed`; None where there are no others.

    Must be called before JAX has touched a device.

    Raises:
        HostsError: they cannot meet. Where they just don't, the process ends.
        EngineConfigError: this one has no devices.
    """
    found = config.num_processes or _processes_of_tpu_slice()
    if found == 1:
        return None
    # Its signal handler would take SIGTERM away from ours.
    jax.config.update("jax_enable_preemption_service", False)
    logger.info("waiting for the other processes")
    last = threading.Timer(_RENDEZVOUS_SECONDS, _stay_alone)
    last.daemon = True
    last.start()
    # JAX would abort the process, with a stack trace.
    patience = 2 * _RENDEZVOUS_SECONDS
    try:
        if config.coordinator:
            jax.distributed.initialize(
                config.coordinator,
                config.num_processes,
                config.process_id,
                initialization_timeout=patience,
                cluster_detection_method="deactivate",
            )
        else:
            jax.distributed.initialize(initialization_timeout=patience)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HostsError(
            f"the processes cannot meet: {reason}; give --coordinator an address of process 0 with "
            f"a free port, and each process its own --process-id"
        ) from error
    finally:
        last.cancel()
    check_devices()
    host = config.coordinator.rpartition(":")[0] or _own_address()
    return Processes(jax.process_count(), jax.process_index(), host)


def check_mesh(mesh: str) -> None:
    """Refuse a mesh that leaves devices of some processes without work.

    Raises:
        MeshError: it does, or is not a mesh.
    """
    if mesh and parse_mesh(mesh).devices != jax.device_count():
        raise MeshError(
            f"mesh is {mesh}, and {jax.process_count()} processes have {jax.device_count()} "
            f"devices; give a mesh of all of them, or start fewer processes"
        )


def _processes_of_tpu_slice() -> int:
    # JAX names the platform on a machine with chips, unless a person has chosen another.
    if "tpu" not in (jax.config.values.get("jax_platforms") or ""):
        return 1
    return tpu_hosts(os.environ, _instance_attribute)


def tpu_hosts(environment: Mapping[str, str], attribute: Callable[[str], str]) -> int:
    """How many hosts the TPU slice of this one has.

    Args:
        environment: the variables of this process; on Kubernetes they list the hosts.
        attribute: asks the machine's metadata, which lists them on a TPU VM; empty if unknown.
    """
    listed = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if not listed and "TPU_SKIP_MDS_QUERY" not in environment:
        listed = attribute("worker-network-endpoints")
    hosts = len(listed.split(",")) if listed else 1
    return hosts * int(environment.get("MEGASCALE_NUM_SLICES") or 1)


def _instance_attribute(name: str) -> str:
    headers = {"Metadata-Flavor": "Google"}
    try:
        answer = httpx.get(_METADATA + name, headers=headers, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.is_success else ""


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outwards:
        outwards.connect(_OUTSIDE)
        return str(outwards.getsockname()[0])


def _stay_alone() -> None:
    logger.error(
        "the other processes were not there within %d s; start all of them within that time, and "
        "let them reach each other's ports",
        _RENDEZVOUS_SECONDS,
    )
    leave_at_once(1)
