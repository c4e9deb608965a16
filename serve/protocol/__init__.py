"""HTTP as it comes over a connection: where Hypercorn leaves off and the application begins.

Hypercorn parses and frames; what is here says how long a client may take, what a client that
stops sending gets, and has the application answer what cannot be parsed. Knows nothing of routes,
nor of what an error looks like.
"""
