import jax
import pytest

from model.mesh import MeshError
from serve.config import ConfigError, ServeConfig
from serve.hosts.processes import check_mesh, join, tpu_hosts

NEW_ENDPOINTS = "t1v-n-1-w-0,t1v-n-1-w-1,t1v-n-1-w-2,t1v-n-1-w-3"
OLD_ENDPOINTS = "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3"


def nobody(name: str) -> str:
    raise AssertionError(f"the metadata is asked for {name}")


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        ({"TPU_WORKER_HOSTNAMES": "parlance-0,parlance-0-1"}, 2),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, 1),
        ({"TPU_PROCESS_ADDRESSES": "a:8476,b:8476,c:8476", "TPU_WORKER_HOSTNAMES": "a,b,c"}, 3),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "2"}, 2),
        ({"TPU_SKIP_MDS_QUERY": "1"}, 1),
    ],
)
def test_kubernetes_lists_the_hosts_in_variables(environment, hosts):
    assert tpu_hosts(environment, nobody) == hosts


@pytest.mark.parametrize(
    ("endpoints", "hosts"), [(NEW_ENDPOINTS, 4), (OLD_ENDPOINTS, 2), ("t1v-n-1-w-0", 1), ("", 1)]
)
def test_a_tpu_vm_lists_them_in_its_metadata(endpoints, hosts):
    answers = {"worker-network-endpoints": endpoints}
    assert tpu_hosts({}, answers.__getitem__) == hosts


def test_without_a_tpu_and_settings_there_is_one_process():
    assert join(ServeConfig()) is None
    assert join(ServeConfig(num_processes=1)) is None
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_processes": 2}, "num_processes and process_id say nothing without coordinator"),
        ({"process_id": 0}, "num_processes and process_id say nothing without coordinator"),
        ({"coordinator": "h:1"}, "num_processes 0 and process_id -1"),
        ({"coordinator": "h:1", "num_processes": 2, "process_id": 2}, "process_id 2; there must"),
        ({"coordinator": "h:1", "num_processes": 1, "process_id": 0}, "num_processes 1 and"),
        ({"coordinator": "h", "num_processes": 2, "process_id": 0}, "coordinator is 'h'; it"),
        ({"coordinator": "h:0", "num_processes": 2, "process_id": 0}, "coordinator is 'h:0'; it"),
        ({"coordinator": "[::1]:5", "num_processes": 2, "process_id": 0}, "IPv4 address"),
    ],
)
def test_settings_that_do_not_say_who_is_who(settings, said):
    with pytest.raises(ConfigError, match=r"^(num_processes|coordinator) ") as error:
        ServeConfig(**settings)
    assert said in str(error.value)


def test_a_mesh_must_take_all_devices():
    every = f"model={jax.device_count()}"
    check_mesh("")
    check_mesh(every)
    with pytest.raises(MeshError, match="1 processes have 1 devices; give a mesh of all of them"):
        check_mesh("data=2,model=1")
