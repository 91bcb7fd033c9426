"""What every REST view of the platform shares."""
