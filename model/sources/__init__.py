"""Where models come from: what `--model` says, made a directory that can be opened."""
