"""What Kubernetes tells a pod of a Service, in variables."""


def service_links(service: str, address: str = "10.0.0.1", port: int = 8000) -> dict[str, str]:
    """The variables for a Service with one port, called `http` (kubelet, pkg/kubelet/envvars)."""
    name = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    url = f"tcp://{host}:{port}"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": f"{port}",
        f"{name}_SERVICE_PORT_HTTP": f"{port}",
        f"{name}_PORT": url,
        f"{name}_PORT_{port}_TCP": url,
        f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": f"{port}",
        f"{name}_PORT_{port}_TCP_ADDR": address,
    }
