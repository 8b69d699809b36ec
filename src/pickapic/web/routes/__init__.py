"""One file a resource of the API, and one for the pages."""
