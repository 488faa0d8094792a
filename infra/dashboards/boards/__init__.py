"""The six boards of the wall, a module each."""
