"""Where image files are kept."""
