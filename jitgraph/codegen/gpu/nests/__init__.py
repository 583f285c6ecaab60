"""Loop nests as grids of threads: elementwise, reductions, nests of rows, transposes."""
