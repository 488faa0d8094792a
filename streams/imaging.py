"""Which model reads which image, when a study is complete, what stands on the radiologist's list."""
