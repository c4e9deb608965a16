"""What travels: the shapes of requests, responses and errors, and the contract they keep."""
