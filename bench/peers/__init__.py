"""The parts of bench/peers.py. `cells`, `triton_configs` and `table` need neither PyTorch nor a GPU."""
