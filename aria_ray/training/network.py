"""Communication between training workers: process groups on the network that Ray uses, and the sum over all workers."""

import os
from typing import Any

import psutil
import ray.util
import torch
from ray.train.torch import TorchConfig
from torch import Tensor


class NodeNetworkTorchConfig(TorchConfig):  # type: ignore[misc]  # Ray is not read by mypy, so the base is Any
    """Ray Train's PyTorch backend, whose process groups use the network interface of Ray's node address."""

    @property
    def backend_cls(self) -> type:
        """Ray Train's backend class, extended to choose the interface in each worker first."""
        return _NodeNetworkBackend


class _NodeNetworkBackend(TorchConfig().backend_cls):  # type: ignore[misc]  # as above
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_use_node_interface)
        super().on_start(worker_group, backend_config)


def _use_node_interface() -> None:
    """Select, for gloo and NCCL (RCCL), the interface with the address under which Ray knows this node, unless one is set.

    By default gloo uses the address of the host's own name, which Debian and Ubuntu map to 127.0.1.1. Workers on two such
    hosts cannot connect to each other.
    """
    node_address = ray.util.get_node_ip_address()
    for interface, addresses in psutil.net_if_addrs().items():
        if any(each.address == node_address for each in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)


def sum_over_workers(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all workers, in place; the tensor itself where there is one worker."""
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(tensor)
    return tensor
