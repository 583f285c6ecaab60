"""jitgraph beside its peers on a GPU: `python -m bench.gpu`."""
