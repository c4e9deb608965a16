"""Conversations for the bundled model, made by seeded code from our own tables.

Knows nothing of tokens or training: it yields messages and says which answers are right.
"""
