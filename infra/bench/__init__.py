"""What Wardstream costs and how fast it is, measured on this machine and printed beside the promises."""
