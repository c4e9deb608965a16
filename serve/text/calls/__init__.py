"""How models write calls of tools: one module for each family's format.

Knows nothing of HTTP, of engines or of llguidance: grammars leave here as text.
"""
