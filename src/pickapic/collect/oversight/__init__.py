"""What moderators and admins look at."""
