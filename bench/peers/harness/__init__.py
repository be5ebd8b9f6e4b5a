"""Side-by-side timing of ember and other engines."""
