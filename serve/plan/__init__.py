"""What a model needs on a TPU slice and what its steps cost there, found out without one."""
