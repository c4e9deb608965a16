"""The suite runs again on a mesh (`make test-mesh`): this is what tells that it really does."""

import os

import httpx

from model.mesh import parse_mesh


def test_the_server_runs_on_the_mesh_that_it_was_given(server):
    mesh = parse_mesh(os.environ.get("PARLANCE_MESH", "data=1,model=1"))
    metrics = httpx.get(f"{server.root}/metrics", timeout=60).text
    assert f'devices="{mesh.devices} × cpu, mesh data={mesh.data}, model={mesh.model}"' in metrics
