"""Results compared, put into words, and shown."""
