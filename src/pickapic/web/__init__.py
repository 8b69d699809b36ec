"""The web app: pages and the HTTP API around `pickapic.collect`."""
