"""Results as DICOM objects, sent to where they are wanted."""
