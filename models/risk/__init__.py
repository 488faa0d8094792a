"""Risk from what is asked and measured, without an image."""
