"""What people see of all that: leaderboards, their score, their gallery, what they share."""
