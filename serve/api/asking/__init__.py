"""From a request's body to what the engine is asked for: valid, rendered, bounded, compiled."""
