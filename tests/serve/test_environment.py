import pytest
from support.service_links import service_links as links_to

from serve.environment import service_links, strangers
from serve.setting_names import environment_name, settings


@pytest.mark.parametrize(
    ("service", "address"),
    [("parlance", "10.0.0.1"), ("parlance", "fd00::1"), ("parlance-leader", "10.0.0.1")],
)
def test_what_kubernetes_tells_of_a_service_is_recognized(service: str, address: str) -> None:
    links = links_to(service, address)
    others = links_to("redis") | {"PATH": "/bin", "PARLANCE_ROWS": "8"}
    assert service_links(links | others) == set(links)
    assert strangers(links | others) == []


def test_services_whose_names_begin_alike() -> None:
    links = links_to("parlance") | links_to("parlance-service") | links_to("parlance-port")
    assert service_links(links) == set(links)


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_links_of_another_protocol(protocol: str) -> None:
    url = f"{protocol.lower()}://10.0.0.1:53"
    links = {
        "PARLANCE_SERVICE_HOST": "10.0.0.1",
        "PARLANCE_PORT": url,
        f"PARLANCE_PORT_53_{protocol}": url,
        f"PARLANCE_PORT_53_{protocol}_PROTO": protocol.lower(),
    }
    assert service_links(links) == set(links)


def test_the_pod_may_set_the_port_itself_beside_the_links() -> None:
    links = links_to("parlance") | {"PARLANCE_PORT": "9000"}
    assert service_links(links) == set(links) - {"PARLANCE_PORT"}


def test_an_address_for_a_port_is_a_mistake_where_no_service_is() -> None:
    assert service_links({"PARLANCE_PORT": "tcp://10.0.0.1:8000"}) == set()
    assert service_links(links_to("redis") | {"PARLANCE_PORT": "tcp://10.0.0.1:8000"}) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARLANCE_SERVICE_PROT", "8000"),
        ("PARLANCE_SERVICE_PORT", "eight"),
        ("PARLANCE_PORT_8000_TCP", "8000"),
        ("PARLANCE_PORT_8000_TCP_PEER", "10.0.0.1"),
        ("PARLANCE_SERVICE", "10.0.0.1"),
        ("PARLANCES_PORT", "tcp://10.0.0.1:8000"),
    ],
)
def test_what_no_service_sets_is_no_link(name: str, value: str) -> None:
    assert name not in service_links({"PARLANCE_SERVICE_HOST": "10.0.0.1", name: value})


def test_every_variable_that_is_read_is_known() -> None:
    read = {environment_name(name) for name in settings()} | {"PARLANCE_CONFIG", "PARLANCE_URL"}
    assert "PARLANCE_API_KEY" in read
    assert strangers(dict.fromkeys(read, "")) == []


def test_a_stranger_is_named_with_the_nearest_variable() -> None:
    environment = {
        "PARLANCE_PROT": "1",
        "PARLANCE_APIKEY": "1",
        "PARLANCE_port": "1",
        "PARLANCE_BANANA": "1",
        "PARLOUR": "1",
        "PORT": "1",
    }
    assert strangers(environment) == [
        "PARLANCE_APIKEY is no setting; did you mean PARLANCE_API_KEY?",
        "PARLANCE_BANANA is no setting; `parlance serve --help` lists the variables that are",
        "PARLANCE_PROT is no setting; did you mean PARLANCE_PORT?",
        "PARLANCE_port is no setting; did you mean PARLANCE_PORT?",
    ]
