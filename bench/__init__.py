"""jitgraph beside its peers, every case in one run: `python -m bench --help`."""
