"""Amaranth blocks of the accelerator, the mapper that fits networks to it, and the build."""
