"""Programs that use jitgraph. Each runs by itself: `python -m examples.autoencoder --help`."""
