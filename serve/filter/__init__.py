"""What an operator's file says no text may have, found in texts and kept out of answers."""
