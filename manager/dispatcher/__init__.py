"""What each node is told and what it says: one stream an agent, versioned differences down, statuses up."""
