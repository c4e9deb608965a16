"""The engine: owns the device, batches sequences, turns requests into token events."""
