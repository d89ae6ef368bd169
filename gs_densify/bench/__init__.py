"""A study: many runs of gs-train from one file, each a process of its own."""
