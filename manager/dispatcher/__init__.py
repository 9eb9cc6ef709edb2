"""The dispatcher: one stream per agent, versioned assignment differences down, task statuses up."""
