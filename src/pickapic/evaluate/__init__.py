"""How well scorers predict people's picks, and how models compare: protocols, intervals, tables."""
