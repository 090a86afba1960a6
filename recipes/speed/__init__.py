"""What `benchmark_speed.py` measures: hfbench and the stock way side by side."""
