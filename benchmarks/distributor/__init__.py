"""What the logs distributor carries, and how it behaves when there is too much."""
