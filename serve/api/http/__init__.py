"""The web framework's side: routes, keys, headers, errors, documentation."""
