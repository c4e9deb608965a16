"""From the engine's events to an answer's JSON: whole, or as the frames of a stream."""
