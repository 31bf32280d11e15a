"""k8s/kind.yaml: the ingress controller's port, and who may reach it."""

from pathlib import Path

import yaml


def test_the_nodes_port_80_answers_on_this_machine_alone() -> None:
    config = yaml.safe_load((Path(__file__).parents[3] / "k8s" / "kind.yaml").read_text())
    (mapping,) = (mapping for node in config["nodes"] for mapping in node["extraPortMappings"])
    assert (mapping["containerPort"], mapping["listenAddress"]) == (80, "127.0.0.1")
