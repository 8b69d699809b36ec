"""Workers: they lease jobs, make the images, store them, and hand them over."""

from pickapic.worker.depot import AwayError, DatabaseDepot, Depot
from pickapic.worker.worker import Worker, beside_database, own_name

__all__ = ["AwayError", "DatabaseDepot", "Depot", "Worker", "beside_database", "own_name"]
