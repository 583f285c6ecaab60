"""What depends on order: running totals, sorting, selections, writes to computed places."""
