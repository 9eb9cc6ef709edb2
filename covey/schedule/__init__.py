"""Times of schedules: cron expressions in a time zone. Pure."""
