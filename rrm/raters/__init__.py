"""Several people who judge the same: how far they agree, who can be relied on, and who was not looking."""
