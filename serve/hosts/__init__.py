"""One server on several hosts: who they are, that they agree, and what keeps them in step."""
