"""Programs on a device: the simulated one, or the one that JITGRAPH_TEST_DEVICE names."""
