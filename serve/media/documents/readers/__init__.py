"""Each kind's reader: bytes in, pages out. They run in a helper process."""
