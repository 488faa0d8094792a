"""Medical images as arrays: one path of reading for training, for the lake and for what is classified live."""
