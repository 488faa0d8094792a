"""Starts and watches every process; the ward command."""
