"""One file a change of the tables; a released one is never edited."""
