"""The peers by name: the module each lives in (imported only by its own worker) and its title."""

from __future__ import annotations

#: In the order of the table.
PEERS = {
    "jitgraph": "jitgraph",
    "baseline": "jitgraph (baseline)",
    "numpy": "NumPy",
    "scipy": "SciPy",
    "numexpr": "numexpr",
    "numba": "Numba",
    "jax": "JAX",
    "torch": "torch",
    "drjit": "Dr.Jit",
    "pytensor-numba": "PyTensor (Numba)",
    "pytensor-c": "PyTensor (C)",
}
#: Those that jitgraph is measured against.
RIVALS = tuple(name for name in PEERS if name not in ("jitgraph", "baseline"))
#: Who goes first where memory does not suffice for all.
FIRST = ("jitgraph", "baseline", "numpy", "drjit", "torch", "jax", "numba")
#: Those that compile fast enough for the quick run.
QUICK = ("jitgraph", "numpy", "numba", "jax", "drjit")


def module_of(peer: str) -> str:
    """The module with the class `Adapter` of a peer."""
    own = {"baseline": "jitgraph"}
    return f"bench.peers.on_{own.get(peer, peer).partition('-')[0]}"
