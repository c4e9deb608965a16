"""Accelerator kernels, each beside its plain reference of the same signature."""
