"""The gateway: images in by C-STORE, folder, submit or upload; de-identified, stored, told."""
