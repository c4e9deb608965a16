"""The terminal client: a conversation with a running server, streamed.

Speaks the public HTTP API only, so it works with any server of it. Knows nothing of models,
engines or the server's code.
"""
