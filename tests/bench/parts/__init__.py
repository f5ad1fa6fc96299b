"""The measurements. Each module has `measure_…(bench)`, which returns its table."""
