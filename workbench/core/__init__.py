"""What every room shares: errors, records, clock, configuration, costs, margin and measures."""
